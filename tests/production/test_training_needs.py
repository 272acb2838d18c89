"""Networks are trained again where something else is asked of them, and only there."""

from __future__ import annotations

import json
import signal
from dataclasses import replace

import pytest

pytest.importorskip("monai")
pytest.importorskip("safetensors")

from latentpath.core import StoppedError
from latentpath.models import Surrogate, save_surrogate
from latentpath.production import (
    FILES,
    NEEDED,
    TrainingConfig,
    due_trainings,
    ready_networks,
    train_network,
    untold,
)
from latentpath.production.judgement import FILE_NAME
from latentpath.training import (
    ClassifierConfig,
    EncoderConfig,
    GeneratorConfig,
    IdentityConfig,
)
from support import tiny_models

SMALL = {"steps": 2, "batch": 8, "width": 2}
SIZES = {"z_dim": 4, "w_dim": 8, "channel_base": 64, "channel_max": 4}
CONFIG = TrainingConfig(
    generator=GeneratorConfig(total_images=16, batch=8, **SIZES),
    encoder=EncoderConfig(**SMALL),
    identity=IdentityConfig(**SMALL),
    classifier=ClassifierConfig(**SMALL),
)
DATA = tiny_models.private_set((12, 12))
LONGER = replace(CONFIG, generator=replace(CONFIG.generator, total_images=24))


def more(config, network, **options):
    return replace(config, **{network: replace(getattr(config, network), **options)})


@pytest.fixture
def folder(tmp_path):
    ready_networks(DATA, tmp_path, CONFIG, renew=True, resolution=16)
    return tmp_path


def again(folder, config, **options):
    """Names of the networks that were trained, in order, and the lines that were told."""
    told, trained = [], []

    def progress(stage, done, total, figures):
        if stage in NEEDED and stage not in trained:
            trained.append(stage)

    ready_networks(DATA, folder, config, renew=True, progress=progress, say=told.append, **options)
    return trained, told


def checksums(folder):
    return {name: (folder / FILES[name]).read_bytes() for name in NEEDED}


def test_nothing_is_due_where_nothing_else_is_asked(folder):
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert due_trainings(folder, CONFIG) == []
    assert untold(folder) == []
    assert again(folder, CONFIG) == ([], [])
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert due_trainings(folder, more(CONFIG, "generator", total_images=8)) == [], "has more"


def test_a_generator_goes_on_and_its_encoder_begins_anew(folder):
    before, (generator, encoder) = checksums(folder), due_trainings(folder, LONGER)
    assert (generator.network, generator.anew, generator.share) == ("generator", False, 1 / 3)
    assert (encoder.network, encoder.anew, encoder.asked) == ("encoder", True, False)
    trained, told = again(folder, LONGER)
    assert trained == ["generator", "encoder"]
    assert told[0] == "generator: trained on, from 16 to 24 images"
    assert told[1].startswith("encoder: trained anew, since what it was trained for changes; ")
    after = checksums(folder)
    assert [name for name in NEEDED if before[name] != after[name]] == ["generator", "encoder"]
    assert (folder / "encoder.before.safetensors").read_bytes() == before["encoder"]
    judged = json.loads((folder / FILE_NAME).read_bytes())["networks"]
    for network in ("encoder", "identity", "classifier"):
        beside = judged[network]["beside"]["generator"]
        assert beside == judged["generator"]["weights"], "figures are of these networks"
    assert due_trainings(folder, LONGER) == []


def test_a_stop_on_the_way_leaves_the_rest_due(folder):
    def stop(stage, done, total, figures):
        if stage == "generator":
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(StoppedError):
        ready_networks(
            DATA, folder, more(LONGER, "generator", total_images=80), renew=True, progress=stop
        )
    trained, _ = again(folder, more(LONGER, "generator", total_images=80))
    assert trained == ["generator", "encoder"]

    def stop_encoder(stage, done, total, figures):
        if stage == "encoder":
            signal.raise_signal(signal.SIGINT)

    longer = more(LONGER, "generator", total_images=96)
    with pytest.raises(StoppedError):
        ready_networks(DATA, folder, longer, renew=True, progress=stop_encoder)
    trained, told = again(folder, longer)
    assert trained == ["encoder"], told


def test_another_network_of_other_options_is_trained_anew(folder):
    before, other = checksums(folder), more(CONFIG, "classifier", steps=3)
    (due,) = due_trainings(folder, other)
    assert (due.network, due.anew, due.asked) == ("classifier", True, True)
    trained, told = again(folder, other)
    assert trained == ["classifier"]
    assert told[0] == (
        "classifier: trained anew, with steps 3 instead of 2; what there was stays as "
        "classifier.before.safetensors"
    )
    assert (folder / "classifier.before.safetensors").read_bytes() == before["classifier"]
    assert due_trainings(folder, other) == []
    assert [each.network for each in due_trainings(folder, CONFIG)] == ["classifier"]


def test_a_generator_without_its_checkpoint_begins_anew(folder):
    (folder / "generator.checkpoint").unlink()
    due = due_trainings(folder, LONGER)[0]
    assert (due.network, due.anew, due.share) == ("generator", True, 1.0)


def test_an_absent_generator_that_comes_out_as_it_was_leaves_its_encoder(folder):
    before = checksums(folder)
    (folder / FILES["generator"]).unlink()
    trained, _ = again(folder, CONFIG)
    assert "encoder" not in trained
    assert checksums(folder) == before


def test_what_others_trained_is_taken_as_it_is(folder):
    steps = ClassifierConfig(**{**SMALL, "steps": 5})
    for path in folder.glob("classifier.*"):
        path.unlink()
    train_network("classifier", DATA, folder, config=steps)
    assert untold(folder) == ["classifier"]
    trained, told = again(folder, CONFIG)
    assert trained == []
    assert told == ["not trained by this command, and taken as they are: classifier"]


def test_helpers_of_other_networks_are_put_aside(folder):
    helper = Surrogate(8, 16, 2, 5, 2)
    helper.trained_for = "others"
    save_surrogate(folder / FILES["surrogate"], helper)
    _, told = again(folder, CONFIG)
    assert told[-1] == "surrogate: put aside, since it was trained for other networks than these"
    assert (folder / "surrogate.before.safetensors").exists()
    assert not (folder / FILES["surrogate"]).exists()
