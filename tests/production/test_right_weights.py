"""Weights are matched to the classes and the people that they were trained on."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from latentpath.core.errors import LatentpathWarning, WeightsError
from latentpath.data import read_manifest
from latentpath.data.manifest import encode_content, seal
from latentpath.generators import people_noted, save_generator
from latentpath.generators.weights import save_weights
from latentpath.models import Classifier
from latentpath.production import (
    FILES,
    NEEDED,
    TrainingConfig,
    load_bundle,
    produce,
    produce_set,
    ready_networks,
    verify_set,
)
from latentpath.production.bundle import people_fingerprint
from support import tiny_models, tiny_runs


@pytest.fixture
def bundle(data, tiny_lpips):
    return tiny_models.bundle_for(data, lpips=tiny_lpips)


def test_other_class_names_or_another_order_are_refused(data, bundle):
    trained = replace(bundle, class_names=data.class_names)
    trained.check(data)
    for names in (("right", "middle", "left"), ("a", "b", "c")):
        with pytest.raises(WeightsError, match="classes"):
            trained.check(replace(data, class_names=names))


def test_other_people_are_refused_before_any_work(data, bundle):
    trained = replace(bundle, people={"identity": people_fingerprint(data)})
    config = tiny_models.quick_config(count=6)
    assert len(produce_set(data, trained, config).samples) == 6
    others = tiny_models.private_set(seed=1)
    with pytest.raises(WeightsError, match="identity classifier was trained on"):
        produce_set(others, trained, config)


def test_both_are_read_from_the_weights_folder(tmp_path, data, bundle):
    folder = tiny_models.save_bundle(tmp_path, bundle)
    assert load_bundle(folder).class_names is None
    for kind, notes in [
        ("classifier", {"class_names": list(data.class_names)}),
        ("identity", {"people": people_fingerprint(data)}),
    ]:
        network = getattr(bundle, kind)
        path = folder / f"{kind}.safetensors"
        save_weights(path, network, kind=kind, config=network.config, notes=notes)
    opened = load_bundle(folder)
    assert opened.class_names == data.class_names
    opened.check_people(data)


def noted(folder, bundle, network, **notes):
    """The network's weights again, with such notes."""
    module, path = getattr(bundle, network), folder / FILES[network]
    if network == "generator":
        save_generator(path, module, notes=notes)
    else:
        save_weights(path, module, kind=network, config=module.config, notes=notes)


def test_networks_that_met_people_who_are_held_out_are_refused_by_name(tmp_path, data, bundle):
    own, everybody = people_fingerprint(data), people_fingerprint(tiny_models.private_set(seed=1))
    folder, told = tiny_models.save_bundle(tmp_path, bundle), []
    for network in NEEDED:
        noted(folder, bundle, network, people=own)
    ready = ready_networks(data, folder, TrainingConfig(), say=told.append)
    assert (told, ready.of_unknown_people) == ([], ())
    assert ready.network_notes(data) is None
    noted(folder, bundle, "generator", people=everybody)
    noted(folder, bundle, "classifier", people=everybody)
    (folder / FILES["encoder"]).unlink()
    with pytest.raises(WeightsError, match=r"got generator, classifier trained on other") as error:
        ready_networks(data, folder, TrainingConfig())
    assert "generator.safetensors with generator.checkpoint" in error.value.fix


@pytest.mark.parametrize("initial", [None, {}, {"people": "others"}])
def test_nobody_knows_whom_foreign_networks_met_and_the_set_says_so(
    tmp_path, data, bundle, initial
):
    own, told = people_fingerprint(data), []
    folder = tiny_models.save_bundle(tmp_path / "weights", bundle)
    for network in NEEDED[1:]:
        noted(folder, bundle, network, people=own)
    if initial is not None:  # trained here, from another's
        noted(folder, bundle, "generator", people=own, initial=initial)
    ready = ready_networks(data, folder, TrainingConfig(), say=told.append)
    assert [line.partition(":")[0] for line in told] == ["generator"]
    assert "nobody noted whom it was trained on" in told[0]
    run = produce(data, ready, tmp_path / "run", tiny_runs.config(count=6), tiny_runs.options())
    assert run.manifest["networks"]["people"] == {"generator": "unknown"}
    assert set(run.manifest["networks"]["not_judged"]) == set(NEEDED)
    assert "may have met other people" in (run.folder.set / "README.md").read_text()
    assert not verify_set(run.folder.set).findings
    manifest = read_manifest(run.folder.set)
    for people in ({"generator": "Miller"}, {"Miller": "unknown"}):
        manifest["networks"]["people"] = people
        manifest["seal"] = seal(manifest)
        (run.folder.set / "manifest.json").write_bytes(encode_content(manifest))
        assert any("networks" in str(error) for error in verify_set(run.folder.set).findings)


def test_a_generator_that_goes_on_from_the_same_people_is_known(data):
    own = people_fingerprint(data)
    assert people_noted({"people": own, "initial": {"people": own}}) == own
    assert people_noted({"people": own, "initial": "x"}) is None


def test_a_set_tells_of_networks_that_met_more_people(tmp_path, data, bundle):
    met = {"identity": people_fingerprint(data), "generator": "others", "predictor": "others"}
    config = tiny_runs.config(count=6)
    with pytest.warns(LatentpathWarning, match="generator: it was trained on other people"):
        run = produce(
            data, replace(bundle, people=met), tmp_path / "run", config, tiny_runs.options()
        )
    assert run.manifest["networks"]["people"] == {"generator": "other"}
    assert not verify_set(run.folder.set).findings


def test_a_network_under_anothers_name_is_refused_before_any_training(tmp_path, data, bundle):
    folder = tiny_models.save_bundle(tmp_path, bundle)
    (folder / "classifier.safetensors").unlink()
    (folder / "encoder.safetensors").replace(folder / "identity.safetensors")
    told = []
    with pytest.raises(WeightsError, match="identity"):
        ready_networks(data, folder, TrainingConfig(), progress=lambda *a: told.append(a))
    assert told == []


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path, data, bundle, value):
    folder = tiny_models.save_bundle(tmp_path, bundle)
    network = Classifier(data.num_identities, 1, tiny_models.SIDE, 2)
    with torch.no_grad():
        network.head.bias[1] = value
    path = folder / "identity.safetensors"
    save_weights(path, network, kind="identity", config=network.config)
    with pytest.raises(WeightsError, match=r"identity\.safetensors.*head\.bias"):
        load_bundle(folder)
