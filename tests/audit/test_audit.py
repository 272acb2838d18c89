"""The audit of a whole set."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from latentpath.audit import AuditConfig, audit_real, audit_set, prepare_real
from latentpath.data import ImageSet, to_tensor
from latentpath.errors import DataError, InputError, ShapeError
from latentpath.training import ClassifierConfig

CONFIG = AuditConfig(seeds=(0,), classifier=ClassifierConfig(steps=15, batch=16, width=4))


def nearest_in_pixels(real: ImageSet):
    """An identity classifier that is sure of the person who is nearest in pixels."""
    keys = to_tensor(real.images).flatten(1)

    def identity(batch: torch.Tensor) -> torch.Tensor:
        return -50 * torch.cdist(batch.flatten(1), keys).square()

    return identity


def test_a_copied_set_is_exposed_and_a_fresh_one_is_not(people, lpips):
    real, fresh = people(24), people(16, seed=1)
    reference = prepare_real(real, lpips)
    identity = nearest_in_pixels(real)
    copied = audit_set(real.subset(slice(0, 16)), real=reference, identity=identity, config=CONFIG)
    assert copied.nearest.mean < 1e-9
    assert copied.nearest.index.tolist() == list(range(16))
    assert copied.reidentification.rate == 1
    assert copied.reidentification.linkage == 1
    assert copied.reidentification.linkage_chance == pytest.approx(2 / 16)
    found = audit_set(fresh, real=reference, identity=identity, config=CONFIG)
    assert found.nearest.quantile(0) > 1e-3
    assert found.reidentification.linkage < 0.5
    assert found.utility is None


def test_the_real_set_is_its_own_yardstick(people, lpips):
    real = people(12)
    found = audit_real(real, lpips=lpips, identity=nearest_in_pixels(real), config=CONFIG)
    assert found.nearest.quantile(0) > 1e-3
    assert (found.nearest.index != np.arange(12)).all()
    assert found.reidentification.rate == 1
    assert found.reidentification.linkage == 1


def test_everything_at_once_and_as_json(people, lpips):
    pytest.importorskip("monai")
    real, stages = people(12), set()
    found = audit_set(
        people(10, seed=1),
        real=real,
        test=people(8, seed=2),
        lpips=lpips,
        identity=nearest_in_pixels(real),
        config=CONFIG,
        progress=lambda stage, *_: stages.add(stage),
    )
    assert stages == {"embed", "nearest", "re-identification", "utility"}
    figures = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert figures["images"] == 10
    assert figures["class_counts"] == {"dark": 5, "bright": 5}
    assert figures["nearest_real"]["mean_lpips_to_nearest_real"] == found.nearest.mean
    assert figures["nearest_real"]["quantiles"]["0.05"] == found.nearest.quantile(0.05)
    assert figures["utility"]["runs"][0]["recall"] == list(found.utility.runs[0].recall)
    assert "index" not in json.dumps(figures)  # which person is nearest stays out


def test_a_set_of_one_class_has_no_utility(people, lpips):
    only = ("all",)
    found = audit_set(
        people(4, classes=only, seed=1),
        real=people(5, classes=only),
        test=people(3, classes=only, seed=2),
        lpips=lpips,
    )
    assert found.utility is None
    assert found.nearest.distance.shape == (4,)


def test_sets_that_do_not_compare_are_refused(people, lpips):
    real = people(6)
    with pytest.raises(DataError, match="same class names"):
        audit_set(people(4, classes=("bright", "dark")), real=real, lpips=lpips)
    with pytest.raises(DataError, match="same class names"):
        audit_set(people(4), real=real, test=people(4, classes=("a", "b")), lpips=lpips)
    with pytest.raises(ShapeError, match="real set's size"):
        audit_set(people(4, channels=3), real=real, lpips=lpips)
    with pytest.raises(ShapeError, match="one per person"):
        audit_set(people(4), real=real, lpips=lpips, identity=nearest_in_pixels(people(7)))


def test_an_impossible_threshold_is_refused():
    with pytest.raises(InputError, match="between 0 and 1"):
        AuditConfig(threshold=50)
