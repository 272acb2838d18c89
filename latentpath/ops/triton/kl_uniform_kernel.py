"""Triton kernels of `kl_uniform`: one program per row forward, one per block of a row backward.

Forward, a row of up to 32,768 logits is read once and stays in registers; longer rows are read in
blocks with an online softmax. What the gradient needs of a row, its largest logit and the sum of
its exponentials, is two numbers: the gradient is computed from them and from the logits when its
factor is known, so that nothing of the logits' size is written and read again in between.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from latentpath.ops.gpu_target import MOST_WARPS, gpu_target

# Longest row that stays in registers (32 warps, 32 values per thread), and the block of longer ones
LONGEST_SINGLE = 32768
BLOCK = 8192
# Logits of a program of the gradient.
GRADIENT_BLOCK = 4096


@triton.jit
def kl_uniform_kernel(
    logits,  # [M, N]
    energy,  # [M]
    sums,  # [M, 2], the largest logit and the sum of exponentials against it
    row_stride,
    columns,
    log_columns,
    SINGLE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Energy of one row, and what its gradient needs."""
    row = tl.program_id(0).to(tl.int64)
    logits += row * row_stride
    offsets = tl.arange(0, BLOCK)
    inside = offsets < columns
    if SINGLE:
        values = tl.load(logits + offsets, mask=inside, other=-float("inf")).to(tl.float32)
        most = tl.max(values, 0)
        reference = tl.where(most == -float("inf"), 0.0, most)
        exp_sum = tl.sum(tl.exp(values - reference), 0)
        total = tl.sum(tl.where(inside, values - reference, 0.0), 0)
    else:
        # Per lane: the largest value so far, and sums against it.
        lane_most = tl.full([BLOCK], -float("inf"), tl.float32)
        lane_sum = tl.zeros([BLOCK], tl.float32)
        lane_total = tl.zeros([BLOCK], tl.float32)
        for start in range(0, columns, BLOCK):
            block_inside = start + offsets < columns
            block = tl.load(logits + start + offsets, mask=block_inside, other=-float("inf"))
            block = block.to(tl.float32)
            now = tl.maximum(lane_most, block)
            lane_reference = tl.where(now == -float("inf"), 0.0, now)
            lane_sum *= tl.exp(lane_most - lane_reference)
            lane_sum += tl.exp(block - lane_reference)
            lane_total += tl.where(block_inside, block, 0.0)
            lane_most = now
        most = tl.max(lane_most, 0)
        reference = tl.where(most == -float("inf"), 0.0, most)
        exp_sum = tl.sum(lane_sum * tl.exp(lane_most - reference), 0)
        total = tl.sum(lane_total, 0) - reference * columns
    tl.store(energy + row, tl.log(exp_sum) - total / columns - log_columns)
    tl.store(sums + 2 * row, reference)
    tl.store(sums + 2 * row + 1, exp_sum)


@triton.jit
def kl_uniform_gradient_kernel(
    logits,  # [M, N]
    sums,  # [M, 2]
    factor,  # [M]
    gradient,  # [M, N]
    row_stride,
    columns,
    blocks,
    BLOCK: tl.constexpr,
):
    """(softmax - 1 / N) * factor of one block of one row."""
    row = (tl.program_id(0) // blocks).to(tl.int64)
    offsets = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    inside = offsets < columns
    row_at = logits + row * row_stride
    values = tl.load(row_at + offsets, mask=inside, other=-float("inf")).to(tl.float32)
    reference, exp_sum = tl.load(sums + 2 * row), tl.load(sums + 2 * row + 1)
    slope = tl.exp(values - reference) * (1.0 / exp_sum) - 1.0 / columns
    # Rounded before the factor as well, as rows are that come out of the forward pass.
    slope = slope.to(gradient.dtype.element_ty) * tl.load(factor + row)
    at = gradient + row * columns + offsets
    tl.store(at, slope.to(gradient.dtype.element_ty), mask=inside)


def configuration(columns: int, target: str) -> tuple[bool, int, int]:
    """Return (whether a row stays in registers, block length, warps) for N columns on a GPU."""
    single = columns <= LONGEST_SINGLE
    block = max(128, triton.next_power_of_2(columns)) if single else BLOCK
    warps = min(MOST_WARPS[target.split(":")[0]], max(4, block // 1024))
    return single, block, warps


def kl_uniform(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return energies [M] and what the gradient needs [M, 2]; neighbours in a row are so in memory.

    Args:
        logits: [M, N] with a stride of 1 along N.
    """
    rows, columns = logits.shape
    energy = logits.new_empty(rows, dtype=torch.float32)
    sums = logits.new_empty(rows, 2, dtype=torch.float32)
    if rows == 0:
        return energy, sums
    single, block, warps = configuration(columns, gpu_target(logits))
    with torch.cuda.device_of(logits):
        kl_uniform_kernel[(rows,)](
            logits,
            energy,
            sums,
            logits.stride(0),
            columns,
            math.log(columns),
            SINGLE=single,
            BLOCK=block,
            num_warps=warps,
        )
    return energy, sums


def kl_uniform_gradient(logits: Tensor, sums: Tensor, factor: Tensor) -> Tensor:
    """Return the gradient of `(energy * factor).sum()` in the logits, [M, N].

    Args:
        logits: as `kl_uniform` had them.
        sums: [M, 2] from there.
        factor: [M] float32.
    """
    rows, columns = logits.shape
    gradient = torch.empty_like(logits, memory_format=torch.contiguous_format)
    if rows == 0:
        return gradient
    block = min(GRADIENT_BLOCK, max(128, triton.next_power_of_2(columns)))
    blocks = triton.cdiv(columns, block)
    with torch.cuda.device_of(logits):
        kl_uniform_gradient_kernel[(rows * blocks,)](
            logits,
            sums,
            factor.contiguous(),
            gradient,
            logits.stride(0),
            columns,
            blocks,
            BLOCK=block,
            num_warps=max(1, block // 1024),
        )
    return gradient
