"""Triton kernel of `path_smooth_`: Thomas' algorithm in tiles of points, one sweep each way.

It is for GPUs on which the extension's CUDA kernels were not built. Both sweeps are recurrences
`out_t = f_t in_t + g_t out_{t-1}`, the second one from the other end. Over a tile of 32 points such
a recurrence is a triangular matrix, the same for all columns, and what it carries in times a decay:

    out = matrix @ in + decay * carried,

so that a program goes through a block of columns 32 points at a time, or through a segment of them
where paths are long (`ops.path_smooth.segments`).
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from latentpath.ops.path_smooth import KEPT_FACTORS, segments, thomas_factors

TILE = 32  # points
BLOCK = 64  # columns of a program
WARPS = 4


@triton.jit
def sweep_kernel(
    source,  # [B, T, D]
    out,  # [B, T, D], may be `source` where there is one segment
    matrices,  # [tiles, TILE, TILE]
    decays,  # [tiles, TILE]
    columns,
    points,
    width,
    column_blocks,
    tiles,
    segment,  # tiles
    lead,  # tiles
    alpha,
    BACKWARD: tl.constexpr,
    ENDS: tl.constexpr,  # forward: whether the ends count
    TILE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One segment of a block of columns, tile by tile."""
    program = tl.program_id(0)
    column = (program % column_blocks).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    is_column = column < columns
    interior = points - 2
    begin = (program // column_blocks) * segment
    end = tl.minimum(begin + segment, tiles)
    first = (column // width * points + 1) * width + column % width  # of the interior
    row, k = tl.arange(0, TILE), tl.arange(0, TILE)
    carried = tl.zeros([BLOCK], tl.float32)
    if BACKWARD:
        start = tl.minimum(end + lead, tiles)
        count = start - begin
        kept_row = 0
    else:
        start = tl.maximum(begin - lead, 0)
        count = end - start
        kept_row = TILE - 1
    last = tl.zeros([BLOCK], tl.float32)
    if ENDS:
        carries = column < tl.where(start == 0, columns, 0)
        carried = tl.load(source + first - width, mask=carries, other=0.0)
        last = tl.load(source + first + width * interior, mask=is_column, other=0.0)
    for i in range(0, count):
        tile = start - 1 - i if BACKWARD else start + i
        t = tile * TILE + row
        at = first[None, :] + (t[:, None] * width).to(tl.int64)
        inside = (t < interior)[:, None] & is_column[None, :]
        values = tl.load(source + at, mask=inside, other=0.0)
        if ENDS:
            values += tl.where((t == interior - 1)[:, None], alpha * last[None, :], 0.0)
        matrix = tl.load(matrices + tile * TILE * TILE + row[:, None] * TILE + k[None, :])
        decay = tl.load(decays + tile * TILE + row)
        result = tl.dot(matrix, values, input_precision="ieee") + decay[:, None] * carried[None, :]
        is_own = (t >= begin * TILE) & (t < end * TILE)
        tl.store(out + at, result, mask=inside & is_own[:, None])
        carried = tl.sum(tl.where((row == kept_row)[:, None], result, 0.0), 0)


class Sweep(NamedTuple):
    """The recurrence of one sweep."""

    matrices: Tensor
    """[tiles, TILE, TILE]"""
    decays: Tensor
    """[tiles, TILE]"""


@functools.lru_cache(KEPT_FACTORS)
def sweeps(alpha: float, interior: int, device: torch.device) -> tuple[Sweep, Sweep]:
    """Forward, y_t = (rhs_t + alpha y_{t-1}) / p_t; backward, x_t = y_t + (alpha / p_t) x_{t+1}."""
    tiles = triton.cdiv(interior, TILE)
    inverse = torch.zeros(tiles * TILE, dtype=torch.float64)
    inverse[:interior] = thomas_factors(alpha, interior, torch.float64)
    inverse = inverse.view(tiles, TILE)
    forward = _in_tiles(alpha * inverse, inverse, range(TILE))
    backward = _in_tiles(alpha * inverse, torch.ones_like(inverse), range(TILE - 1, -1, -1))
    return tuple(Sweep(*(x.float().to(device) for x in sweep)) for sweep in (forward, backward))  # type: ignore[return-value]


def _in_tiles(
    carried: Tensor,  # [tiles, TILE] g_t
    taken: Tensor,  # [tiles, TILE] f_t
    order: range,
) -> tuple[Tensor, Tensor]:
    """Matrices and decays of out_t = f_t in_t + g_t (out of the point before in `order`)."""
    matrices = carried.new_zeros(*carried.shape, TILE)
    decays = torch.ones_like(carried)
    row, decay = torch.zeros_like(carried), torch.ones_like(carried[:, 0])
    for t in order:
        row = carried[:, t, None] * row
        row[:, t] = taken[:, t]
        decay = carried[:, t] * decay
        matrices[:, t], decays[:, t] = row, decay
    return matrices, decays


def path_smooth(rhs: Tensor, alpha: float, zero_ends: bool) -> None:  # [B, T, D]
    """Replace the interior of `rhs`, which is contiguous, by the solution."""
    batch, points, width = rhs.shape
    columns = batch * width
    if columns == 0:
        return
    tiles = triton.cdiv(points - 2, TILE)
    segment, lead = (triton.cdiv(x, TILE) for x in segments(points - 2, alpha))
    count, column_blocks = triton.cdiv(tiles, segment), triton.cdiv(columns, BLOCK)
    between = rhs if count == 1 else torch.empty_like(rhs)
    sizes = columns, points, width, column_blocks, tiles, segment, lead, alpha
    forward, backward = sweeps(alpha, points - 2, rhs.device)
    options = {"TILE": TILE, "BLOCK": BLOCK, "num_warps": WARPS}
    with torch.cuda.device_of(rhs):
        launch = sweep_kernel[(column_blocks * count,)]
        launch(rhs, between, *forward, *sizes, BACKWARD=False, ENDS=not zero_ends, **options)
        launch(between, rhs, *backward, *sizes, BACKWARD=True, ENDS=False, **options)
