"""StyleGAN2's synthesis with frozen weights: images and their gradient in the latents alone.

The same arithmetic as `latentpath.generators.synthesis`, arranged for speed:

- activations lie channels last, and one visit of them (`ops.modulated_act_`) does all that lies
  between two convolutions, toRGB included; backward needs nothing but the activations;
- no gradient of any weight is computed, and no weight is prepared twice;
- the styles of all layers come out of one matrix product;
- in half precision only convolutions read rounded numbers; styles, sums and the image stay float32.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from latentpath import ops
from latentpath.core import UnsupportedError
from latentpath.generators.prepared_weights import FusedLayer, PreparedWeights


def synthesize(
    prepared: PreparedWeights,
    latents: Tensor,  # [M, w_dim] for all layers, or [M, num_ws, w_dim]
    noise_mode: str,
    generator: torch.Generator | None,
) -> Tensor:  # [M, R, H, W]
    """Images in float32, differentiable once with respect to the latents."""
    with torch.autocast(latents.device.type, enabled=False):
        noises = _noises(prepared, len(latents), noise_mode, generator)
        image: Tensor = _FusedSynthesis.apply(latents, prepared, noises)
        return image


def _styles(prepared: PreparedWeights, latents: Tensor) -> Tensor:  # [M, columns]
    weight, bias = prepared.affine_weight, prepared.affine_bias
    if latents.ndim == 2:
        return torch.addmm(bias, latents, weight.t())
    parts = zip(
        latents.unbind(dim=1),
        weight.split(prepared.columns),
        bias.split(prepared.columns),
        strict=True,
    )
    return torch.cat([torch.addmm(b, w, a.t()) for w, a, b in parts], dim=1)


def _styles_adjoint(prepared: PreparedWeights, latents: Tensor, grad: Tensor) -> Tensor:
    """The gradient in the latents from that in the styles."""
    if latents.ndim == 2:
        return grad @ prepared.affine_weight
    parts = zip(
        grad.split(prepared.columns, dim=1),
        prepared.affine_weight.split(prepared.columns),
        strict=True,
    )
    return torch.stack([g @ weight for g, weight in parts], dim=1)


def _noises(
    prepared: PreparedWeights, images: int, noise_mode: str, generator: torch.Generator | None
) -> list[Tensor | None]:
    """Noise of every layer, times its strength: [H, W], or [M, H, W] where it is random."""
    if noise_mode == "none":
        return [None] * len(prepared.layers)
    if noise_mode == "const":
        return [layer.noise for layer in prepared.layers]
    noises: list[Tensor | None] = []
    for layer in prepared.layers:
        if layer.strength is None:
            noises.append(None)
            continue
        shape = (images, 1, layer.resolution, layer.resolution)
        drawn = torch.randn(shape, device=layer.bias.device, generator=generator)
        noises.append((drawn * layer.strength)[:, 0])
    return noises


class _FusedSynthesis(torch.autograd.Function):
    """Latents [M, w_dim] or [M, num_ws, w_dim] to images [M, R, H, W]."""

    @staticmethod
    def forward(
        ctx: Any, latents: Tensor, prepared: PreparedWeights, noises: list[Tensor | None]
    ) -> Tensor:
        keep = ctx.needs_input_grad[0]
        ctx.prepared, ctx.noises = prepared, noises
        styles = _styles(prepared, latents)
        style, _ = _style(prepared.layers[0], styles)
        x = prepared.const * style[:, :, None, None]
        x = x.to(prepared.layers[0].weight.dtype).contiguous(memory_format=torch.channels_last)
        image: Tensor | None = None
        kept: list[Tensor | None] = []
        for layer, after, noise in zip(prepared.layers, prepared.following(), noises, strict=True):
            x, y, scale, shown = _layer_forward(layer, after, x, styles, noise)
            inside = None
            if layer.colour is not None:
                shown = shown.add_(layer.colour.bias)
                if layer.colour.clamp is not None:
                    inside = shown.abs() <= layer.colour.clamp if keep else None
                    shown = shown.clamp_(-layer.colour.clamp, layer.colour.clamp)
                image = shown if image is None else upsampled(image, prepared).add_(shown)
            if keep:
                kept += [y, scale, inside]
        ctx.save_for_backward(latents, styles, *kept)
        assert image is not None
        return image

    @staticmethod
    def backward(ctx: Any, grad_image: Tensor) -> tuple[Tensor, None, None]:
        if torch.is_grad_enabled():
            raise UnsupportedError(
                expected="first derivatives of a generator whose weights are frozen",
                got="a graph for second ones (create_graph=True)",
                fix="set generator.synthesis.fused = False",
            )
        # Float16 holds neither very small nor very large gradients; they are linear, so each
        # image's are scaled to a size of one and back.
        size = grad_image.abs().amax(dim=[1, 2, 3], keepdim=True)
        size = torch.where(size > 0, size, torch.ones_like(size))
        with torch.autocast(grad_image.device.type, enabled=False):
            latents, *saved = ctx.saved_tensors
            grad_styles = _backward(ctx.prepared, saved, ctx.noises, grad_image / size)
            grad = _styles_adjoint(ctx.prepared, latents, grad_styles * size[:, :, 0, 0])
        return grad, None, None


def _style(layer: FusedLayer, styles: Tensor) -> tuple[Tensor, Tensor | None]:
    """The layer's style [M, I], and what it was divided by (float16 alone)."""
    style = styles[:, layer.styles]
    if layer.weight.dtype != torch.float16:
        return style, None
    most = style.abs().amax(dim=1, keepdim=True)
    return style / most, most


def _rgb_weight(layer: FusedLayer, styles: Tensor) -> Tensor | None:  # [M, R, C]
    if layer.colour is None:
        return None
    return styles[:, None, layer.colour.styles] * layer.colour.weight


def _layer_forward(
    layer: FusedLayer,
    after: FusedLayer | None,
    x: Tensor,  # [M, I, H, W], modulated
    styles: Tensor,  # [M, columns]
    noise: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The next layer's modulated input, the activations, the demodulation, and toRGB's sums."""
    style, _ = _style(layer, styles)
    scale = (style.square() @ layer.squares.t() + 1e-8).rsqrt()
    y = _convolution(layer, x)
    out, rgb = ops.modulated_act_(
        y,
        scale,
        noise,
        layer.bias,
        layer.activation,
        style=None if after is None else _style(after, styles)[0],
        rgb_weight=_rgb_weight(layer, styles),
    )
    return out if after is None else out.to(after.weight.dtype), y, scale, rgb


def _convolution(layer: FusedLayer, x: Tensor) -> Tensor:
    if layer.fast is not None:
        return ops.conv3x3(x, layer.fast, scatter=layer.taps is not None)
    if layer.taps is None:
        y = F.conv2d(x, layer.weight, padding=1)
        return y.contiguous(memory_format=torch.channels_last)
    y = F.conv_transpose2d(x, layer.weight, stride=2)
    # The filter is convolved: its taps are turned round.
    return ops.fir2d(y.contiguous(memory_format=torch.channels_last), layer.taps[::-1], 1)


def _convolution_adjoint(layer: FusedLayer, grad: Tensor) -> Tensor:
    if layer.fast is not None:
        return ops.conv3x3(grad, layer.fast, adjoint=True, gather=layer.taps is not None)
    if layer.taps is None:
        grad = F.conv_transpose2d(grad, layer.weight, padding=1)
    else:
        grad = F.conv2d(ops.fir2d(grad, layer.taps, 2), layer.weight, stride=2)
    return grad.contiguous(memory_format=torch.channels_last)


def _backward(
    prepared: PreparedWeights,
    saved: Sequence[Tensor],
    noises: list[Tensor | None],
    grad_image: Tensor,
) -> Tensor:  # [M, columns]
    styles, kept = saved[0], saved[1:]
    grad_styles = torch.zeros_like(styles)
    grad: Tensor | None = None  # in a layer's `out`
    following = prepared.following()
    for i in range(len(prepared.layers) - 1, -1, -1):
        layer, after = prepared.layers[i], following[i]
        y, scale, inside = kept[3 * i : 3 * i + 3]
        shown = None
        if layer.colour is not None:
            if grad_image.shape[-1] != layer.resolution:
                grad_image = upsampled_adjoint(grad_image, prepared)
            shown = grad_image if inside is None else grad_image * inside
        grad, grad_style, grad_log_scale, grad_rgb_weight = ops.modulated_act_backward_(
            None if grad is None else grad.to(y.dtype),
            y,
            scale,
            noises[i],
            layer.bias,
            layer.activation,
            style=None if after is None else _style(after, styles)[0],
            rgb_weight=_rgb_weight(layer, styles),
            grad_rgb=shown,
        )
        if after is not None:
            _add_style(grad_styles, after, styles, grad_style)
        if layer.colour is not None:
            grad_colour = (grad_rgb_weight * layer.colour.weight).sum(dim=1)
            grad_styles[:, layer.colour.styles] += grad_colour
        # scale = (style^2 @ squares^T + eps)^(-1/2)
        style, _ = _style(layer, styles)
        grad_style = -style * ((scale.square() * grad_log_scale) @ layer.squares)
        _add_style(grad_styles, layer, styles, grad_style)
        grad = _convolution_adjoint(layer, grad)
    assert grad is not None
    grad_style = (grad.to(styles.dtype) * prepared.const).sum(dim=[2, 3])
    _add_style(grad_styles, prepared.layers[0], styles, grad_style)
    return grad_styles


def _add_style(grad_styles: Tensor, layer: FusedLayer, styles: Tensor, gradient: Tensor) -> None:
    # What float16 divides the style by cancels in the demodulation, so it has no gradient.
    _, most = _style(layer, styles)
    grad_styles[:, layer.styles] += gradient if most is None else gradient / most


def upsampled(image: Tensor, prepared: PreparedWeights) -> Tensor:  # [M, R, H, W] -> [M, R, 2H, 2W]
    """The image upsampled by 2 with the network's filter."""
    matrix = _upsampling_matrix(prepared.upsampling, image.shape[-1], image.device)
    return matrix @ image @ matrix.t()


def upsampled_adjoint(
    grad: Tensor, prepared: PreparedWeights
) -> Tensor:  # [M, R, 2H, 2W] -> [M, R, H, W]
    """The gradient in what `upsampled` took."""
    matrix = _upsampling_matrix(prepared.upsampling, grad.shape[-1] // 2, grad.device)
    return matrix.t() @ grad @ matrix


@functools.lru_cache(maxsize=64)
def _upsampling_matrix(
    taps: tuple[float, ...], side: int, device: torch.device
) -> Tensor:  # [2 * side, side]
    """Zeros between the pixels, then the filter, along one axis."""
    with torch.inference_mode(False):
        matrix = torch.zeros(2 * side + len(taps), side)
        for pixel in range(side):
            matrix[2 * pixel : 2 * pixel + len(taps), pixel] = torch.tensor(taps)
        return matrix[1 : 2 * side + 1].to(device)
