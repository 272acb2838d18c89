"""What synthesis with frozen weights prepares once: see `latentpath.generators.fused_synthesis`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from latentpath import ops
from latentpath.generators.layers import separable_taps
from latentpath.ops import MOST_RGB

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
    fast: ops.Conv3x3Weights | None = None
    """The convolution as `ops.conv3x3` takes it, where that is the faster one. Where the layer
    upsamples it holds the filter too: see `upsampling_phases`."""


@dataclass(frozen=True)
class PreparedWeights:
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
    """Whether the network is of the kind that is prepared: StyleGAN2 as published.

    Its filters are looked at when it is.
    """
    first = network.b4.conv1
    return (
        network.b4.architecture != "resnet"
        and network.img_channels <= MOST_RGB
        and first.weight.dtype == torch.float32
        and first.weight.shape[-1] == 3
        and first.activation in _SLOPES
    )


def is_frozen(network: SynthesisNetwork) -> bool:
    """Whether no gradient of a weight can be wanted."""
    return not torch.is_grad_enabled() or not any(p.requires_grad for p in network.parameters())


_ByDtypes = dict[Any, tuple[Any, "PreparedWeights | None"]]
_PREPARED: WeakKeyDictionary[nn.Module, _ByDtypes] = WeakKeyDictionary()


def prepare(network: SynthesisNetwork, dtypes: tuple[torch.dtype, ...]) -> PreparedWeights | None:
    """What a network whose blocks run in `dtypes` needs, made anew after its weights changed.

    None where the network upsamples with other filters than four taps along each axis.
    """
    tensors = [*network.parameters(), *network.buffers()]
    if any(tensor.is_inference() for tensor in tensors):  # they do not count their changes
        return _prepare(network, dtypes)
    state = tuple((tensor.data_ptr(), tensor._version) for tensor in tensors)
    made = _PREPARED.setdefault(network, {})
    if dtypes not in made or made[dtypes][0] != state:
        with torch.inference_mode(False):
            made[dtypes] = state, _prepare(network, dtypes)
    return made[dtypes][1]


def forget(network: nn.Module) -> None:
    """Drop what was prepared of a network."""
    _PREPARED.pop(network, None)


@torch.no_grad()
def _prepare(network: SynthesisNetwork, dtypes: tuple[torch.dtype, ...]) -> PreparedWeights | None:
    upsampling = _taps(network.blocks()[-1].resample_filter)
    if upsampling is None and len(dtypes) > 1:
        return None
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
    return PreparedWeights(
        network.b4.const.clone(),
        tuple(layers),
        torch.cat([weight for weight, _ in affine]),
        torch.cat([bias for _, bias in affine]),
        tuple(columns),
        upsampling or (),
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
    taps = _taps(layer.resample_filter) if up else None
    fast = None
    if dtype == torch.float32 and ops.conv3x3_pays(weight):
        fast = ops.Conv3x3Weights.of(weight if taps is None else upsampling_phases(weight, taps))
    return FusedLayer(
        styles,
        weight.to(dtype, copy=True).contiguous(memory_format=torch.channels_last),
        squares,
        taps,
        None if strength is None else layer.noise_const * strength,
        strength,
        layer.resolution,
        layer.bias.detach().clone(),
        ops.Activation(slope, gain, clamp),
        colour,
        fast,
    )


def upsampling_phases(weight: Tensor, taps: tuple[float, ...]) -> Tensor:
    """The transposed convolution of stride 2 and the filter after it as one 3x3 convolution.

    Of every 2x2 pixels of the result each depends on the same 3x3 pixels before it, by weights of
    its own: taps and weight, convolved, are six numbers along an axis, every other one of them for
    one pixel.

    Args:
        weight: [I, O, 3, 3], of the transposed convolution.
        taps: of the filter, four along an axis.

    Returns:
        [4 O, I, 3, 3]: blocks of O channels for the pixels of a 2x2, row by row.
    """
    ins, outs = weight.shape[:2]
    # [6, 3]: what each of the three weights along an axis adds to each of the six.
    spread = torch.zeros(6, 3, dtype=torch.float64)
    for i in range(3):
        spread[i : i + 4, i] = torch.tensor(taps, dtype=torch.float64)
    spread = spread.to(weight.device)
    both = (spread @ weight.double() @ spread.t()).view(ins, outs, 6, 6)
    of_phase = ((4, 2, 0), (5, 3, 1))
    phases = [both[:, :, rows][..., columns] for rows in of_phase for columns in of_phase]
    return torch.cat(phases, dim=1).transpose(0, 1).to(weight.dtype)


def _colour(torgb: ToRGBLayer, styles: slice) -> FusedColour:
    bias = torgb.bias.detach().clone()[:, None, None]
    return FusedColour(styles, torgb.weight.detach()[:, :, 0, 0].clone(), bias, torgb.conv_clamp)


def _taps(kernel: Tensor) -> tuple[float, ...] | None:
    """One axis of a separable filter [4, 4] of unit sum, with the gain of upsampling by 2."""
    taps = separable_taps(kernel)
    return taps and tuple(2.0 * tap for tap in taps)
