"""Triton kernel of `bank_lse`: attention whose keys and values are the same tile.

A program owns a tile of queries and runs over the bank (or, where there are few
queries, over one part of it). Each bank tile is loaded once; it enters the
first product transposed, as keys, and the second one as it is, as values. The
softmax is taken online in base 2, sums and products accumulate in float32.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from latentpath.core import uses_tf32
from latentpath.ops.gpu_target import gpu_target, multiprocessors, rows_of_a_part

# Programs of four warps that a multiprocessor runs at a time, at least; of eight, whose sums fill
# the registers, it runs one.
_PROGRAMS_OF_FOUR_WARPS = 2
# Triton's versions whose compilers were seen to hold 64 rows of the bank beside 512-wide sums in
# the registers; that of 3.9 spills 48 bytes a thread. Half as many waits a row, and whole warp
# groups.
_HOLDS_64 = ("3.6.", "3.7.")


@triton.jit
def bank_lse_kernel(
    query,  # [M, D]
    bank,  # [N, D]
    bias,  # [N]
    lse,  # [splits, M]
    mean,  # [splits, M, D]
    rows,
    bank_rows,
    width,
    part,
    scale_log2,
    HAS_BIAS: tl.constexpr,
    WHOLE: tl.constexpr,  # D = BLOCK_D and N >= BLOCK_N: loads from the bank need no mask
    PRECISION: tl.constexpr,
    FACTOR: tl.constexpr,  # dtype that factors are converted to right before a product
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_D: tl.constexpr,
    KEY_CHUNK: tl.constexpr,  # columns per step of the first product; BLOCK_D: keys = values tile
    STAGES: tl.constexpr,
):
    """Scores, online softmax and mean of one tile of queries over one part of the bank."""
    LOG2_E: tl.constexpr = 1.4426950408889634
    stride = BLOCK_D if WHOLE else width
    first = tl.program_id(0).to(tl.int64) * BLOCK_M
    split = tl.program_id(1)
    m, n = tl.arange(0, BLOCK_M), tl.arange(0, BLOCK_N)
    d, c = tl.arange(0, BLOCK_D), tl.arange(0, KEY_CHUNK)
    is_query = first + m < rows
    query += first * stride
    if KEY_CHUNK == BLOCK_D:
        queries = tl.load(
            query + (m[:, None] * stride + d[None, :]),
            mask=is_query[:, None] & (d < stride)[None, :],
            other=0.0,
        ).to(bank.dtype.element_ty)

    most = tl.full([BLOCK_M], -float("inf"), tl.float32)
    weight_sum = tl.zeros([BLOCK_M], tl.float32)
    total = tl.zeros([BLOCK_M, BLOCK_D], tl.float32)
    begin = split * part
    end = tl.minimum(begin + part, bank_rows)
    for start in tl.range(begin, end, BLOCK_N, num_stages=STAGES):
        # The last tile moves back until it ends with its part; the rows that it then shares with
        # the tile before are left out of the scores. So no load of the main loop needs a mask,
        # whose registers would be spilled.
        offsets = n[:, None] * stride + d[None, :]
        if WHOLE:
            tile_start = tl.minimum(start, end - BLOCK_N)
            is_new = tile_start + n >= start
            tile_at = bank + tile_start.to(tl.int64) * stride
            tile = tl.load(tile_at + offsets)
        else:
            tile_start = start
            is_new = tile_start + n < end
            tile_at = bank + tile_start.to(tl.int64) * stride
            inside = is_new[:, None] & (d < width)[None, :]
            tile = tl.load(tile_at + offsets, mask=inside, other=0.0)
        if KEY_CHUNK == BLOCK_D:
            scores = tl.dot(
                queries.to(FACTOR), tl.trans(tile.to(FACTOR)), input_precision=PRECISION
            )
        else:
            scores = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
            for k in range(0, BLOCK_D, KEY_CHUNK):
                in_width = (k + c < stride)[None, :]
                some_queries = tl.load(
                    query + (m[:, None] * stride + (k + c)[None, :]),
                    mask=is_query[:, None] & in_width,
                    other=0.0,
                ).to(bank.dtype.element_ty)
                keys = tl.load(
                    tile_at + (n[:, None] * stride + (k + c)[None, :]),
                    mask=is_new[:, None] & in_width,
                    other=0.0,
                )
                scores = tl.dot(
                    some_queries.to(FACTOR),
                    tl.trans(keys.to(FACTOR)),
                    scores,
                    input_precision=PRECISION,
                )
        scores *= scale_log2
        if HAS_BIAS:
            if WHOLE:
                offset = tl.load(bias + tile_start + n)
            else:
                offset = tl.load(bias + tile_start + n, mask=is_new, other=0.0)
            scores += offset[None, :] * LOG2_E
        scores = tl.where(is_new[None, :], scores, -float("inf"))
        now = tl.maximum(most, tl.max(scores, 1))
        # Where every score so far is -inf, subtract 0: the weights are 0 then, not NaN. Where one
        # is +inf, likewise: its weight is +inf, and so is the sum.
        reference = tl.where(tl.abs(now) == float("inf"), 0.0, now)
        weights = tl.exp2(scores - reference[:, None])
        rescale = tl.exp2(most - reference)
        weight_sum = weight_sum * rescale + tl.sum(weights, 1)
        total = total * rescale[:, None]
        rounded = weights.to(tile.dtype).to(FACTOR)
        total = tl.dot(rounded, tile.to(FACTOR), total, input_precision=PRECISION)
        most = now

    row = split.to(tl.int64) * rows + first + m
    tl.store(lse + row, (most + tl.log2(weight_sum)) / LOG2_E, mask=is_query)
    tl.store(
        mean + row[:, None] * stride + d[None, :],
        total / weight_sum[:, None],
        mask=is_query[:, None] & (d < stride)[None, :],
    )


class Tiles(NamedTuple):
    """Tile sizes and launch parameters of `bank_lse_kernel`."""

    block_m: int
    block_n: int
    block_d: int
    key_chunk: int
    stages: int
    warps: int
    precision: str

    def constants(
        self, width: int, bank_rows: int, has_bias: bool, factor: tl.dtype
    ) -> dict[str, object]:
        """Return the kernel's compile-time arguments for these shapes and dtype of factors."""
        return {
            "HAS_BIAS": has_bias,
            "WHOLE": width == self.block_d and bank_rows >= self.block_n,
            "PRECISION": self.precision,
            "FACTOR": factor,
            "BLOCK_M": self.block_m,
            "BLOCK_N": self.block_n,
            "BLOCK_D": self.block_d,
            "KEY_CHUNK": self.key_chunk,
            "STAGES": self.stages,
        }


def configuration(width: int, dtype: torch.dtype, target: str, tf32: bool = False) -> Tiles:
    """Return the tiles for a latent width and bank dtype on "cuda:<capability>" or "hip".

    `tf32` says that float32 products may be taken in TF32.

    The sums, `block_m x block_d` in float32, are what fills the registers: at D = 512 128 of the
    255 that a thread has, so `block_n` is small. tests/ops compiles these for all targets and
    reads the compilers' reports: nothing may spill.
    """
    block_d = max(16, triton.next_power_of_2(width))
    wide = block_d > 128
    if dtype == torch.float32:
        # Three TF32 products make up one of nearly float32 accuracy. Whole tiles of them do not
        # fit the registers: keys are read again in chunks, from the cache.
        exact = "tf32" if tf32 else "tf32x3"
        precision = "ieee" if target == "hip" else exact
        chunk, warps = (16, 8) if wide else (min(32, block_d), 4)
        return Tiles(32, 16, block_d, chunk, 1, warps, precision)
    if target == "hip":
        return Tiles(64, 16 if wide else 32, block_d, block_d, 1, 8 if wide else 4, "ieee")
    if target == "cuda:90" and width == 512 and triton.__version__.startswith(_HOLDS_64):
        return Tiles(64, 64, block_d, block_d, 2, 8, "ieee")
    stages = 3 if target == "cuda:90" else 2
    return Tiles(64, 32, block_d, block_d, stages, 8 if wide else 4, "ieee")


def _factor(bank: Tensor) -> tl.dtype:
    """The bank's dtype; float32 in the interpreter, which multiplies bfloat16 bits as integers."""
    if bank.device.type == "cpu":
        return tl.float32
    return {torch.float32: tl.float32, torch.bfloat16: tl.bfloat16, torch.float16: tl.float16}[
        bank.dtype
    ]


def bank_lse(
    query: Tensor,  # [M, D]
    bank: Tensor,  # [N, D]
    bias: Tensor | None,  # [N]
    scale: float,
) -> tuple[Tensor, Tensor]:  # [M], [M, D]
    """Return `(lse, mean)`; D is at most 512 (`TRITON_WIDEST` in ops/bank_lse.py)."""
    # The kernel would round queries as well, at the price of registers that it does not have.
    query, bank = query.to(bank.dtype).contiguous(), bank.contiguous()
    bias = None if bias is None else bias.contiguous()
    (rows, width), bank_rows = query.shape, bank.shape[0]
    if rows == 0:
        return query.new_empty(0, dtype=torch.float32), query.new_empty(0, width).float()
    tiles = configuration(width, bank.dtype, gpu_target(query), uses_tf32()[1])
    query_tiles = triton.cdiv(rows, tiles.block_m)
    at_a_time = _PROGRAMS_OF_FOUR_WARPS if tiles.warps == 4 else 1
    wave = at_a_time * multiprocessors(query)
    part = rows_of_a_part(bank_rows, query_tiles, wave, tiles.block_n)
    splits = triton.cdiv(bank_rows, part)
    lse = query.new_empty(splits, rows, dtype=torch.float32)
    mean = query.new_empty(splits, rows, width, dtype=torch.float32)
    with torch.cuda.device_of(query):
        bank_lse_kernel[(query_tiles, splits)](
            query,
            bank,
            bias,
            lse,
            mean,
            rows,
            bank_rows,
            width,
            part,
            scale * math.log2(math.e),
            **tiles.constants(width, bank_rows, bias is not None, _factor(bank)),
            num_warps=tiles.warps,
        )
    return merge(lse, mean)


def merge(
    lse: Tensor,  # [splits, M]
    mean: Tensor,  # [splits, M, D]
) -> tuple[Tensor, Tensor]:  # [M], [M, D]
    """Combine the results over disjoint parts of a bank."""
    if lse.shape[0] == 1:
        return lse[0], mean[0]
    weights = torch.softmax(lse, 0)
    # A part whose scores are all -inf has no mean; it must not spoil the others' with 0 * NaN.
    weighted = torch.where(weights[..., None] == 0, 0.0, weights[..., None] * mean)
    return torch.logsumexp(lse, 0), weighted.sum(0)
