from __future__ import annotations

import functools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from latentpath import ops
from latentpath.core.errors import InputError, ShapeError
from latentpath.ops import dispatch, path_smooth
from latentpath.ops.path_smooth import _path_smooth
from support.conformance import assert_within_budget, backends

pytestmark = pytest.mark.numeric

# B, T, D: the shortest path, long ones, widths around the kernel's strips of 128 columns
SHAPES = [(1, 3, 1), (2, 4, 3), (1, 50, 64), (2, 123, 81), (1, 900, 17), (2, 207, 130)]
ALPHAS = [0.0, 0.3, 25.0, 1e6]


def rhs(shape):
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator)


def matrix(interior, alpha):
    second = torch.full((interior - 1,), alpha, dtype=torch.float64)
    diagonal = torch.full((interior,), 1 + 2 * alpha, dtype=torch.float64)
    return diagonal.diag() - second.diag(1) - second.diag(-1)


def solve(values, alpha, ends):
    """A dense solve in float64, for short paths."""
    values = values.double().clone()
    right = values[:, 1:-1].clone()
    if ends == "fixed":
        right[:, 0] += alpha * values[:, 0]
        right[:, -1] += alpha * values[:, -1]
    values[:, 1:-1] = torch.linalg.solve(matrix(right.shape[1], alpha), right)
    return values


def for_backend(shape, backend):
    """Triton's interpreter takes milliseconds for a tile of 32 points."""
    return (shape[0], min(shape[1], 70), shape[2]) if backend == "triton" else shape


@functools.cache
def references(shape, alpha, ends):
    """In float32 and in float64, once for all implementations."""
    return [
        ops.path_smooth_(rhs(shape).to(dtype), alpha, ends=ends, impl="reference")
        for dtype in (torch.float32, torch.float64)
    ]


@backends("path_smooth")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("ends", ["fixed", "zero"])
def test_error_budget(backend, shape, alpha, ends):
    shape = for_backend(shape, backend)
    values, (plain, exact) = rhs(shape), references(shape, alpha, ends)
    result = ops.path_smooth_(values.clone(), alpha, ends=ends, impl=backend)
    assert_within_budget(result, plain, exact, roundings=8)
    assert torch.equal(result[:, [0, -1]], values[:, [0, -1]])


@pytest.mark.parametrize("shape", [(1, 3, 1), (2, 4, 3), (2, 123, 5)], ids=str)
@pytest.mark.parametrize("alpha", ALPHAS)
@pytest.mark.parametrize("ends", ["fixed", "zero"])
def test_reference_equals_a_dense_solve(shape, alpha, ends):
    values = rhs(shape).double()
    expected = solve(values, alpha, ends)
    result = ops.path_smooth_(values, alpha, ends=ends, impl="reference")
    torch.testing.assert_close(result, expected, rtol=1e-9, atol=1e-9)


@backends("path_smooth")
def test_long_paths_equal_a_banded_solve_through_scipy(backend):
    linalg = pytest.importorskip("scipy.linalg")
    alpha, points = 400.0, {"reference": 2_000, "triton": 300}.get(backend, 16_384)
    values = rhs((1, points, 3))
    banded = np.full((2, points - 2), 1 + 2 * alpha)
    banded[0] = -alpha
    right = values[0, 1:-1].double()
    right[0] += alpha * values[0, 0]
    right[-1] += alpha * values[0, -1]
    expected = torch.from_numpy(linalg.solveh_banded(banded, right.numpy()))
    result = ops.path_smooth_(values, alpha, impl=backend)
    torch.testing.assert_close(result[0, 1:-1].double(), expected, atol=2e-6, rtol=1e-4)


@backends("path_smooth")
def test_paths_of_a_batch_and_columns_do_not_see_each_other(backend):
    values = rhs((3, 40, 70))
    together = ops.path_smooth_(values.clone(), 3.0, impl=backend)
    one = ops.path_smooth_(values[1:2, :, 5:6].clone(), 3.0, impl=backend)
    torch.testing.assert_close(together[1:2, :, 5:6], one)
    values[2, 7, 9] = math.nan
    spoiled = ops.path_smooth_(values, 3.0, impl=backend)
    assert spoiled[2, 1:-1, 9].isnan().all()
    spoiled[2, :, 9] = together[2, :, 9]
    assert torch.equal(spoiled, together)


@backends("path_smooth")
def test_zero_ends_ignore_what_stands_there(backend):
    values = rhs((2, 20, 3))
    other = values.clone()
    other[:, 0], other[:, -1] = math.nan, 1e9
    result = ops.path_smooth_(values.clone(), 2.0, ends="zero", impl=backend)
    ignored = ops.path_smooth_(other, 2.0, ends="zero", impl=backend)
    assert torch.equal(result[:, 1:-1], ignored[:, 1:-1])


@backends("path_smooth")
def test_extreme_values(backend):
    values = 1e4 * rhs((2, 60, 5))
    exact = solve(values, 1e4, "fixed")
    plain = ops.path_smooth_(values.clone(), 1e4, impl="reference")
    assert_within_budget(ops.path_smooth_(values, 1e4, impl=backend), plain, exact, roundings=16)


@backends("path_smooth")
def test_empty_batch(backend):
    assert ops.path_smooth_(torch.zeros(0, 5, 3), 1.0, impl=backend).shape == (0, 5, 3)


@backends("path_smooth")
def test_two_runs_are_equal(backend):
    shape = for_backend((2, 507, 130), backend)
    first, second = (ops.path_smooth_(rhs(shape), 5.0, impl=backend) for _ in range(2))
    assert torch.equal(first, second)


def test_result_does_not_depend_on_the_number_of_threads():
    before = torch.get_num_threads()
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(ops.path_smooth_(rhs((2, 300, 130)), 5.0))
    torch.set_num_threads(before)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


def test_returns_its_argument():
    values = rhs((1, 5, 2))
    assert ops.path_smooth_(values, 1.0) is values


@given(st.integers(3, 200), st.floats(0, 1e4), st.integers(0, 100))
def test_properties(points, alpha, seed):
    """A straight line is a fixed point, and no step overshoots: values stay between extremes."""
    generator = torch.Generator().manual_seed(seed)
    ends = torch.randn(2, 1, 3, generator=generator, dtype=torch.float64)
    line = torch.lerp(ends[0], ends[1], torch.linspace(0, 1, points).double()[:, None])[None]
    smooth = ops.path_smooth_(line.float().contiguous(), alpha)
    torch.testing.assert_close(smooth.double(), line, atol=2e-5, rtol=1e-4)
    noisy = torch.randn(1, points, 3, generator=generator)
    result = ops.path_smooth_(noisy.clone(), alpha)
    assert (result <= noisy.amax(1, keepdim=True) + 1e-5).all()
    assert (result >= noisy.amin(1, keepdim=True) - 1e-5).all()


def test_smoothing_lowers_the_smoothness_energy_as_much_as_newton():
    """One step with a large alpha reaches the straight line, which gradient steps do not."""
    path = rhs((1, 400, 2))
    ops.path_smooth_(path, 1e9)
    line = torch.lerp(path[:, :1], path[:, -1:], torch.linspace(0, 1, 400)[None, :, None])
    torch.testing.assert_close(path, line, atol=1e-2, rtol=0)


def test_wrong_input_is_refused_by_name():
    with pytest.raises(ShapeError, match=r"rhs to be \[B, T, D\] with T >= 3, got \[5, 2\]"):
        ops.path_smooth_(torch.zeros(5, 2), 1.0)
    with pytest.raises(ShapeError, match="contiguous rhs"):
        ops.path_smooth_(torch.zeros(5, 4, 2).transpose(0, 1), 1.0)
    with pytest.raises(ShapeError, match="float16"):
        ops.path_smooth_(torch.zeros(1, 4, 2).half(), 1.0)
    for alpha in (-1.0, math.nan, math.inf):
        with pytest.raises(InputError, match="alpha >= 0"):
            ops.path_smooth_(torch.zeros(1, 4, 2), alpha)
    with pytest.raises(InputError, match="'free'"):
        ops.path_smooth_(torch.zeros(1, 4, 2), 1.0, ends="free")
    with pytest.raises(InputError, match="no_grad"):
        ops.path_smooth_(torch.zeros(1, 4, 2, requires_grad=True), 1.0)


@backends("path_smooth")
def test_opcheck(backend):
    torch.library.opcheck(_path_smooth, (rhs((2, 9, 4)), 2.0, False, backend))


def test_compiles_without_a_graph_break():
    def smooth_twice(path):
        ops.path_smooth_(path, 2.0)
        return ops.path_smooth_(2 * path, 3.0, ends="zero").sum()

    eager, traced = rhs((2, 9, 4)), rhs((2, 9, 4))
    compiled = torch.compile(smooth_twice, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(traced), smooth_twice(eager))
    torch.testing.assert_close(traced, eager)


@pytest.mark.parametrize("ends", ["fixed", "zero"])
def test_triton_s_segments_of_a_long_path_do_not_show(ends, monkeypatch):
    reason = dispatch.why_not("path_smooth", "triton", "cpu")
    if reason:
        pytest.skip(reason)
    alpha, shape = 0.3, (2, 150, 3)
    whole = path_smooth.segments(shape[1] - 2, alpha)
    monkeypatch.setattr(path_smooth, "LEAST_SEGMENT", 64)
    cut = path_smooth.segments(shape[1] - 2, alpha)
    assert (whole, cut) == ((148, 0), (64, 12))
    values, (plain, exact) = rhs(shape), references(shape, alpha, ends)
    result = ops.path_smooth_(values, alpha, ends=ends, impl="triton")
    assert_within_budget(result, plain, exact, roundings=8)


@given(st.integers(1, 20_000), st.floats(0, 1e300))
def test_segments_see_as_far_as_float32_does(interior, alpha):
    segment, lead = path_smooth.segments(interior, alpha)
    assert 1 <= segment <= interior
    if segment < interior:
        # The limit of the pivots is the larger root of p = 1 + 2 alpha - alpha^2 / p.
        limit = (1 + 2 * alpha + math.sqrt(1 + 4 * alpha)) / 2
        assert alpha == 0 or (alpha / limit) ** lead <= 2.0**-25
        assert segment >= 4 * lead
