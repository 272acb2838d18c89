"""Groupings with the compiled kernel and with matrix products are the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from latentpath.ksame import group_methods, k_same
from latentpath.ksame.distances import distance_sums, nearest_exact

needs_kernel = pytest.mark.skipif(
    not group_methods.has_fused_distances(torch.zeros(1, 1)), reason="latentpath._C is not built"
)


def group(points, k, method, fused):
    n = len(points)
    with pytest.MonkeyPatch.context() as patch:
        if not fused:
            patch.setattr(group_methods, "has_fused_distances", lambda points: False)
        return k_same(points, np.arange(n), np.zeros(n, int), k, method).assignment


@needs_kernel
@pytest.mark.parametrize("method", ["farthest", "mdav", "auto"])
@given(
    n=st.integers(6, 90),
    dim=st.integers(1, 40),
    k=st.integers(2, 6),
    copies=st.booleans(),
    offset=st.sampled_from([0.0, 300.0]),
    seed=st.integers(0, 99),
)
def test_equal_groups(method, n, dim, k, copies, offset, seed):
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((n, dim)).astype(np.float32) + np.float32(offset)
    if copies:
        points = points[rng.integers(0, max(2, n // 3), n)]
    np.testing.assert_array_equal(
        group(points, k, method, fused=True), group(points, k, method, fused=False)
    )


@needs_kernel
@pytest.mark.parametrize("method", ["farthest", "mdav"])
def test_equal_groups_of_many_points(method):
    points = np.random.default_rng(0).standard_normal((1500, 24)).astype(np.float32)
    np.testing.assert_array_equal(
        group(points, 5, method, fused=True), group(points, 5, method, fused=False)
    )


@needs_kernel
def test_float32_points_are_not_copied_to_float64():
    points = torch.randn(100, 8)
    free = group_methods.UngroupedPoints(points, 5)
    assert free.points.data_ptr() == points.data_ptr()
    assert group_methods.UngroupedPoints(points.double(), 5).points.dtype == torch.float64


def test_the_latents_are_left_as_they_were():
    points = torch.randn(200, 8, generator=torch.Generator().manual_seed(0))
    before = points.clone()
    for method in ("farthest", "mdav", "auto"):
        group(points, 5, method, fused=True)
    assert torch.equal(points, before)


def test_sums_over_several_blocks(monkeypatch):
    monkeypatch.setattr("latentpath.ksame.distances.BLOCK", 16)
    points = torch.randn(50, 7, generator=torch.Generator().manual_seed(1))
    wide = points.double()
    expected = (wide[:, None] - wide).norm(dim=2).sum(dim=1)
    torch.testing.assert_close(distance_sums(points), expected, rtol=1e-10, atol=0)


def test_ties_go_to_the_lower_position():
    squared = torch.tensor([2.0, 1.0, 2.0, 0.5, 2.0, 1.0], dtype=torch.float64)
    assert nearest_exact(squared, 4).sort().values.tolist() == [0, 1, 3, 5]
    assert nearest_exact(squared, 2).sort().values.tolist() == [1, 3]
