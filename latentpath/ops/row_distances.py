"""`row_distances`: squared distances from many rows to a few targets, as float64 gives them."""

from __future__ import annotations

import torch
from torch import Tensor

from latentpath.core import ShapeError
from latentpath.ops import dispatch
from latentpath.ops.registration import register

_DTYPES = (torch.float32, torch.float64)
_CHUNK = 1 << 22  # numbers that the reference holds in float64 at a time


def row_distances(
    points: Tensor,  # [n, D]
    targets: Tensor,  # [m, D]
    *,
    impl: str | None = None,
) -> Tensor:  # [m, n]
    """Squared Euclidean distances from every row to every one of a few targets, in float64.

    Rows and targets are subtracted in float64, element by element, so close points lose no
    digits, as they do in |a|^2 + |b|^2 - 2 a.b, and a copy is at distance zero. Meant for few
    targets (tens at most): beyond that a matrix product is faster. There are no gradients.

    Args:
        points: [n, D] with D >= 1, float32 or float64; rows may lie apart in memory.
        targets: [m, D], float32 or float64.
        impl: "reference" or "native" forces an implementation.

    Returns:
        [m, n] float64.

    Raises:
        ShapeError: wrong shapes, dtypes or devices.
        UnsupportedError: `impl` cannot run here, or not in float64.

    >>> import torch
    >>> row_distances(torch.tensor([[0.0, 0.0], [3.0, 4.0]]), torch.tensor([[0.0, 0.0]]))
    tensor([[ 0., 25.]], dtype=torch.float64)
    """
    if points.ndim != 2 or points.shape[1] < 1:
        raise ShapeError(
            expected="points to be [n, D] with D >= 1",
            got=str(list(points.shape)),
            fix="pass one row per point",
        )
    dispatch.check_shape("targets", targets, (None, points.shape[1]), "[m, D]")
    dispatch.check_dtype("points", points, _DTYPES)
    dispatch.check_dtype("targets", targets, _DTYPES)
    dispatch.check_device("targets", targets, "points", points)
    squared: Tensor = _row_distances(points.detach(), targets.detach(), impl)
    return squared


def _row_distances_reference(points: Tensor, targets: Tensor) -> Tensor:  # [n, D], [m, D] -> [m, n]
    """Plain PyTorch in float64, a part of the rows at a time."""
    squared = points.new_empty(len(targets), len(points), dtype=torch.float64)
    step = max(1, _CHUNK // points.shape[1])
    for first in range(0, len(points), step):
        rows = points[first : first + step].double()
        for number, target in enumerate(targets.double()):
            torch.sum((rows - target).square_(), 1, out=squared[number, first : first + step])
    return squared


def _kernel(points: Tensor, targets: Tensor, impl: str | None) -> Tensor:
    if dispatch.choose("row_distances", impl, points) == "native":
        return _native(points, targets)
    return _row_distances_reference(points, targets)


def _fake(points: Tensor, targets: Tensor, impl: str | None) -> Tensor:
    return points.new_empty(targets.shape[0], points.shape[0], dtype=torch.float64)


def _native(points: Tensor, targets: Tensor) -> Tensor:
    module = dispatch.extension()
    assert module is not None
    if points.stride(1) != 1:
        points = points.contiguous()
    wide = targets.to(torch.float64).contiguous()
    squared = points.new_empty(len(targets), len(points), dtype=torch.float64)
    module.row_distances(
        points.data_ptr(),
        wide.data_ptr(),
        len(points),
        len(targets),
        points.shape[1],
        points.stride(0),
        squared.data_ptr(),
        torch.get_num_threads(),
    )
    return squared


_row_distances = register(
    "row_distances(Tensor points, Tensor targets, str? impl) -> Tensor", _kernel, _fake
)
