"""A tiny experiment: a made-up `.npz` of three splits, random networks, very short trainings."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("monai")
pytest.importorskip("safetensors")
pytest.importorskip("PIL")
pytest.importorskip("matplotlib")

from latentpath.data import read_image_set
from latentpath.experiments import (
    RECIPES,
    CompareConfig,
    MeasureConfig,
    TradeoffConfig,
)
from latentpath.production import TrainingConfig
from latentpath.training import ClassifierConfig, SurrogateConfig
from latentpath.training.classifier_training import WitnessConfig
from support import tiny_models
from support.few_paths import walk_few_paths
from support.tiny_splits import write_npz


@pytest.fixture(scope="package", autouse=True)
def _few_paths():
    with pytest.MonkeyPatch.context() as patch:
        walk_few_paths(patch)
        yield


@pytest.fixture(scope="session")
def npz(tmp_path_factory):
    return write_npz(tmp_path_factory.mktemp("data") / "tiny.npz", train=12, val=5, test=6)


@pytest.fixture(scope="session")
def weights(npz, tmp_path_factory):
    private = read_image_set(npz, format="medmnist", split="train")
    # Without a surrogate: the experiment trains what is absent.
    return tiny_models.save_bundle(
        tmp_path_factory.mktemp("weights"), tiny_models.bundle_for(private)
    )


@pytest.fixture(scope="session")
def recipe():
    """The recipe for `.npz` files, as small as can be."""
    return replace(
        RECIPES["pneumoniamnist"],
        title="A made-up set",
        produce=tiny_models.quick_config(count=24, passes=1.0, style_steps=1),
        compare=CompareConfig(seeds=2, style_centroids=9),
        measure=MeasureConfig(
            trainings=1,
            classifier=ClassifierConfig(steps=4, width=2),
            witness=WitnessConfig(steps=3, width=2),
            shadows=2,
            shadow_steps=3,
            targets=1,
        ),
        tradeoff=TradeoffConfig("identity,endpoints,k,surrogate,count", count=9, trainings=1),
        training=TrainingConfig(
            surrogate=SurrogateConfig(
                points=16,
                rounds=1,
                walk_points=16,
                walk_steps=5,
                walk_passes=1.0,
                width=4,
                depth=1,
                steps=2,
                batch=8,
            )
        ),
    )


@pytest.fixture
def without_pictures(monkeypatch):
    """For tests of what else an experiment does: drawing takes seconds."""
    for name in ("samples", "bars", "walk", "tradeoff"):
        monkeypatch.setattr(f"latentpath.experiments.experiment.{name}_picture", lambda *_: b"")
