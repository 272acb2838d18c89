"""`path_smooth_`: solve (I + alpha L) x = rhs along every path, in place."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from latentpath.core import InputError
from latentpath.ops import dispatch
from latentpath.ops.path_step import check_path
from latentpath.ops.registration import mark_written, refuse_transforms, register

ENDS = ("fixed", "zero")
# Factors of so many pairs of alpha and T stay where they are used.
KEPT_FACTORS = 64
# On GPUs a segment has at least so many points, and this many times those that it begins outside of
# itself.
LEAST_SEGMENT, SEGMENT_OVER_LEAD = 512, 4
# What float32 does not see beside a number of the same size.
_UNSEEN = 2.0**-26


def path_smooth_(
    rhs: Tensor,  # [B, T, D]
    alpha: float,
    *,
    ends: str = "fixed",
    impl: str | None = None,
) -> Tensor:  # [B, T, D]
    r"""Solve `(I + alpha L) x = rhs` along t for every path and latent coordinate, in place.

    L is the path Laplacian with fixed ends, `(L x)_t = 2 x_t - x_{t-1} - x_{t+1}`
    at the interior points: half the gradient of the smoothness energy. With the
    path itself as `rhs` this is an implicit (backward Euler) smoothing step that
    is stable for any alpha; with a gradient as `rhs` it is the preconditioner
    that moves long waves of a path as fast as short ones. The matrix is
    tridiagonal and the same for every column: O(T) work (Thomas' algorithm).

    Args:
        rhs: [B, T, D], T >= 3, contiguous, float32 or float64; replaced by the solution. The
            first and last points are the fixed ends: they enter the solution and stay as they are.
        alpha: weight of the Laplacian, >= 0 and finite; features shorter than about sqrt(alpha)
            points are smoothed away.
        ends: "fixed" takes the ends from `rhs`; "zero" solves with ends of zero (for a gradient
            or a step of a path whose ends do not move), whatever `rhs` holds there.
        impl: "reference", "native" or "triton" forces an implementation.

    Returns:
        `rhs`, which now holds x.

    Raises:
        ShapeError: wrong shape, dtype or layout.
        InputError: an impossible alpha, an unknown `ends`, or a tensor that requires gradients.
        UnsupportedError: `impl` cannot run here, or `rhs` carries a forward tangent.

    >>> import torch
    >>> path_smooth_(torch.tensor([[[0.0], [3.0], [0.0]]]), 1.0).flatten()
    tensor([0., 1., 0.])
    """
    check_path("rhs", rhs)
    refuse_transforms("path_smooth_", rhs)
    if not (alpha >= 0.0 and math.isfinite(alpha)):
        raise InputError(expected="alpha >= 0", got=str(alpha), fix="alpha = 0 changes nothing")
    if ends not in ENDS:
        raise InputError(expected="ends to be 'fixed' or 'zero'", got=repr(ends), fix="take one")
    _path_smooth(rhs, float(alpha), ends == "zero", impl)
    return rhs


@functools.lru_cache(KEPT_FACTORS)
def thomas_factors(
    alpha: float,
    interior: int,
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
) -> Tensor:  # [T-2]
    """Return the reciprocal pivots of I + alpha L, which all columns share.

    Elimination has pivots `p_1 = 1 + 2 alpha`, `p_t = 1 + 2 alpha - alpha^2 / p_{t-1}`, computed
    in float64. All are at least 1 + alpha, so it is stable without pivoting. Walks ask for the same
    few again and again: the last ones are kept where they are used, since on a GPU they would have
    to be copied there while it waits. They are not to be written to.
    """
    diagonal = 1.0 + 2.0 * alpha
    pivots = [diagonal]
    for _ in range(interior - 1):
        pivot = diagonal - alpha * alpha / pivots[-1]
        if pivot == pivots[-1]:  # the recurrence has reached its limit: all others are equal
            break
        pivots.append(pivot)
    pivots += [pivots[-1]] * (interior - len(pivots))
    return torch.tensor([1.0 / pivot for pivot in pivots], dtype=dtype, device=device)


def segments(interior: int, alpha: float) -> tuple[int, int]:
    """How GPUs cut a path of so many points: points of a segment, and its lead, those that are
    computed beside it on either side for its sake; of a path that stays whole, all and none.

    What a point has to do with another one falls off with their distance, by e^-theta a point,
    where cosh theta is 1 + 1 / (2 alpha), theta about 1 / sqrt(alpha). So each segment can begin so
    far outside of itself that float32 does not see what it began with. How a path is cut depends on
    T and alpha alone: it gets the same bits in any company.
    """
    theta = 2 * math.asinh(0.5 / math.sqrt(alpha)) if alpha > 0 else math.inf
    lead = math.ceil(-math.log(_UNSEEN) / theta)
    segment = max(LEAST_SEGMENT, SEGMENT_OVER_LEAD * lead)
    return (interior, 0) if segment >= interior else (segment, lead)


def _path_smooth_reference(rhs: Tensor, alpha: float, zero_ends: bool) -> None:
    """Plain PyTorch, one operation per point and sweep, in the tensor's own precision."""
    interior = rhs.shape[1] - 2
    inverse = thomas_factors(alpha, interior, torch.float64).tolist()
    first, last = (torch.zeros_like(rhs[:, 0]),) * 2 if zero_ends else (rhs[:, 0], rhs[:, -1])
    x = rhs[:, 1:-1]
    previous = first
    for t in range(interior):
        right = last if t == interior - 1 else 0.0
        previous = (x[:, t] + alpha * (previous + right)) * inverse[t]
        x[:, t] = previous
    for t in range(interior - 2, -1, -1):
        previous = x[:, t] + alpha * inverse[t] * previous
        x[:, t] = previous


def _kernel(rhs: Tensor, alpha: float, zero_ends: bool, impl: str | None) -> None:
    chosen = dispatch.choose("path_smooth", impl, rhs)
    if chosen == "reference":
        _path_smooth_reference(rhs, alpha, zero_ends)
        return
    if chosen == "triton":
        from latentpath.ops.triton.path_smooth_kernel import path_smooth as run_triton

        run_triton(rhs, alpha, zero_ends)
        mark_written(rhs)
        return
    module = dispatch.extension()
    assert module is not None
    batch, points, width = rhs.shape
    inverse = thomas_factors(alpha, points - 2, rhs.dtype, rhs.device)
    on_gpu = dispatch.cuda_stream(rhs)
    if on_gpu:
        cut = segments(points - 2, alpha)
        between = rhs if cut[0] == points - 2 else torch.empty_like(rhs)
        on_gpu |= {"between": between.data_ptr(), "segments": cut}
    with torch.cuda.device_of(rhs):
        module.path_smooth(
            rhs.is_cuda,
            rhs.data_ptr(),
            (batch, points, width),
            alpha,
            zero_ends,
            inverse.data_ptr(),
            torch.get_num_threads(),
            **on_gpu,
        )
    mark_written(rhs)


def _fake(rhs: Tensor, alpha: float, zero_ends: bool, impl: str | None) -> None:
    return None


_path_smooth = register(
    "path_smooth_(Tensor(a!) rhs, float alpha, bool zero_ends, str? impl) -> ()", _kernel, _fake
)
