"""Triton kernel of `fir2d`: a block of pixels and channels per program, sixteen taps from cache."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from latentpath.ops.triton.modulated_act_kernel import WARPS, blocks


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
    pixel_blocks,
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """One block of output pixels and channels of one image."""
    image = (tl.program_id(0) // pixel_blocks).to(tl.int64)
    p = tl.program_id(0) % pixel_blocks * BLOCK_P + tl.arange(0, BLOCK_P)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    row, column = p // out_width - pad, p % out_width - pad
    is_out = (p < out_height * out_width)[:, None] & (c < channels)[None, :]
    x += image * height * width * channels
    out += image * out_height * out_width * channels
    total = tl.zeros([BLOCK_P, BLOCK_C], tl.float32)
    for i in tl.static_range(4):
        down = tap0 if i == 0 else (tap1 if i == 1 else (tap2 if i == 2 else tap3))
        along = tl.zeros([BLOCK_P, BLOCK_C], tl.float32)
        for j in tl.static_range(4):
            right = tap0 if j == 0 else (tap1 if j == 1 else (tap2 if j == 2 else tap3))
            inside = (row + i >= 0) & (row + i < height) & (column + j >= 0) & (column + j < width)
            at = ((row + i) * width + column + j)[:, None] * channels + c[None, :]
            value = tl.load(x + at, mask=inside[:, None] & is_out, other=0.0)
            along += right * value.to(tl.float32)
        total += down * along
    at = p[:, None] * channels + c[None, :]
    tl.store(out + at, total.to(out.dtype.element_ty), mask=is_out)


def fir2d(x: Tensor, taps: list[float], pad: int, out: Tensor) -> None:
    """Write the filtered x [M, C, H, W] to out, both channels last."""
    if out.numel() == 0:
        return
    m, c, h, w = x.shape
    pixels = out.shape[2] * out.shape[3]
    block_p, block_c = blocks(pixels, c)
    # Images lie along the first axis of the grid, the only one that may have more than 65,535.
    pixel_blocks = triton.cdiv(pixels, block_p)
    with torch.cuda.device_of(x):
        fir2d_kernel[(m * pixel_blocks, triton.cdiv(c, block_c))](
            x,
            out,
            h,
            w,
            c,
            *out.shape[2:],
            pad,
            *taps,
            pixel_blocks,
            BLOCK_P=block_p,
            BLOCK_C=block_c,
            num_warps=WARPS,
        )
