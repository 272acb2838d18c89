"""Triton kernels of `modulated_act_` and `modulated_act_backward_`.

Activations are [M, P, C], images, pixels and channels, the channels innermost. Forward, a program
has one block of pixels of one image and goes through all its channels, which the sums of toRGB
run over. Backward, a program has one block of channels and one part of the pixels, over which
the gradients of style, scale and toRGB's weights are summed; the parts' sums are added up by
PyTorch in a fixed order, so that results are the same every time. An image's parts are of so many
pixels whatever the batch: its bits do not depend on its company.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK_PIXELS, BLOCK_CHANNELS = 32, 64
BACKWARD_PIXELS = 16  # sums of their own for all places of a block have to fit the registers
# Pixels that one program of the backward kernel sums over: few enough that 48 images of 64 x 64
# give every multiprocessor of a large GPU something to do.
PART = 1024
WARPS = 8


@triton.jit
def _row(weights, row, channels, c, in_c):
    """One row of a [rows, C] array, the block of channels c."""
    return tl.load(weights + row * channels + c, mask=in_c, other=0.0)


@triton.jit
def modulated_act_kernel(
    x,  # [M, P, C]
    scale,  # [M, C]
    noise,  # [P] or [M, P]
    bias,  # [C]
    style,  # [M, C]
    rgb_weight,  # [M, R, C]
    out,  # [M, P, C]
    rgb,  # [M, R, P]
    pixels,
    channels,
    noise_stride,
    slope,
    gain,
    clamp,
    pixel_blocks,
    HAS_SCALE: tl.constexpr,
    HAS_NOISE: tl.constexpr,
    HAS_STYLE: tl.constexpr,
    R: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """One block of pixels of one image."""
    image = (tl.program_id(0) // pixel_blocks).to(tl.int64)
    p = tl.program_id(0) % pixel_blocks * BLOCK_P + tl.arange(0, BLOCK_P)
    in_p = p < pixels
    x += image * pixels * channels
    out += image * pixels * channels
    shift = tl.zeros([BLOCK_P], tl.float32)
    if HAS_NOISE:
        shift = tl.load(noise + image * noise_stride + p, mask=in_p, other=0.0)
    red = tl.zeros([BLOCK_P], tl.float32)
    green = tl.zeros([BLOCK_P], tl.float32)
    blue = tl.zeros([BLOCK_P], tl.float32)
    fourth = tl.zeros([BLOCK_P], tl.float32)
    for start in range(0, channels, BLOCK_C):
        c = start + tl.arange(0, BLOCK_C)
        in_c = c < channels
        inside = in_p[:, None] & in_c[None, :]
        at = p[:, None] * channels + c[None, :]
        z = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
        if HAS_SCALE:
            z *= _row(scale, image, channels, c, in_c)[None, :]
        z += _row(bias, 0, channels, c, in_c)[None, :] + shift[:, None]
        y = tl.where(z > 0, z, z * slope) * gain
        y = tl.where(y > clamp, clamp, tl.where(y < -clamp, -clamp, y))  # NaN passes
        tl.store(x + at, y.to(x.dtype.element_ty), mask=inside)
        if HAS_STYLE:
            modulated = y * _row(style, image, channels, c, in_c)[None, :]
            tl.store(out + at, modulated.to(out.dtype.element_ty), mask=inside)
        if R > 0:
            red += tl.sum(y * _row(rgb_weight, image * R, channels, c, in_c)[None, :], 1)
        if R > 1:
            green += tl.sum(y * _row(rgb_weight, image * R + 1, channels, c, in_c)[None, :], 1)
        if R > 2:
            blue += tl.sum(y * _row(rgb_weight, image * R + 2, channels, c, in_c)[None, :], 1)
        if R > 3:
            fourth += tl.sum(y * _row(rgb_weight, image * R + 3, channels, c, in_c)[None, :], 1)
    rgb += image * R * pixels + p
    if R > 0:
        tl.store(rgb, red, mask=in_p)
    if R > 1:
        tl.store(rgb + pixels, green, mask=in_p)
    if R > 2:
        tl.store(rgb + 2 * pixels, blue, mask=in_p)
    if R > 3:
        tl.store(rgb + 3 * pixels, fourth, mask=in_p)


@triton.jit
def modulated_act_backward_kernel(
    grad,  # [M, P, C]
    y_at,  # [M, P, C]
    scale,  # [M, C]
    noise,  # [P] or [M, P]
    bias,  # [C]
    style,  # [M, C]
    rgb_weight,  # [M, R, C]
    grad_rgb,  # [M, R, P]
    style_sums,  # [M, parts, C]
    scale_sums,  # [M, parts, C], for log(scale)
    rgb_sums,  # [M, R, parts, C]
    pixels,
    channels,
    noise_stride,
    slope,
    gain,
    limit,
    channel_blocks,
    parts,
    HAS_GRAD: tl.constexpr,
    HAS_SCALE: tl.constexpr,
    HAS_NOISE: tl.constexpr,
    HAS_STYLE: tl.constexpr,
    HAS_SLOPE: tl.constexpr,
    R: tl.constexpr,
    PART: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    """One part of the pixels and one block of the channels of one image."""
    program = tl.program_id(0)
    part = program // channel_blocks % parts
    image = (program // (channel_blocks * parts)).to(tl.int64)
    c = program % channel_blocks * BLOCK_C + tl.arange(0, BLOCK_C)
    in_c = c < channels
    grad += image * pixels * channels
    y_at += image * pixels * channels
    grad_rgb += image * R * pixels
    shift_c = _row(bias, 0, channels, c, in_c)
    scale_c = tl.full([BLOCK_C], 1.0, tl.float32)
    if HAS_SCALE:
        scale_c = _row(scale, image, channels, c, in_c)
    style_c = tl.full([BLOCK_C], 1.0, tl.float32)
    if HAS_STYLE:
        style_c = _row(style, image, channels, c, in_c)
    # Sums of their own for every place of the block, which are added up at the end: threads that
    # add to each other's sums would have to wait for each other in every round.
    style_sum = tl.zeros([BLOCK_P, BLOCK_C], tl.float32)
    scale_sum = tl.zeros([BLOCK_P, BLOCK_C], tl.float32)
    red = tl.zeros([BLOCK_P, BLOCK_C], tl.float32)
    green = tl.zeros([BLOCK_P, BLOCK_C], tl.float32)
    blue = tl.zeros([BLOCK_P, BLOCK_C], tl.float32)
    fourth = tl.zeros([BLOCK_P, BLOCK_C], tl.float32)
    for start in range(part * PART, tl.minimum((part + 1) * PART, pixels), BLOCK_P):
        p = start + tl.arange(0, BLOCK_P)
        in_p = p < pixels
        inside = in_p[:, None] & in_c[None, :]
        at = p[:, None] * channels + c[None, :]
        y = tl.load(y_at + at, mask=inside, other=0.0).to(tl.float32)
        grad_y = tl.zeros([BLOCK_P, BLOCK_C], tl.float32)
        if HAS_GRAD:
            grad_out = tl.load(grad + at, mask=inside, other=0.0).to(tl.float32)
            style_sum += grad_out * y
            grad_y = grad_out * style_c[None, :]
        if R > 0:
            slope_p = tl.load(grad_rgb + p, mask=in_p, other=0.0)[:, None]
            red += slope_p * y
            grad_y += slope_p * _row(rgb_weight, image * R, channels, c, in_c)[None, :]
        if R > 1:
            slope_p = tl.load(grad_rgb + pixels + p, mask=in_p, other=0.0)[:, None]
            green += slope_p * y
            grad_y += slope_p * _row(rgb_weight, image * R + 1, channels, c, in_c)[None, :]
        if R > 2:
            slope_p = tl.load(grad_rgb + 2 * pixels + p, mask=in_p, other=0.0)[:, None]
            blue += slope_p * y
            grad_y += slope_p * _row(rgb_weight, image * R + 2, channels, c, in_c)[None, :]
        if R > 3:
            slope_p = tl.load(grad_rgb + 3 * pixels + p, mask=in_p, other=0.0)[:, None]
            fourth += slope_p * y
            grad_y += slope_p * _row(rgb_weight, image * R + 3, channels, c, in_c)[None, :]
        above = y > 0
        grad_z = grad_y * tl.where(above, gain, gain * slope)
        grad_z = tl.where(tl.abs(y) >= limit, 0.0, grad_z)
        # z, inverted from y; with slope 0 it is lost where the gradient is 0.
        z = y / gain
        if HAS_SLOPE:
            z = tl.where(above, z, y / (gain * slope))
        z -= shift_c[None, :]
        if HAS_NOISE:
            z -= tl.load(noise + image * noise_stride + p, mask=in_p, other=0.0)[:, None]
        # Places outside have a gradient of 0.
        scale_sum += grad_z * z
        grad_x = grad_z * scale_c[None, :]
        tl.store(grad + at, grad_x.to(grad.dtype.element_ty), mask=inside)
    row = (image * parts + part) * channels + c
    tl.store(style_sums + row, tl.sum(style_sum, 0), mask=in_c)
    tl.store(scale_sums + row, tl.sum(scale_sum, 0), mask=in_c)
    rgb_sums += (image * R * parts + part) * channels + c
    colour = parts * channels
    if R > 0:
        tl.store(rgb_sums, tl.sum(red, 0), mask=in_c)
    if R > 1:
        tl.store(rgb_sums + colour, tl.sum(green, 0), mask=in_c)
    if R > 2:
        tl.store(rgb_sums + 2 * colour, tl.sum(blue, 0), mask=in_c)
    if R > 3:
        tl.store(rgb_sums + 3 * colour, tl.sum(fourth, 0), mask=in_c)


def blocks(pixels: int, channels: int, most_pixels: int = BLOCK_PIXELS) -> tuple[int, int]:
    """Pixels and channels of a block."""
    return (
        min(most_pixels, max(16, triton.next_power_of_2(pixels))),
        min(BLOCK_CHANNELS, max(16, triton.next_power_of_2(channels))),
    )


def modulated_act(
    x: Tensor,  # [M, C, H, W], channels last
    numbers: Sequence[Tensor | None],  # scale, noise, bias, style, rgb_weight
    activation: Sequence[float],  # slope, gain, clamp
    out: Tensor,
    rgb: Tensor,
) -> None:
    """Write the activations over x, and out and rgb."""
    m, c, h, w = x.shape
    if x.numel() == 0:
        rgb.zero_()
        return
    block_p, block_c = blocks(h * w, c)
    # Images lie along the first axis of the grid, the only one that may have more than 65,535.
    pixel_blocks = triton.cdiv(h * w, block_p)
    with torch.cuda.device_of(x):
        modulated_act_kernel[(m * pixel_blocks,)](
            x,
            *_pointers(numbers),
            out,
            rgb,
            h * w,
            c,
            _noise_stride(numbers),
            *activation,
            pixel_blocks,
            **_presence(numbers),
            R=rgb.shape[1],
            BLOCK_P=block_p,
            BLOCK_C=block_c,
            num_warps=WARPS,
        )


def modulated_act_backward(
    grad: Tensor,  # [M, C, H, W], channels last
    has_grad: bool,
    y: Tensor,  # [M, C, H, W], channels last
    numbers: Sequence[Tensor | None],  # scale, noise, bias, style, rgb_weight
    grad_rgb: Tensor | None,
    activation: Sequence[float],  # slope, gain, clamp as y holds it
) -> tuple[Tensor, Tensor, Tensor]:
    """Write the gradient over `grad`; return those in style, log(scale) and rgb_weight."""
    m, c, h, w = y.shape
    _, _, bias, _, rgb_weight = numbers
    assert bias is not None
    colours = 0 if rgb_weight is None else rgb_weight.shape[1]
    block_p, block_c = blocks(h * w, c, BACKWARD_PIXELS)
    parts, channel_blocks = max(1, triton.cdiv(h * w, PART)), triton.cdiv(c, block_c)
    make = bias.new_empty if y.numel() else bias.new_zeros
    sums = make(m, parts, c), make(m, parts, c), make(m, colours, parts, c)
    if y.numel():
        with torch.cuda.device_of(y):
            modulated_act_backward_kernel[(m * parts * channel_blocks,)](
                grad,
                y,
                *_pointers(numbers),
                bias if grad_rgb is None else grad_rgb,
                *sums,
                h * w,
                c,
                _noise_stride(numbers),
                *activation,
                channel_blocks,
                parts,
                HAS_GRAD=has_grad,
                **_presence(numbers),
                HAS_SLOPE=activation[0] > 0,
                R=colours,
                PART=PART,
                BLOCK_P=block_p,
                BLOCK_C=block_c,
                num_warps=WARPS,
            )
    style_sums, scale_sums, rgb_sums = (
        part.squeeze(-2) if parts == 1 else part.sum(dim=-2) for part in sums
    )
    return style_sums, scale_sums, rgb_sums


def _pointers(numbers: Sequence[Tensor | None]) -> list[Tensor]:
    """Arguments of a kernel: something valid, if never read, for what is left out."""
    bias = numbers[2]
    assert bias is not None
    return [bias if tensor is None else tensor for tensor in numbers]


def _presence(numbers: Sequence[Tensor | None]) -> dict[str, bool]:
    scale, noise, _, style, _ = numbers
    return {
        "HAS_SCALE": scale is not None,
        "HAS_NOISE": noise is not None,
        "HAS_STYLE": style is not None,
    }


def _noise_stride(numbers: Sequence[Tensor | None]) -> int:
    noise = numbers[1]
    return noise[0].numel() if noise is not None and noise.ndim == 3 else 0
