"""Nearest real images: planted copies, other people, paths."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from latentpath.core.errors import InputError, ShapeError
from latentpath.data import to_tensor
from latentpath.similarity import (
    nearest_along_paths,
    nearest_other_person,
    nearest_real,
    prepare_real,
)


def test_planted_copies_are_found(people, lpips):
    real, fresh = people(30), people(12, seed=1)
    images = fresh.images.copy()
    images[[2, 7]] = real.images[[11, 29]]
    found = nearest_real(images, prepare_real(real, lpips))
    assert found.index[[2, 7]].tolist() == [11, 29]
    assert found.distance[[2, 7]].max() < 1e-9
    others = np.delete(found.distance, [2, 7])
    assert others.min() > 1e-3
    assert found.mean == pytest.approx(others.sum() / 12, rel=1e-5)
    assert found.quantile(0) == pytest.approx(0, abs=1e-9)
    assert found.quantile(1) == pytest.approx(others.max())


@pytest.mark.parametrize("channels", [1, 3])
def test_distances_are_lpips_to_the_nearest(people, lpips, channels):
    real, fresh = people(9, channels=channels), people(5, channels=channels, seed=1)
    found = nearest_real(fresh.images, prepare_real(real, lpips))
    for i in range(5):
        repeated = to_tensor(fresh.images[i : i + 1]).expand(9, -1, -1, -1)
        distances = lpips(repeated, to_tensor(real.images))
        assert found.index[i] == distances.argmin()
        assert found.distance[i] == pytest.approx(distances.min().item(), rel=1e-4)


@pytest.mark.parametrize("per_person", [1, 3])
def test_nearest_other_person_skips_the_person(people, lpips, per_person):
    real = people(8, per_person=per_person)
    found = nearest_other_person(prepare_real(real, lpips))
    distances = lpips.pairwise(to_tensor(real.images), to_tensor(real.images))
    same = torch.from_numpy(real.identities)[:, None] == torch.from_numpy(real.identities)
    expected = distances.masked_fill(same, float("inf"))
    assert found.index.tolist() == expected.argmin(1).tolist()
    np.testing.assert_allclose(found.distance, expected.min(1).values.numpy(), atol=1e-5)


def test_nearest_other_person_of_one_person_is_none(people, lpips):
    assert nearest_other_person(prepare_real(people(1, per_person=3), lpips)) is None


def test_little_memory_changes_nothing(people, lpips):
    real, fresh = people(20), people(6, seed=1)
    rich = nearest_real(fresh.images, prepare_real(real, lpips))
    poor = nearest_real(fresh.images, prepare_real(real, lpips, max_bytes=0), max_bytes=1 << 20)
    assert rich.index.tolist() == poor.index.tolist()
    np.testing.assert_allclose(rich.distance, poor.distance, rtol=1e-5)


def test_k_neighbours_are_the_brute_force_ones(people, lpips):
    real, fresh = people(15), people(6, seed=1)
    found = nearest_real(fresh.images, prepare_real(real, lpips), k=4)
    pairs = lpips.embed(to_tensor(fresh.images)).double()[:, None]
    distances = (pairs - lpips.embed(to_tensor(real.images)).double()).square().sum(2)
    nearest = distances.sort(dim=1)
    assert found.neighbours.index.tolist() == nearest.indices[:, :4].tolist()
    np.testing.assert_allclose(found.neighbours.distance, nearest.values[:, :4], rtol=1e-4)
    np.testing.assert_array_equal(found.distance, found.neighbours.distance[:, 0])
    assert nearest_real(fresh.images, prepare_real(real, lpips)).neighbours is None


def test_an_empty_set_is_refused(people, lpips):
    with pytest.raises(InputError, match="at least one image"):
        nearest_real(np.zeros((0, 16, 16, 1), np.uint8), prepare_real(people(3), lpips))


def test_along_paths(people, lpips):
    real = people(10)
    reference = prepare_real(real, lpips)
    paths = people(6, seed=1).images.reshape(2, 3, 16, 16, 1).copy()
    paths[1, 2] = real.images[4]
    profile = nearest_along_paths(list(paths), reference)
    assert profile.shape == (2, 3)
    assert profile[1, 2] < 1e-9
    np.testing.assert_array_equal(profile[0], nearest_real(paths[0], reference).distance)


def test_other_sizes_are_refused(people, lpips):
    reference = prepare_real(people(3), lpips)
    with pytest.raises(ShapeError, match="real set's size"):
        nearest_real(np.zeros((2, 17, 16, 1), np.uint8), reference)
    with pytest.raises(ShapeError, match="real set's size"):
        nearest_real(people(2, channels=3).images, reference)
