"""Triton kernel of `fir2d`: a square of pixels by a block of channels per program, its sixteen taps
from cache: 8 x 8 pixels look at 11 x 11, where as many in a row would look at four times 67.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from latentpath.ops.triton.modulated_act_kernel import WARPS

LARGEST_SIDE = 8  # of a square of output pixels
CHANNELS = 32  # of a block: with more, sums and addresses take twice the registers


@triton.jit
def fir2d_kernel(
    x,  # [M, H, W, C]
    out,  # [M, H', W', C]
    height,
    width,
    channels,
    out_height,
    out_width,
    pad,
    tap0,
    tap1,
    tap2,
    tap3,
    squares,
    across,
    SIDE: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """One square of output pixels and block of channels of one image."""
    image = (tl.program_id(0) // squares).to(tl.int64)
    square, p = tl.program_id(0) % squares, tl.arange(0, SIDE * SIDE)
    out_row = square // across * SIDE + p // SIDE
    out_column = square % across * SIDE + p % SIDE
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    row, column = out_row - pad, out_column - pad
    is_out = (out_row < out_height) & (out_column < out_width)
    is_out = is_out[:, None] & (c < channels)[None, :]
    x += image * height * width * channels
    out += image * out_height * out_width * channels
    total = tl.zeros([SIDE * SIDE, BLOCK_C], tl.float32)
    for i in tl.static_range(4):
        down = tap0 if i == 0 else (tap1 if i == 1 else (tap2 if i == 2 else tap3))
        along = tl.zeros([SIDE * SIDE, BLOCK_C], tl.float32)
        for j in tl.static_range(4):
            right = tap0 if j == 0 else (tap1 if j == 1 else (tap2 if j == 2 else tap3))
            inside = (row + i >= 0) & (row + i < height) & (column + j >= 0) & (column + j < width)
            at = ((row + i) * width + column + j)[:, None] * channels + c[None, :]
            value = tl.load(x + at, mask=inside[:, None] & is_out, other=0.0)
            along += right * value.to(tl.float32)
        total += down * along
    at = (out_row * out_width + out_column)[:, None] * channels + c[None, :]
    tl.store(out + at, total.to(out.dtype.element_ty), mask=is_out)


def fir2d(x: Tensor, taps: list[float], pad: int, out: Tensor) -> None:
    """Write the filtered x [M, C, H, W] to out, both channels last."""
    if out.numel() == 0:
        return
    m, c, h, w = x.shape
    block_c = min(CHANNELS, max(16, triton.next_power_of_2(c)))
    side = min(LARGEST_SIDE, max(4, triton.next_power_of_2(max(out.shape[2:]))))
    down, across = (triton.cdiv(size, side) for size in out.shape[2:])
    # Images lie along the first axis of the grid, the only one that may have more than 65,535.
    with torch.cuda.device_of(x):
        fir2d_kernel[(m * down * across, triton.cdiv(c, block_c))](
            x,
            out,
            h,
            w,
            c,
            *out.shape[2:],
            pad,
            *taps,
            down * across,
            across,
            SIDE=side,
            BLOCK_C=block_c,
            num_warps=WARPS,
        )
