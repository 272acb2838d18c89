"""The attack on the set itself: copies, chance, references of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from latentpath.audit.attacks.set_attack import attack_set
from latentpath.core.errors import DataError, ShapeError
from latentpath.data import ImageSet


def noise(count: int, seed: int) -> ImageSet:
    images = np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 1)).astype(np.uint8)
    return ImageSet(images, np.arange(count) % 2, np.arange(count), ("a", "b"))


def flat(images: torch.Tensor) -> torch.Tensor:
    return images.flatten(1)


def joined(first: ImageSet, second: ImageSet) -> ImageSet:
    images = np.concatenate([first.images, second.images])
    labels = np.concatenate([first.labels, second.labels])
    return ImageSet(images, labels, np.arange(len(images)), first.class_names)


def test_copies_are_found_and_counted():
    real, holdout = noise(200, 0), noise(300, 1)
    leak = joined(real.subset(slice(0, 20)), noise(180, 2))
    found = attack_set(leak, real, holdout, embed=flat, resamples=200)
    for attack in found.values():
        # The 20 copied people, and about one in a hundred of the others.
        assert 0.1 <= attack.tpr_at_1_percent.value < 0.15
        assert attack.tpr_at_1_percent.low > 0.05
    everything = attack_set(real, real, holdout, embed=flat, resamples=50)
    assert all(attack.auc.value == 1 for attack in everything.values())


def test_noisy_copies_are_found():
    real, holdout = noise(80, 0), noise(90, 1)
    rng = np.random.default_rng(5)
    shaken = np.clip(real.images + rng.normal(0, 20, real.images.shape), 0, 255)
    found = attack_set(
        replace(real, images=shaken.astype(np.uint8)), real, holdout, embed=flat, resamples=50
    )
    assert all(attack.auc.low > 0.95 for attack in found.values())


@pytest.mark.parametrize("members", [150, 400])
def test_fresh_people_are_at_chance(members):
    """Also where there are fewer, or more, members than references."""
    found = [
        attack_set(
            noise(100, 10 * seed),
            noise(members, 10 * seed + 1),
            noise(301, 10 * seed + 2),
            embed=flat,
            seed=seed,
            resamples=100,
        )["set_density_ratio"].auc
        for seed in range(8)
    ]
    assert sum(interval.holds(0.5) for interval in found) >= 6
    # Standard error of one AUC: at most 0.03; of the mean of eight a third of it.
    assert np.mean([interval.value for interval in found]) == pytest.approx(0.5, abs=0.035)


def test_the_ratio_sees_through_crowded_regions():
    """Members and others half in a dense region; a set that follows the population leaks nothing,
    and one that repeats members of the sparse region does, though these lie far from it all."""
    rng = np.random.default_rng(0)

    def population(count: int, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        spread = np.where(np.arange(count) % 2, 3.0, 40.0)[:, None, None, None]
        return np.clip(128 + rng.normal(size=(count, 6, 6, 1)) * spread, 0, 255)

    def as_set(values: np.ndarray) -> ImageSet:
        n = len(values)
        return ImageSet(values.astype(np.uint8), np.zeros(n, int), np.arange(n), ("a",))

    members, others = population(200, 1), population(400, 2)
    made = population(200, 3)
    # Sparse members come out again, changed by less than their neighbours' distance.
    made[::2] = members[::2] + rng.normal(size=members[::2].shape) * 18
    found = attack_set(
        as_set(np.clip(made, 0, 255)), as_set(members), as_set(others), embed=flat, resamples=100
    )
    assert found["set_density_ratio"].tpr_at_1_percent.value > 0.3
    assert found["set_distance"].tpr_at_1_percent.value < 0.1


def test_an_image_in_set_and_reference_does_no_harm():
    real, holdout = noise(20, 0), noise(20, 1)
    both = replace(holdout, images=np.concatenate([holdout.images[:10], holdout.images[:10]]))
    found = attack_set(joined(real, both), real, both, embed=flat, resamples=20)
    assert np.isfinite(found["set_density_ratio"].auc.value)


def test_lpips_is_the_embedding_unless_another_is_given(people):
    found = attack_set(people(6, seed=1), people(8), people(10, seed=2), resamples=10)
    assert found["set_distance"].members == 8


def test_memory_does_not_change_the_figures():
    sets = [noise(30, 0), noise(25, 1), noise(21, 2)]
    whole = attack_set(*sets, embed=flat, resamples=20)
    little = attack_set(*sets, embed=flat, resamples=20, max_bytes=20_000)
    assert whole == little


def test_sets_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match="size"):
        attack_set(
            noise(9, 0), noise(9, 1), replace(noise(9, 2), images=np.zeros((9, 4, 4, 1), np.uint8))
        )
    with pytest.raises(DataError, match="four people"):
        attack_set(noise(9, 0), noise(9, 1), noise(3, 2), embed=flat)
