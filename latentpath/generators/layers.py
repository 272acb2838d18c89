"""Layers that StyleGAN2's generator and discriminator are made of.

Parameter names, initial values and run-time scaling follow the published
StyleGAN2-ADA (Karras et al., "Training Generative Adversarial Networks with
Limited Data", NeurIPS 2020), so that published weights load by name.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentpath import ops
from latentpath.core import InputError, channels_last

_SQRT2 = math.sqrt(2.0)

# name -> (function, default gain): the activations that published configurations may name.
ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "linear": (lambda x: x, 1.0),
    "relu": (F.relu, _SQRT2),
    "lrelu": (lambda x: F.leaky_relu(x, 0.2), _SQRT2),
    "tanh": (torch.tanh, 1.0),
    "sigmoid": (torch.sigmoid, 1.0),
    "elu": (F.elu, 1.0),
    "selu": (F.selu, 1.0),
    "softplus": (F.softplus, 1.0),
    "swish": (F.silu, _SQRT2),
}

# f(a x) is a f(x) for all a above 0.
_HOMOGENEOUS = ("linear", "relu", "lrelu")


def check_activation(name: str) -> str:
    """Return `name` if it is an activation of `ACTIVATIONS`, else raise InputError."""
    if name not in ACTIVATIONS:
        raise InputError(
            expected=f"an activation out of {sorted(ACTIVATIONS)}",
            got=repr(name),
            fix="use one of these names",
        )
    return name


def bias_act(
    x: Tensor,  # [M, C, ...]
    bias: Tensor | None,  # [C]
    activation: str = "linear",
    gain: float = 1.0,
    clamp: float | None = None,
) -> Tensor:  # [M, C, ...]
    """Bias, activation, gain (on top of the activation's own gain) and clamp."""
    if bias is not None:
        x = x + bias.to(x.dtype).reshape([1, -1] + [1] * (x.ndim - 2))
    function, own_gain = ACTIVATIONS[activation]
    x = function(x)
    if own_gain * gain != 1.0:
        x = x * (own_gain * gain)
    if clamp is not None:
        x = x.clamp(-clamp * gain, clamp * gain)
    return x


def widened(x: Tensor) -> Tensor:
    """x in float32 at least: half precision becomes float32, float64 stays."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def normalize_2nd_moment(x: Tensor, eps: float = 1e-8) -> Tensor:
    """Scale each row of x [M, D] to a mean square of one."""
    return x * (x.square().mean(dim=1, keepdim=True) + eps).rsqrt()


def standard_normal(*shape: int, divisor: float = 1.0) -> Tensor:
    """Weights to begin with, from PyTorch's default generator; without numbers on the meta device.

    There, where networks are built to learn their shapes, drawing would load all of torch.compile.
    """
    weight = torch.empty(shape)
    return weight if weight.is_meta else weight.normal_().div_(divisor)


def setup_filter(taps: Sequence[float] | None) -> Tensor:
    """FIR filter [K, K] with unit sum from its 1-D taps, as the published buffers hold it.

    None is the one-tap filter, which changes nothing.
    """
    # In NumPy: on the meta device an outer product, too, would load all of torch.compile.
    f = np.asarray((1,) if taps is None else taps, np.float32)
    if f.ndim == 1:
        f = np.outer(f, f)
    return torch.as_tensor(f / f.sum())


def separable_taps(f: Tensor) -> tuple[float, ...] | None:
    """One axis of a filter [4, 4] of unit sum that is the same along both, else None.

    >>> separable_taps(setup_filter((1, 3, 3, 1)))
    (0.125, 0.375, 0.375, 0.125)
    """
    if f.shape != (4, 4):
        return None
    return _separable_taps(tuple(f.detach().double().flatten().tolist()))


@functools.lru_cache
def _separable_taps(values: tuple[float, ...]) -> tuple[float, ...] | None:
    f = np.reshape(values, (4, 4))
    rows, columns = f.sum(axis=1), f.sum(axis=0)
    same = np.allclose(rows, columns, rtol=0, atol=1e-7)
    if not same or not np.allclose(np.outer(rows, columns), f, rtol=0, atol=1e-7):
        return None
    return tuple(rows.tolist())


class _FilterChannels(torch.autograd.Function):
    """`ops.fir2d` with its derivatives of any order: the adjoint is the op with taps reversed."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, taps: tuple[float, ...], pad: int) -> Tensor:
        ctx.taps, ctx.pad = taps, pad
        return ops.fir2d(channels_last(x), taps, pad)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return _FilterChannels.apply(grad, ctx.taps[::-1], 3 - ctx.pad), None, None


def _filtered_fast(x: Tensor, f: Tensor, pad: int, gain: float) -> Tensor | None:
    """x [M, C, H, W] filtered by our own kernel, or None where PyTorch has to do it."""
    plain = torch.compiler.is_compiling() or torch.jit.is_tracing() or ops.is_transformed(x)
    if plain or x.device.type != "cpu" or pad not in range(4):
        return None
    taps = separable_taps(f)
    if taps is None or min(x.shape[2:]) + 2 * pad < 4:
        return None
    scaled = tuple(math.sqrt(gain) * tap for tap in reversed(taps))
    result: Tensor = _FilterChannels.apply(x, scaled, pad)
    return result


def fir(x: Tensor, f: Tensor, padding: Sequence[int], gain: float = 1.0) -> Tensor:
    """Convolve each channel of x [M, C, H, W] with f [K, K]; padding: left, right, top, bottom."""
    if len(set(padding)) == 1:
        fast = _filtered_fast(x, f, padding[0], gain)
        if fast is not None:
            return fast
    channels = x.shape[1]
    kernel = (f.flip([0, 1]) * gain).to(x.dtype).expand(channels, 1, *f.shape)
    left, right, top, bottom = padding
    if left == right and top == bottom and min(padding) >= 0:
        return F.conv2d(x, kernel, padding=(top, left), groups=channels)
    return F.conv2d(F.pad(x, list(padding)), kernel, groups=channels)


def upsample2d(x: Tensor, f: Tensor) -> Tensor:
    """Upsample x [M, C, H, W] by 2: zeros between the pixels, then the filter f [K, K], gain 4."""
    channels, k = x.shape[1], f.shape[-1]
    # A transposed convolution with stride 2 is exactly "insert zeros, then convolve".
    kernel = (f * 4.0).to(x.dtype).expand(channels, 1, k, k)
    y = F.conv_transpose2d(x, kernel, stride=2, groups=channels)
    if k == 1:  # the published padding is wider than one tap: a row of zeros at the start
        return F.pad(y, [1, 0, 1, 0])
    lead = k - 1 - (k + 1) // 2  # rows that the published padding leaves out at the start
    height, width = 2 * x.shape[2], 2 * x.shape[3]
    return y[:, :, lead : lead + height, lead : lead + width]


def downsample2d(x: Tensor, f: Tensor) -> Tensor:
    """Filter x [M, C, H, W] with f [K, K] and keep every second pixel."""
    channels, k = x.shape[1], f.shape[-1]
    kernel = f.flip([0, 1]).to(x.dtype).expand(channels, 1, k, k)
    lead, trail = (k - 1) // 2, (k - 2) // 2
    fast = _filtered_fast(x, f, lead, 1.0) if lead == trail else None
    if fast is not None:
        return fast[:, :, ::2, ::2]
    return F.conv2d(F.pad(x, [lead, trail, lead, trail]), kernel, stride=2, groups=channels)


def conv2d_up(x: Tensor, weight: Tensor, f: Tensor) -> Tensor:
    """3x3 convolution fused with upsampling by 2: transposed convolution, then the FIR filter.

    x [M, I, H, W], weight [O, I, k, k], f [K, K] -> [M, O, 2H, 2W]
    """
    k, taps = weight.shape[-1], f.shape[-1]
    if k == 1:
        return upsample2d(F.conv2d(x, weight), f)
    y = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)
    lead = k // 2 + (taps + 1) // 2 - (k - 1)
    trail = k // 2 + (taps - 2) // 2 - (k - 2)
    return fir(y, f, (lead, trail, lead, trail), gain=4.0)


def conv2d_down(x: Tensor, weight: Tensor, f: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolution fused with downsampling by 2: the FIR filter, then a strided convolution.

    x [M, I, H, W], weight [O, I, k, k], f [K, K], bias [O] -> [M, O, H/2, W/2]
    """
    k, taps = weight.shape[-1], f.shape[-1]
    if k == 1:
        return F.conv2d(downsample2d(x, f), weight, bias)
    lead, trail = k // 2 + (taps - 1) // 2, k // 2 + (taps - 2) // 2
    return F.conv2d(fir(x, f, (lead, trail, lead, trail)), weight, bias, stride=2)


class FullyConnectedLayer(nn.Module):
    """Linear layer with equalised learning rate: unit weights, scaled at run time."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        activation: str = "linear",
        lr_multiplier: float = 1.0,
        bias_init: float = 0.0,
    ) -> None:
        super().__init__()
        self.activation = check_activation(activation)
        self.weight = nn.Parameter(
            standard_normal(out_features, in_features, divisor=lr_multiplier)
        )
        self.bias = nn.Parameter(torch.full([out_features], float(bias_init)))
        self.weight_gain = lr_multiplier / math.sqrt(in_features)
        self.bias_gain = lr_multiplier

    def forward(self, x: Tensor) -> Tensor:  # [M, I] -> [M, O]
        bias = self.bias * self.bias_gain if self.bias_gain != 1.0 else self.bias
        if self.activation == "linear":
            return torch.addmm(bias, x, self.weight.t(), alpha=self.weight_gain)
        return bias_act(x @ (self.weight.t() * self.weight_gain), bias, self.activation)


class Conv2dLayer(nn.Module):
    """Plain convolution with equalised learning rate; resamples by 2 with `up` or `down`."""

    resample_filter: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        bias: bool = True,
        activation: str = "linear",
        up: int = 1,
        down: int = 1,
        resample_filter: Sequence[float] | None = (1, 3, 3, 1),
        conv_clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.activation, self.up, self.down = check_activation(activation), up, down
        self.conv_clamp = conv_clamp
        self.padding = kernel_size // 2
        self.weight_gain = 1.0 / math.sqrt(in_channels * kernel_size**2)
        self.weight = nn.Parameter(
            standard_normal(out_channels, in_channels, kernel_size, kernel_size)
        )
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.register_buffer("resample_filter", setup_filter(resample_filter))

    def forward(self, x: Tensor, gain: float = 1.0) -> Tensor:  # [M, I, H, W] -> [M, O, H', W']
        # The activation's gain is the weights', where it may pass through: the images are visited
        # once less, and the bias is added inside the convolution.
        function, own_gain = ACTIVATIONS[self.activation]
        within = own_gain * gain if self.activation in _HOMOGENEOUS else 1.0
        weight = (self.weight * (self.weight_gain * within)).to(x.dtype)
        bias = None if self.bias is None else (self.bias * within).to(x.dtype)
        if self.up == 2:
            x = conv2d_up(x, weight, self.resample_filter)
            x = x if bias is None else x + bias[:, None, None]
        elif self.down == 2:
            x = conv2d_down(x, weight, self.resample_filter, bias)
        else:
            x = F.conv2d(x, weight, bias, padding=self.padding)
        x = function(x)
        if own_gain * gain != within:
            x = x * (own_gain * gain)
        return (
            x
            if self.conv_clamp is None
            else x.clamp(-self.conv_clamp * gain, self.conv_clamp * gain)
        )
