"""Centroids: each person once, medians where the sum of distances is least."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from scipy.optimize import minimize

from latentpath.core.errors import DataError, InputError, ShapeError
from latentpath.ksame import aggregate, geometric_median, k_same


def grouped(seed=0, people=40, k=4, dim=5, images=3):
    """A data set in which people have one to `images` rows and two classes."""
    rng = np.random.default_rng(seed)
    identities = np.repeat(np.arange(people), rng.integers(1, images + 1, people))
    identities = rng.permutation(identities)
    labels = identities % 2
    latents = rng.standard_normal((len(identities), dim)).astype(np.float32)
    return latents, identities, k_same(latents, identities, labels, k)


@pytest.mark.parametrize("seed", [0, 1])
def test_mean_counts_each_person_once(seed):
    latents, identities, grouping = grouped(seed)
    found = aggregate(latents, grouping, identities)
    assert found.shape == (grouping.num_groups, 5)
    assert found.dtype == torch.float32
    for g in range(grouping.num_groups):
        rows = grouping.rows(g)
        people = [
            latents[rows][identities[rows] == person].astype(np.float64).mean(axis=0)
            for person in np.unique(identities[rows])
        ]
        np.testing.assert_allclose(found[g], np.mean(people, axis=0), rtol=1e-5, atol=1e-6)


def test_more_images_of_one_person_change_nothing():
    latents, identities, grouping = grouped(images=1)
    copies = np.concatenate([np.arange(len(latents)), np.full(50, 3)])
    more = k_same(latents[copies], identities[copies], identities[copies] % 2, 4)
    for method in ("mean", "geometric_median"):
        torch.testing.assert_close(
            aggregate(latents[copies], more, identities[copies], method),
            aggregate(latents, grouping, identities, method),
        )


def test_rows_of_dropped_classes_take_no_part():
    latents = np.arange(16.0).reshape(8, 2)
    labels = np.array([0, 0, 0, 1, 1, 0, 0, 0])
    grouping = k_same(latents, np.arange(8), labels, 3, small_classes="drop")
    found = aggregate(latents, grouping, np.arange(8))
    np.testing.assert_allclose(found.mean(dim=0), latents[labels == 0].mean(axis=0))
    assert found.dtype == torch.float64


@pytest.mark.parametrize(("m", "dim"), [(4, 2), (7, 3), (9, 16)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_geometric_median_has_the_least_sum_of_distances(m, dim, seed):
    # On a sphere no point is in the middle, so that no share is near its cap.
    points = np.random.default_rng(seed).standard_normal((m, dim))
    points /= np.linalg.norm(points, axis=1, keepdims=True)

    def total(x):
        return np.linalg.norm(points - x, axis=1).sum()

    best = minimize(total, points.mean(axis=0), method="BFGS", options={"gtol": 1e-10})
    padded = torch.zeros(1, m + 2, dim, dtype=torch.float64)
    padded[0, :m] = torch.from_numpy(points)
    present = torch.arange(m + 2)[None] < m
    found = geometric_median(padded, present)[0].numpy()
    inverse = 1 / np.linalg.norm(points - found, axis=1)
    if (inverse / inverse.sum()).max() < 1.5 / m:
        np.testing.assert_allclose(found, best.x, atol=1e-5)
        assert total(found) <= best.fun * (1 + 1e-9)
    else:
        assert total(found) <= total(points.mean(axis=0))


def test_most_medians_above_meet_no_cap():
    # Guards the test above against passing through its second branch only.
    below = 0
    for m, dim in [(4, 2), (7, 3), (9, 16)]:
        for seed in (0, 1, 2):
            points = np.random.default_rng(seed).standard_normal((m, dim))
            points /= np.linalg.norm(points, axis=1, keepdims=True)
            found = geometric_median(
                torch.from_numpy(points)[None], torch.ones(1, m, dtype=torch.bool)
            )[0].numpy()
            inverse = 1 / np.linalg.norm(points - found, axis=1)
            below += (inverse / inverse.sum()).max() < 1.5 / m
    assert below >= 5


def test_geometric_median_resists_an_outlier():
    points = torch.tensor([[[1.0, 0], [-1, 0], [0, 1], [0, -1], [0.1, 1000]]]).double()
    median = geometric_median(points, torch.ones(1, 5, dtype=torch.bool))
    assert median.norm() < 0.3 * points.mean(dim=1).norm()


def test_a_median_never_is_one_persons_latent():
    # The middle one of these is their exact geometric median.
    points = torch.tensor([[[0.0, 0], [3, 0], [-3, 0], [0, 3], [1, -3]]]).double()
    median = geometric_median(points, torch.ones(1, 5, dtype=torch.bool))[0]
    assert torch.cdist(median[None], points[0]).min() > 1e-2
    # Its weight is 1.5 equal shares, 0.3; the others share 0.7.
    assert 0 < median.norm() < 0.7 * 3


def test_the_median_of_identical_latents_is_that_latent():
    latents = np.full((6, 3), 2.5)
    grouping = k_same(latents, np.arange(6), np.zeros(6, int), 3)
    np.testing.assert_array_equal(
        aggregate(latents, grouping, np.arange(6), "geometric_median"), np.full((2, 3), 2.5)
    )


@given(seed=st.integers(0, 10**6), scale=st.sampled_from([1e-6, 1.0, 1e6]))
def test_medians_stay_inside_their_groups(seed, scale):
    latents, identities, grouping = grouped(seed, people=15, k=3, dim=2)
    latents = latents * np.float32(scale)
    found = aggregate(latents, grouping, identities, "geometric_median").numpy()
    for g in range(grouping.num_groups):
        rows = latents[grouping.rows(g)]
        assert (found[g] >= rows.min(axis=0) - 1e-5 * scale).all()
        assert (found[g] <= rows.max(axis=0) + 1e-5 * scale).all()


def test_what_does_not_fit_the_grouping_is_refused():
    latents, identities, grouping = grouped()
    with pytest.raises(InputError):
        aggregate(latents, grouping, identities, "median")
    with pytest.raises(ShapeError):
        aggregate(latents[:-1], grouping, identities[:-1])
    with pytest.raises(ShapeError):
        aggregate(latents, grouping, identities[:-1])
    with pytest.raises(DataError):
        aggregate(latents * np.nan, grouping, identities)
