"""What trainings noted of their networks, and what a run makes of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from latentpath.core.errors import LatentpathWarning, WeightsError
from latentpath.data import read_manifest
from latentpath.data.manifest import encode_content, seal
from latentpath.production import FILES, load_bundle, produce, verify_set
from latentpath.production.judgement import (
    FILE_NAME,
    JudgedFigure,
    Judgement,
    note_figures,
    read_judgement,
)
from support import tiny_models, tiny_runs

NAMES = FILES


def figure(value, network="classifier", **changes) -> JudgedFigure:
    return JudgedFigure(
        network, "balanced_accuracy", value, usual=0.8, needed=0.6, what="accuracy", **changes
    )


@pytest.mark.parametrize(
    ("value", "state"), [(0.8, "good"), (0.79, "weak"), (0.6, "weak"), (0.59, "not_ready")]
)
def test_a_figure_is_read_against_what_is_usual_and_what_is_needed(value, state):
    assert figure(value).state == state
    mirrored = JudgedFigure("g", "kid", -value, -0.8, -0.6, "KID", higher_is_better=False)
    assert mirrored.state == state
    assert figure(value).words.endswith(
        "(usual from 80.0%: 50% of the way from guessing to no error, needed from 60.0%)"
    )


def test_what_is_seen_through_other_networks_is_mended_by_them_first(data):
    """A classifier that knows real images cannot agree with a generator that has no classes yet."""
    agreement = JudgedFigure("classifier", "class_agreement", 0.5, 0.9, 0.6, "agreement")
    assert agreement.mended_by == ("generator", "classifier")
    assert figure(0.5).mended_by == ("classifier",)
    bundle = replace(tiny_models.bundle_for(data), judgement=Judgement((agreement,), {}))
    with pytest.raises(WeightsError, match=r"train longer with .*total-images.*, and .*--steps"):
        bundle.check_ready()


def test_figures_are_of_the_very_weights(tmp_path):
    assert read_judgement(tmp_path, NAMES) is None
    weights = tmp_path / NAMES["classifier"]
    for network in ("generator", "classifier"):
        (tmp_path / NAMES[network]).write_bytes(network.encode())
        note_figures(tmp_path, network, tmp_path / NAMES[network], [figure(0.7, network)], {})
    found = read_judgement(tmp_path, NAMES)
    assert [one.network for one in found.figures] == ["generator", "classifier"]
    assert found.as_manifest() == {
        "weak": ["generator_balanced_accuracy", "classifier_balanced_accuracy"],
        "not_ready": [],
        "not_judged": {},
    }
    weights.write_bytes(b"others")
    found = read_judgement(tmp_path, NAMES)
    assert [one.network for one in found.figures] == ["generator"]
    assert found.not_judged == {"classifier": "other_weights"}


def test_a_network_without_figures_is_not_judged_and_the_set_says_so(tmp_path, data, weights):
    noted(weights, 0.9)
    note_figures(weights, "generator", weights / FILES["generator"], [], {}, "too_few_people")
    bundle = load_bundle(weights)
    with pytest.warns(LatentpathWarning, match="not judged: generator: too few people"):
        run = produce(
            data, bundle, tmp_path / "run", tiny_runs.config(count=6), tiny_runs.options()
        )
    missing = run.manifest["networks"]["not_judged"]
    assert missing == {"generator": "too_few_people"}
    card = (run.folder.set / "README.md").read_text()
    assert "**Not judged** is how good these networks are (generator: too few people" in card
    assert not verify_set(run.folder.set).findings
    for network, why in (("generator", "Miller"), ("generator", ["x"]), ("Miller", "one_class")):
        manifest = read_manifest(run.folder.set)
        manifest["networks"]["not_judged"] = {network: why}
        manifest["seal"] = seal(manifest)
        (run.folder.set / "manifest.json").write_bytes(encode_content(manifest))
        assert any("networks" in str(error) for error in verify_set(run.folder.set).findings)
    # The first sets that told of networks told less of them, and more.
    for knowingly, good in ((False, True), ("no", False)):
        manifest = read_manifest(run.folder.set)
        manifest["networks"] = {"weak": [], "unfit": [], "anyway": knowingly}
        manifest["seal"] = seal(manifest)
        (run.folder.set / "manifest.json").write_bytes(encode_content(manifest))
        told = [str(error) for error in verify_set(run.folder.set).findings]
        assert any("networks" in line for line in told) is not good


@pytest.fixture
def weights(tmp_path, data, tiny_lpips):
    return tiny_models.save_bundle(
        tmp_path / "w", tiny_models.bundle_for(data, lpips=tiny_lpips, seed=1)
    )


def noted(weights, value):
    """All networks judged, of which the classifier has such a figure."""
    for name in ("generator", "encoder", "identity", "classifier"):
        figures = [figure(value if name == "classifier" else 1.0, name)]
        note_figures(weights, name, weights / FILES[name], figures, {"people": 20, "images": 20})
    return load_bundle(weights)


def test_networks_that_are_not_ready_are_refused_and_the_set_says_who_went_on(
    tmp_path, data, weights
):
    bundle, config = noted(weights, 0.5), tiny_runs.config(count=6)
    with pytest.raises(WeightsError, match=r"accuracy 50.0% .usual from 80.0%.*--anyway"):
        produce(data, bundle, tmp_path / "run", config, tiny_runs.options())
    assert not (tmp_path / "run" / "set").exists()
    with pytest.warns(LatentpathWarning, match="not ready: classifier: accuracy 50.0%"):
        run = produce(data, bundle, tmp_path / "run", config, tiny_runs.options(anyway=True))
    assert read_manifest(run.folder.set)["networks"] == {
        "weak": [],
        "not_ready": ["classifier_balanced_accuracy"],
        "not_judged": {},
    }
    card = (run.folder.set / "README.md").read_text()
    assert "not ready** by the judgement of their own training (how well the class of" in card
    assert "usually 50% of the way from guessing to no error" in card
    assert "classifier balanced" not in card
    assert not verify_set(run.folder.set).findings
    # What was begun goes on: it was decided when it was planned.
    produce(data, bundle, tmp_path / "run", config, tiny_runs.options(resume=True))


def test_weak_networks_are_warned_of_and_good_ones_are_not(tmp_path, data, weights, recwarn):
    bundle, config = noted(weights, 0.7), tiny_runs.config(count=6)
    with pytest.warns(LatentpathWarning, match="^weak: classifier: accuracy 70.0%"):
        run = produce(data, bundle, tmp_path / "weak", config, tiny_runs.options())
    assert run.manifest["networks"]["not_ready"] == []
    card = (run.folder.set / "README.md").read_text()
    assert "not ready" not in card
    assert "**Made with weak networks** by the judgement" in card
    good = replace(bundle, judgement=Judgement((figure(0.9),)))
    recwarn.clear()
    run = produce(data, good, tmp_path / "good", config, tiny_runs.options())
    assert not recwarn
    assert run.manifest["networks"] == {"weak": [], "not_ready": [], "not_judged": {}}


def test_weights_that_nobody_judged_say_nothing(tmp_path, data, weights):
    assert not (weights / FILE_NAME).exists()
    run = produce(
        data, load_bundle(weights), tmp_path / "run", tiny_runs.config(count=6), tiny_runs.options()
    )
    assert "networks" not in run.manifest
