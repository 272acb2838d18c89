from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, strategies as st

from latentpath import ops
from latentpath.core.errors import InputError, ShapeError, UnsupportedError
from latentpath.ops.row_distances import _row_distances
from support.conformance import assert_within_budget, backends

pytestmark = pytest.mark.numeric

SHAPES = [(1, 1, 1), (3, 2, 5), (7, 4, 123), (9, 5, 507), (33, 11, 64), (252, 3, 512), (64, 8, 16)]


def draw(n, m, d, seed=0):
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(n, d, generator=generator)
    return points, torch.randn(m, d, generator=generator)


def textbook(points, targets):
    return torch.cdist(
        targets.double(), points.double(), compute_mode="donot_use_mm_for_euclid_dist"
    ).square()


@backends("row_distances")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_error_budget(backend, shape):
    points, targets = draw(*shape)
    squared = ops.row_distances(points, targets, impl=backend)
    exact = (points.double()[None] - targets.double()[:, None]).square().sum(2)
    assert squared.dtype == torch.float64
    assert_within_budget(
        squared, textbook(points, targets), exact, roundings=8, dtype=torch.float64
    )


@backends("row_distances")
def test_close_points_lose_no_digits(backend):
    """Far from the origin, where the matrix product's formula has nothing left."""
    points, targets = draw(20, 4, 200)
    points = 1e4 + points.mul(2.0**-6).round() * 2.0**-6
    targets = points[:4] + torch.eye(4, 200) * 2.0**-8
    squared = ops.row_distances(points, targets, impl=backend)
    for i in range(4):
        assert squared[i, i].item() == (targets[i].double() - points[i].double()).square().sum()
        assert squared[i, i].item() == 2.0**-16


@backends("row_distances")
def test_copies_are_at_distance_zero(backend):
    points, _ = draw(9, 1, 507)
    squared = ops.row_distances(points, points, impl=backend)
    assert torch.equal(squared.diagonal(), torch.zeros(9, dtype=torch.float64))
    assert (squared + torch.eye(9) > 0).all()
    torch.testing.assert_close(squared, squared.T, rtol=1e-15, atol=0)


@backends("row_distances")
def test_targets_may_be_float64(backend):
    points, targets = draw(6, 3, 40)
    wide = targets.double() + 1e-9
    squared = ops.row_distances(points, wide, impl=backend)
    exact = (points.double()[None] - wide[:, None]).square().sum(2)
    torch.testing.assert_close(squared, exact, rtol=1e-14, atol=0)


@backends("row_distances")
@pytest.mark.parametrize("size", [1e-30, 1e30])
def test_extreme_values(backend, size):
    points, targets = draw(5, 3, 33)
    squared = ops.row_distances(points * size, targets * size, impl=backend)
    exact = ((points * size).double()[None] - (targets * size).double()[:, None]).square().sum(2)
    assert squared.isfinite().all()
    torch.testing.assert_close(squared, exact, rtol=1e-13, atol=0)


@backends("row_distances")
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nan_stays_in_its_row(backend, bad):
    points, targets = draw(6, 5, 41)
    clean = ops.row_distances(points, targets, impl=backend)
    points[3, 40] = bad
    squared = ops.row_distances(points, targets, impl=backend)
    assert not squared[:, 3].isfinite().any()
    others = [0, 1, 2, 4, 5]
    assert torch.equal(squared[:, others], clean[:, others])


@backends("row_distances")
def test_empty(backend):
    points, targets = draw(4, 3, 8)
    assert ops.row_distances(points[:0], targets, impl=backend).shape == (3, 0)
    assert ops.row_distances(points, targets[:0], impl=backend).shape == (0, 4)


@backends("row_distances")
def test_non_contiguous(backend):
    base, targets = draw(40, 3, 12)
    for view in (base[::3], base[:, ::2], base[:, 1:6], base[:1].expand(4, 12), base[:12].T):
        few = targets[:, : view.shape[1]]
        found = ops.row_distances(view, few, impl=backend)
        expected = ops.row_distances(view.contiguous(), few.contiguous(), impl=backend)
        torch.testing.assert_close(found, expected, rtol=1e-14, atol=0)


@backends("row_distances")
def test_a_distance_does_not_depend_on_its_neighbours(backend):
    """Rows go through in pairs and targets by four; alone or not, the result is the same."""
    points, targets = draw(11, 9, 123)
    whole = ops.row_distances(points, targets, impl=backend)
    assert torch.equal(whole, ops.row_distances(points, targets, impl=backend))
    for row in (0, 5, 10):
        alone = ops.row_distances(points[row : row + 1], targets, impl=backend)
        assert torch.equal(alone[:, 0], whole[:, row])
    for number in (0, 4, 8):
        alone = ops.row_distances(points, targets[number : number + 1], impl=backend)
        assert torch.equal(alone[0], whole[number])


def test_result_does_not_depend_on_the_number_of_threads():
    points, targets = draw(301, 5, 70)
    before = torch.get_num_threads()
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(ops.row_distances(points, targets))
    torch.set_num_threads(before)
    assert torch.equal(results[1], results[0])
    assert torch.equal(results[2], results[0])


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 9), st.integers(0, 1000))
def test_properties(width, rows, few, seed):
    """Never negative, a metric's triangle inequality, unchanged when both are moved exactly."""
    points, targets = draw(rows, few, width, seed)
    points, targets = (points * 64).round(), (targets * 64).round()
    squared = ops.row_distances(points, targets)
    assert (squared >= 0).all()
    assert torch.equal(ops.row_distances(points + 1024, targets + 1024), squared)
    between = ops.row_distances(targets, targets).sqrt()
    distance = squared.sqrt()
    assert (distance[:, None] <= between[..., None] + distance[None] + 1e-9).all()


def test_float64_points_run_the_reference():
    points, targets = draw(5, 3, 7)
    squared = ops.row_distances(points.double(), targets)
    torch.testing.assert_close(squared, ops.row_distances(points, targets), rtol=1e-14, atol=0)
    with pytest.raises(UnsupportedError, match="float64"):
        ops.row_distances(points.double(), targets, impl="native")


def test_no_gradients():
    points, targets = draw(5, 3, 7)
    assert not ops.row_distances(points.requires_grad_(), targets).requires_grad


def test_wrong_input_is_refused_by_name():
    points, targets = draw(5, 3, 7)
    for bad in (points[0], points[:, :0]):
        with pytest.raises(ShapeError, match=r"points to be \[n, D\]"):
            ops.row_distances(bad, targets)
    with pytest.raises(ShapeError, match=r"targets to be \[m, D\]"):
        ops.row_distances(points, targets[:, :6])
    with pytest.raises(ShapeError, match="points in float32, float64"):
        ops.row_distances(points.half(), targets)
    with pytest.raises(ShapeError, match="targets in float32, float64"):
        ops.row_distances(points, targets.long())
    with pytest.raises(InputError, match="fastest"):
        ops.row_distances(points, targets, impl="fastest")


@backends("row_distances")
def test_opcheck(backend):
    points, targets = draw(4, 3, 9)
    torch.library.opcheck(_row_distances, (points, targets, backend))


def test_compiles_without_a_graph_break():
    points, targets = draw(6, 2, 11)
    compiled = torch.compile(
        lambda p, t: ops.row_distances(p, t).sqrt().sum(0), backend="aot_eager", fullgraph=True
    )
    expected = ops.row_distances(points, targets).sqrt().sum(0)
    torch.testing.assert_close(compiled(points, targets), expected)
