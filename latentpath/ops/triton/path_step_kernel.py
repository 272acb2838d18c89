"""Triton kernel of `path_step_`: a program has a tile of points and columns of one path.

It is for GPUs on which the extension's CUDA kernels were not built. A tile holds a whole chunk of a
path's points, up to 64: it reads them and the two rows beside them, and writes after that. The rows
beside the only chunk of a short path are its ends, which stay; those of a longer path's chunks are
copied first. Sums go to memory per program and are added in a fixed order: the same bits every
time.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

# Points of a chunk: sums over so many are float32, those of all chunks float64.
CHUNK = 64
# Numbers of a tile, and its columns at least: 8 to a thread, in lines of 128 bytes.
TILE, NARROWEST = 2048, 32
WARPS = 8


@triton.jit
def path_step_kernel(
    path,  # [B, T, D]
    guide,  # [B, T-2, D]
    exp_avg,  # [B, T-2, D]
    exp_avg_sq,  # [B, T-2, D]
    step,  # [B] int64
    lr,  # [B]
    mask,  # [B] uint8
    borders,  # [B, chunks, 2, D], the rows before and after each chunk
    sums,  # [2, B, chunks * strips] float64: smoothness energy, squared norm of the gradient
    points,
    width,
    chunks,
    strips,
    guide_weight,
    smooth_weight,
    beta1,
    beta2,
    fresh1,
    fresh2,
    eps,
    log2_beta1,
    log2_beta1_rest,
    log2_beta2,
    log2_beta2_rest,
    HAS_GUIDE: tl.constexpr,
    HAS_MASK: tl.constexpr,
    HAS_BORDERS: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    """One strip of columns of one chunk of one path."""
    task = tl.program_id(0)
    strip, chunk = task % strips, task // strips % chunks
    b = (task // (strips * chunks)).to(tl.int64)
    interior = points - 2
    begin = chunk * BLOCK_T
    end = tl.minimum(begin + BLOCK_T, interior)
    if HAS_MASK:  # a path that stays has no points
        end = tl.where(tl.load(mask + b) != 0, end, begin)

    # 1 - beta^step cancels in float32; the logarithms come in two parts, as no argument is float64.
    count = (tl.load(step + b) + 1).to(tl.float64)
    power1 = tl.exp2(count * log2_beta1 + count * log2_beta1_rest)
    power2 = tl.exp2(count * log2_beta2 + count * log2_beta2_rest)
    step_size = (tl.load(lr + b).to(tl.float64) / (1 - power1)).to(tl.float32)
    root_correction = (1 / tl.sqrt(1 - power2)).to(tl.float32)

    t = begin + tl.arange(0, BLOCK_T)
    d = strip * BLOCK_D + tl.arange(0, BLOCK_D)
    in_width = d < width
    inside = (t < end)[:, None] & in_width[None, :]
    at = t[:, None] * width + d[None, :]
    rows = path + (b * points + 1) * width + at
    inner = b * interior * width + at
    before_at = path + b * points * width + d
    after_at = before_at + (points - 1) * width
    if HAS_BORDERS:
        before_at = borders + (b * chunks + chunk) * 2 * width + d
        after_at = before_at + width
    here = tl.load(rows, mask=inside, other=0.0)
    first_row = tl.load(before_at, mask=in_width, other=0.0)
    last_row = tl.load(after_at, mask=in_width, other=0.0)
    is_first, is_last = (t == begin)[:, None], (t == end - 1)[:, None]
    is_end = (t == interior - 1)[:, None]
    before = tl.load(rows - width, mask=inside & (t > begin)[:, None], other=0.0)
    before = tl.where(is_first, first_row[None, :], before)
    after = tl.load(rows + width, mask=inside & (t < end - 1)[:, None], other=0.0)
    after = tl.where(is_last, last_row[None, :], after)
    first = tl.load(exp_avg + inner, mask=inside, other=0.0)
    second = tl.load(exp_avg_sq + inner, mask=inside, other=0.0)
    difference = tl.where(inside, here - before, 0.0)
    onward = tl.where(inside, after - here, 0.0)
    gradient = 2.0 * smooth_weight * (difference - onward)
    if HAS_GUIDE:
        gradient += guide_weight * tl.load(guide + inner, mask=inside, other=0.0)
    first = beta1 * first + fresh1 * gradient
    second = beta2 * second + fresh2 * gradient * gradient
    denominator = tl.sqrt_rn(second) * root_correction + eps
    moved = here - tl.div_rn(step_size * first, denominator)
    # A row may be written when the threads beside it have read it.
    tl.debug_barrier()
    tl.store(rows, moved, mask=inside)
    tl.store(exp_avg + inner, first, mask=inside)
    tl.store(exp_avg_sq + inner, second, mask=inside)

    # The last distance of a path is that to its fixed end.
    to_end = tl.where(is_end, onward * onward, 0.0)
    energy = tl.sum(difference * difference + to_end, 0).to(tl.float64)
    norm = tl.sum(gradient * gradient, 0).to(tl.float64)
    tl.store(sums + task, tl.sum(energy, 0))
    tl.store(sums + tl.num_programs(0) + task, tl.sum(norm, 0))


def blocks(interior: int, width: int) -> tuple[int, int]:
    """Points and columns of a tile: a chunk whole, and as many columns as fill the tile."""
    block_t = min(CHUNK, max(4, triton.next_power_of_2(interior)))
    return block_t, min(TILE // block_t, max(NARROWEST, triton.next_power_of_2(width)))


def two_parts(value: float) -> tuple[float, float]:
    """A number as the sum of two that float32 holds, to twice its digits."""
    if not math.isfinite(value):
        return value, 0.0
    first = float(torch.tensor(value, dtype=torch.float32))
    return first, value - first


def path_step(
    path: Tensor,  # [B, T, D]
    guide: Tensor | None,  # [B, T-2, D]
    exp_avg: Tensor,  # [B, T-2, D]
    exp_avg_sq: Tensor,  # [B, T-2, D]
    step: Tensor,  # [B] int64
    lr: Tensor,  # [B]
    mask: Tensor | None,  # [B] bool
    guide_weight: float,
    smooth_weight: float,
    beta1: float,
    beta2: float,
    eps: float,
) -> tuple[Tensor, Tensor]:  # [B], [B]
    """Update everything in place; all tensors are contiguous."""
    batch, points, width = path.shape
    if batch == 0:
        return path.new_empty(0), path.new_empty(0)
    block_t, block_d = blocks(points - 2, width)
    chunks, strips = triton.cdiv(points - 2, block_t), triton.cdiv(width, block_d)
    sums = path.new_empty(2, batch, chunks * strips, dtype=torch.float64)
    logarithms = (math.log2(beta) if beta else -math.inf for beta in (beta1, beta2))
    with torch.cuda.device_of(path):
        path_step_kernel[(batch * chunks * strips,)](
            path,
            path if guide is None else guide,
            exp_avg,
            exp_avg_sq,
            step,
            lr,
            step if mask is None else mask.view(torch.uint8),
            path if chunks == 1 else _borders(path, chunks),
            sums,
            points,
            width,
            chunks,
            strips,
            guide_weight,
            smooth_weight,
            beta1,
            beta2,
            1.0 - beta1,
            1.0 - beta2,
            eps,
            *(part for logarithm in logarithms for part in two_parts(logarithm)),
            HAS_GUIDE=guide is not None,
            HAS_MASK=mask is not None,
            HAS_BORDERS=chunks > 1,
            BLOCK_T=block_t,
            BLOCK_D=block_d,
            num_warps=WARPS,
        )
    step.add_(1 if mask is None else mask)
    return sums[0].sum(1, dtype=path.dtype), sums[1].sum(1, dtype=path.dtype)


def _borders(path: Tensor, chunks: int) -> Tensor:  # [B, T, D] -> [B, 2 chunks, D]
    """The rows before and after each chunk, as they are now."""
    first = torch.arange(chunks, device=path.device) * CHUNK
    after = (first + CHUNK + 1).clamp_max(path.shape[1] - 1)
    return path[:, torch.stack([first, after], 1).flatten()]
