"""Weights are matched to the classes and the people that they were trained on."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from latentpath.core.errors import WeightsError
from latentpath.generators.weights import save_weights
from latentpath.models import Classifier
from latentpath.production import TrainingConfig, load_bundle, produce_set, ready_networks
from latentpath.production.bundle import people_fingerprint
from support import tiny_models


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
    trained = replace(bundle, people=people_fingerprint(data))
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
