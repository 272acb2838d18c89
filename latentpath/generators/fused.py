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
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentpath import ops
from latentpath.errors import UnsupportedError
from latentpath.ops.modulated_act import MOST_RGB

if TYPE_CHECKING:
    from latentpath.generators.layers import FullyConnectedLayer
    from latentpath.generators.synthesis import SynthesisLayer, SynthesisNetwork, ToRGBLayer

_SLOPES = {"lrelu": (0.2, math.sqrt(2.0)), "relu": (0.0, math.sqrt(2.0)), "linear": (1.0, 1.0)}


@dataclass(frozen=True)
class FusedColour:
    """toRGB of one block."""

    styles: slice
    """Its columns among the styles of all layers."""
    weight: Tensor
    """[R, C], float32."""
    bias: Tensor
    """[R, 1, 1]"""
    clamp: float | None
    """Largest size of its result."""


@dataclass(frozen=True)
class FusedLayer:
    """One modulated 3x3 convolution and what follows it."""

    styles: slice
    """Its columns among the styles of all layers."""
    weight: Tensor
    """[O, I, 3, 3], or [I, O, 3, 3] where it upsamples; channels last, in the layer's dtype."""
    squares: Tensor
    """[O, I]: squared weights summed over the taps, float32."""
    taps: tuple[float, ...] | None
    """The upsampling filter along one axis, None where the layer does not upsample."""
    noise: Tensor | None
    """[H, W]: the constant noise times its strength."""
    strength: Tensor | None
    """[]: strength of the noise."""
    resolution: int
    """Height and width of the result."""
    bias: Tensor
    """[O]"""
    activation: ops.Activation
    """Slope, gain and clamp."""
    colour: FusedColour | None
    """toRGB, on the last layer of a block that has it."""


@dataclass(frozen=True)
class FusedPlan:
    """Everything about a network that does not depend on the latents."""

    const: Tensor
    """[C, 4, 4]"""
    layers: tuple[FusedLayer, ...]
    """In their order."""
    affine_weight: Tensor
    """[columns, w_dim]: the styles of all layers from one latent, gains included."""
    affine_bias: Tensor
    """[columns]"""
    columns: tuple[int, ...]
    """How many of these columns each latent of `ws` makes, in order."""
    upsampling: tuple[float, ...]
    """The image's upsampling filter along one axis."""

    def following(self) -> tuple[FusedLayer | None, ...]:
        """For every layer the next one."""
        return (*self.layers[1:], None)


def fits(network: SynthesisNetwork) -> bool:
    """Whether the network is of the kind that a plan describes: StyleGAN2 as published."""
    first = network.b4.conv1
    if network.b4.architecture == "resnet" or network.img_channels > MOST_RGB:
        return False
    if first.weight.dtype != torch.float32 or first.weight.shape[-1] != 3:
        return False
    if first.activation not in _SLOPES:
        return False
    return (
        len(network.block_resolutions) == 1
        or _taps(network.blocks()[-1].resample_filter) is not None
    )


def is_frozen(network: SynthesisNetwork) -> bool:
    """Whether no gradient of a weight can be wanted."""
    return not torch.is_grad_enabled() or not any(p.requires_grad for p in network.parameters())


_PLANS: WeakKeyDictionary[nn.Module, dict[Any, tuple[Any, FusedPlan]]] = WeakKeyDictionary()


def plan_of(network: SynthesisNetwork, dtypes: tuple[torch.dtype, ...]) -> FusedPlan:
    """The plan of a network whose blocks run in `dtypes`, made anew after its weights changed."""
    tensors = [*network.parameters(), *network.buffers()]
    if any(tensor.is_inference() for tensor in tensors):  # they do not count their changes
        return _make_plan(network, dtypes)
    state = tuple((tensor.data_ptr(), tensor._version) for tensor in tensors)
    plans = _PLANS.setdefault(network, {})
    if dtypes not in plans or plans[dtypes][0] != state:
        with torch.inference_mode(False):
            plans[dtypes] = state, _make_plan(network, dtypes)
    return plans[dtypes][1]


def forget_plans(network: nn.Module) -> None:
    """Drop what was prepared of a network."""
    _PLANS.pop(network, None)


@torch.no_grad()
def _make_plan(network: SynthesisNetwork, dtypes: tuple[torch.dtype, ...]) -> FusedPlan:
    affine: list[tuple[Tensor, Tensor]] = []
    columns = [0] * network.num_ws
    layers: list[FusedLayer] = []

    def take(latent: int, fc: FullyConnectedLayer, gain: float) -> slice:
        affine.append((fc.weight * (fc.weight_gain * gain), fc.bias * (fc.bias_gain * gain)))
        columns[latent] += len(fc.bias)
        return slice(sum(columns) - len(fc.bias), sum(columns))

    latent = 0
    for block, dtype in zip(network.blocks(), dtypes, strict=True):
        for convolution in block.convolutions():
            styles = take(latent, convolution.affine, 1.0)
            colour = None
            if convolution is block.conv1 and block.num_torgb:
                # toRGB shares its latent with the next block's first convolution.
                of_colour = take(latent + 1, block.torgb.affine, block.torgb.weight_gain)
                colour = _colour(block.torgb, of_colour)
            layers.append(_layer(convolution, styles, dtype, colour))
            latent += 1
    return FusedPlan(
        network.b4.const.clone(),
        tuple(layers),
        torch.cat([weight for weight, _ in affine]),
        torch.cat([bias for _, bias in affine]),
        tuple(columns),
        _taps(network.blocks()[-1].resample_filter) or (),
    )


def _layer(
    layer: SynthesisLayer, styles: slice, dtype: torch.dtype, colour: FusedColour | None
) -> FusedLayer:
    weight, up = layer.weight.detach(), layer.up == 2
    if dtype == torch.float16:  # as in the plain form: sums stay inside float16's range
        weight = weight / weight.abs().amax(dim=[1, 2, 3], keepdim=True)
    squares = weight.square().sum(dim=[2, 3])
    weight = weight.transpose(0, 1) if up else weight
    slope, gain = _SLOPES[layer.activation]
    clamp = math.inf if layer.conv_clamp is None else float(layer.conv_clamp)
    strength = layer.noise_strength.detach().clone() if layer.use_noise else None
    return FusedLayer(
        styles,
        weight.to(dtype, copy=True).contiguous(memory_format=torch.channels_last),
        squares,
        _taps(layer.resample_filter) if up else None,
        None if strength is None else layer.noise_const * strength,
        strength,
        layer.resolution,
        layer.bias.detach().clone(),
        ops.Activation(slope, gain, clamp),
        colour,
    )


def _colour(torgb: ToRGBLayer, styles: slice) -> FusedColour:
    bias = torgb.bias.detach().clone()[:, None, None]
    return FusedColour(styles, torgb.weight.detach()[:, :, 0, 0].clone(), bias, torgb.conv_clamp)


def _taps(kernel: Tensor) -> tuple[float, ...] | None:
    """One axis of a separable filter [4, 4] of unit sum, with the gain of upsampling by 2."""
    if kernel.shape != (4, 4):
        return None
    kernel = kernel.detach().double().cpu()
    rows, columns = kernel.sum(dim=1), kernel.sum(dim=0)
    if not torch.allclose(rows, columns, rtol=0, atol=1e-7):
        return None
    if not torch.allclose(rows.outer(columns), kernel, rtol=0, atol=1e-7):
        return None
    return tuple((2.0 * rows).tolist())


# ---- images and gradients ------------------------------------------------------------------------


def synthesize(
    plan: FusedPlan,
    latents: Tensor,  # [M, w_dim] for all layers, or [M, num_ws, w_dim]
    noise_mode: str,
    generator: torch.Generator | None,
) -> Tensor:  # [M, R, H, W]
    """Images in float32, differentiable once with respect to the latents."""
    with torch.autocast(latents.device.type, enabled=False):
        noises = _noises(plan, len(latents), noise_mode, generator)
        image: Tensor = _FusedSynthesis.apply(latents, plan, noises)
        return image


def _styles(plan: FusedPlan, latents: Tensor) -> Tensor:  # [M, columns]
    weight, bias = plan.affine_weight, plan.affine_bias
    if latents.ndim == 2:
        return torch.addmm(bias, latents, weight.t())
    parts = zip(
        latents.unbind(dim=1), weight.split(plan.columns), bias.split(plan.columns), strict=True
    )
    return torch.cat([torch.addmm(b, w, a.t()) for w, a, b in parts], dim=1)


def _styles_adjoint(plan: FusedPlan, latents: Tensor, grad: Tensor) -> Tensor:
    """The gradient in the latents from that in the styles."""
    if latents.ndim == 2:
        return grad @ plan.affine_weight
    parts = zip(
        grad.split(plan.columns, dim=1), plan.affine_weight.split(plan.columns), strict=True
    )
    return torch.stack([g @ weight for g, weight in parts], dim=1)


def _noises(
    plan: FusedPlan, images: int, noise_mode: str, generator: torch.Generator | None
) -> list[Tensor | None]:
    """Noise of every layer, times its strength: [H, W], or [M, H, W] where it is random."""
    if noise_mode == "none":
        return [None] * len(plan.layers)
    if noise_mode == "const":
        return [layer.noise for layer in plan.layers]
    noises: list[Tensor | None] = []
    for layer in plan.layers:
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
    def forward(ctx: Any, latents: Tensor, plan: FusedPlan, noises: list[Tensor | None]) -> Tensor:
        keep = ctx.needs_input_grad[0]
        ctx.plan, ctx.noises = plan, noises
        styles = _styles(plan, latents)
        style, _ = _style(plan.layers[0], styles)
        x = plan.const * style[:, :, None, None]
        x = x.to(plan.layers[0].weight.dtype).contiguous(memory_format=torch.channels_last)
        image: Tensor | None = None
        kept: list[Tensor | None] = []
        for layer, after, noise in zip(plan.layers, plan.following(), noises, strict=True):
            x, y, scale, shown = _layer_forward(layer, after, x, styles, noise)
            inside = None
            if layer.colour is not None:
                shown = shown.add_(layer.colour.bias)
                if layer.colour.clamp is not None:
                    inside = shown.abs() <= layer.colour.clamp if keep else None
                    shown = shown.clamp_(-layer.colour.clamp, layer.colour.clamp)
                image = shown if image is None else upsampled(image, plan).add_(shown)
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
            grad_styles = _backward(ctx.plan, saved, ctx.noises, grad_image / size)
            grad = _styles_adjoint(ctx.plan, latents, grad_styles * size[:, :, 0, 0])
        return grad, None, None


def _style(layer: FusedLayer, styles: Tensor) -> tuple[Tensor, Tensor | None]:
    """The layer's style [M, I], and what it was divided by (float16 alone)."""
    style = styles[:, layer.styles]
    if layer.weight.dtype != torch.float16:
        return style, None
    most = style.abs().amax(dim=1, keepdim=True)
    return style / most, most


def _modulated_const(const: Tensor, style: Tensor, dtype: torch.dtype) -> Tensor:
    x = const * style[:, :, None, None]
    return x.to(dtype).contiguous(memory_format=torch.channels_last)


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
    if layer.taps is None:
        y = F.conv2d(x, layer.weight, padding=1)
        return y.contiguous(memory_format=torch.channels_last)
    y = F.conv_transpose2d(x, layer.weight, stride=2)
    # The filter is convolved: its taps are turned round.
    return ops.fir2d(y.contiguous(memory_format=torch.channels_last), layer.taps[::-1], 1)


def _convolution_adjoint(layer: FusedLayer, grad: Tensor) -> Tensor:
    if layer.taps is None:
        grad = F.conv_transpose2d(grad, layer.weight, padding=1)
    else:
        grad = F.conv2d(ops.fir2d(grad, layer.taps, 2), layer.weight, stride=2)
    return grad.contiguous(memory_format=torch.channels_last)


def _backward(
    plan: FusedPlan, saved: Sequence[Tensor], noises: list[Tensor | None], grad_image: Tensor
) -> Tensor:  # [M, columns]
    styles, kept = saved[0], saved[1:]
    grad_styles = torch.zeros_like(styles)
    grad: Tensor | None = None  # in a layer's `out`
    following = plan.following()
    for i in range(len(plan.layers) - 1, -1, -1):
        layer, after = plan.layers[i], following[i]
        y, scale, inside = kept[3 * i : 3 * i + 3]
        shown = None
        if layer.colour is not None:
            if grad_image.shape[-1] != layer.resolution:
                grad_image = upsampled_adjoint(grad_image, plan)
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
    grad_style = (grad.to(styles.dtype) * plan.const).sum(dim=[2, 3])
    _add_style(grad_styles, plan.layers[0], styles, grad_style)
    return grad_styles


def _add_style(grad_styles: Tensor, layer: FusedLayer, styles: Tensor, gradient: Tensor) -> None:
    # What float16 divides the style by cancels in the demodulation, so it has no gradient.
    _, most = _style(layer, styles)
    grad_styles[:, layer.styles] += gradient if most is None else gradient / most


def upsampled(image: Tensor, plan: FusedPlan) -> Tensor:  # [M, R, H, W] -> [M, R, 2H, 2W]
    """The image upsampled by 2 with the plan's filter."""
    matrix = _upsampling_matrix(plan.upsampling, image.shape[-1], image.device)
    return matrix @ image @ matrix.t()


def upsampled_adjoint(grad: Tensor, plan: FusedPlan) -> Tensor:  # [M, R, 2H, 2W] -> [M, R, H, W]
    """The gradient in what `upsampled` took."""
    matrix = _upsampling_matrix(plan.upsampling, grad.shape[-1] // 2, grad.device)
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
