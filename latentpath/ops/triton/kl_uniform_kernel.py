"""Triton kernel of `kl_uniform`: one program per row.

A row of up to 32,768 logits is read once and stays in registers; the energy and
the gradient come from there. Longer rows are read twice, in blocks: once for
the online softmax, once for the gradient.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

# Longest row that stays in registers (32 warps, 32 values per thread), and the block of longer ones
LONGEST_SINGLE = 32768
BLOCK = 8192


@triton.jit
def kl_uniform_kernel(
    logits,  # [M, N]
    energy,  # [M]
    gradient,  # [M, N]
    row_stride,
    columns,
    log_columns,
    WITH_GRADIENT: tl.constexpr,
    SINGLE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Energy of one row and, if wanted, its gradient."""
    row = tl.program_id(0).to(tl.int64)
    logits += row * row_stride
    gradient += row * columns
    offsets = tl.arange(0, BLOCK)
    inside = offsets < columns
    if SINGLE:
        values = tl.load(logits + offsets, mask=inside, other=-float("inf")).to(tl.float32)
        most = tl.max(values, 0)
        reference = tl.where(most == -float("inf"), 0.0, most)
        exps = tl.exp(values - reference)
        exp_sum = tl.sum(exps, 0)
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
    if WITH_GRADIENT:
        inverse = 1.0 / exp_sum
        uniform = 1.0 / columns
        if SINGLE:
            rows = exps * inverse - uniform
            tl.store(gradient + offsets, rows.to(gradient.dtype.element_ty), mask=inside)
        else:
            for start in range(0, columns, BLOCK):
                block_inside = start + offsets < columns
                block = tl.load(logits + start + offsets, mask=block_inside, other=0.0)
                rows = tl.exp(block.to(tl.float32) - reference) * inverse - uniform
                rows = rows.to(gradient.dtype.element_ty)
                tl.store(gradient + start + offsets, rows, mask=block_inside)


def configuration(columns: int) -> tuple[bool, int, int]:
    """Return (whether a row stays in registers, block length, warps) for N columns."""
    single = columns <= LONGEST_SINGLE
    block = max(128, triton.next_power_of_2(columns)) if single else BLOCK
    warps = min(32, max(4, block // 1024))
    return single, block, warps


def kl_uniform(logits: Tensor, with_gradient: bool) -> tuple[Tensor, Tensor]:
    """Return energies [M] and gradient [M, N] ([0, N] where it is not wanted)."""
    if logits.stride(1) != 1:
        logits = logits.contiguous()
    rows, columns = logits.shape
    energy = logits.new_empty(rows, dtype=torch.float32)
    gradient = logits.new_empty(rows if with_gradient else 0, columns)
    if rows == 0:
        return energy, gradient
    single, block, warps = configuration(columns)
    with torch.cuda.device_of(logits):
        kl_uniform_kernel[(rows,)](
            logits,
            energy,
            gradient,
            logits.stride(0),
            columns,
            math.log(columns),
            WITH_GRADIENT=with_gradient,
            SINGLE=single,
            BLOCK=block,
            num_warps=warps,
        )
    return energy, gradient
