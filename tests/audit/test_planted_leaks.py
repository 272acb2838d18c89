"""Leaks that were planted are found, from the public function to the answer; fresh people are not.

Real digits: private ones as the real set, others as the holdout, and a third kind, in place of a
synthetic set, into which 5% of the private ones are put.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytest.importorskip("mlxtend")
pytest.importorskip("safetensors")

from latentpath import audit_set
from latentpath.audit import AuditSetup, measure_set
from latentpath.audit.audit_config import AuditConfig
from latentpath.audit.verdict import answer
from latentpath.data import ImageSet, load_digits_split

PEOPLE = 500
MEASURES = ("copies", "nearest", "record_ratio", "gradients_ratio")


@pytest.fixture(scope="module")
def digits():
    split = load_digits_split()
    return [part.subset(np.arange(PEOPLE)) for part in (split.private, split.holdout, split.test)]


@pytest.fixture(scope="module")
def setup(digits, lpips):
    real, holdout, _ = digits
    return AuditSetup(real, holdout, lpips=lpips, measures=MEASURES)


def blurred(images: np.ndarray) -> np.ndarray:
    """A Gaussian of one pixel, by its five largest weights."""
    weights = np.array([1, 4, 6, 4, 1]) / 16
    padded = np.pad(images.astype(float), ((0, 0), (2, 2), (2, 2), (0, 0)))
    rows = sum(w * padded[:, i : i + images.shape[1]] for i, w in enumerate(weights))
    both = sum(w * rows[:, :, i : i + images.shape[2]] for i, w in enumerate(weights))
    return np.asarray(both).round().astype(np.uint8)


def noised(images: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, 20, images.shape)
    return (images + noise).clip(0, 255).round().astype(np.uint8)


LEAKS = {
    "copied": lambda images: images,
    "blurred": blurred,
    "noised": noised,
    "flipped": lambda images: images[:, :, ::-1],
    "shifted": lambda images: np.roll(images, (2, -1), (1, 2)),
}


def with_leak(fresh: ImageSet, real: ImageSet, change) -> ImageSet:
    """The fresh set with every twentieth image replaced by a changed one of the real set."""
    images = fresh.images.copy()
    rows = np.arange(0, len(images), 20)
    images[rows] = change(real.images[rows])
    return dataclasses.replace(fresh, images=images)


def colours(images: ImageSet, setup: AuditSetup, only=MEASURES) -> dict[str, str]:
    found = answer(measure_set(images, setup, only=only), made_yardstick(setup), None)
    return {verdict.key: verdict.colour for verdict in found}


def made_yardstick(setup: AuditSetup):
    """No question that is asked here looks at it."""
    return measure_set(setup.real, dataclasses.replace(setup, measures=()))


@pytest.mark.parametrize("leak", LEAKS)
def test_a_set_with_a_leak_is_red(digits, setup, leak):
    real, _, fresh = digits
    found = colours(with_leak(fresh, real, LEAKS[leak]), setup, only=("copies",))
    assert found["copies"] == "red"


def test_fresh_people_are_green(digits, setup):
    found = colours(digits[2], setup)
    assert found["copies"] == found["closeness"] == "green"


def test_a_set_of_the_real_people_is_red_in_everything(digits, setup):
    found = colours(digits[0], setup)
    assert found["copies"] == found["closeness"] == "red"


def test_the_public_function_says_so_too(digits, lpips):
    real, holdout, fresh = (part.subset(np.arange(160)) for part in digits)
    audit = audit_set(
        with_leak(fresh, real, LEAKS["copied"]),
        real=real,
        holdout=holdout,
        baselines={"fresh people": fresh},
        measures=["copies"],
        lpips=lpips,
        config=AuditConfig(),
    )
    assert audit.overall == "red"
    assert audit.verdicts[0].colour == "red"
    assert audit.copies.counts["exact"] == 8
    assert audit.baselines["fresh people"].copies.counts["exact"] == 0
    assert audit.holdout.copies.counts["exact"] == 0
    assert [verdict.colour for verdict in audit.verdicts[1:]] == ["grey"] * 5
