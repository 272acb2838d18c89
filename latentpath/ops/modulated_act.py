"""`modulated_act_`: all that lies between two modulated convolutions, in one visit."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from latentpath.errors import InputError, ShapeError, UnsupportedError
from latentpath.ops import dispatch
from latentpath.ops.first_order import refuse_transforms
from latentpath.ops.registration import mark_written, register

_DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
MOST_RGB = 4


@dataclass(frozen=True)
class Activation:
    """A leaky ReLU with gain and clamp."""

    slope: float = 0.2
    """Factor below zero, from 0 (ReLU) to 1 (linear)."""
    gain: float = math.sqrt(2.0)
    """Factor on the result, above 0."""
    clamp: float = math.inf
    """Largest size of the result, above 0; infinity for none."""

    def __post_init__(self) -> None:
        if not (0 <= self.slope <= 1 and 0 < self.gain < math.inf and self.clamp > 0):
            raise InputError(
                expected="slope from 0 to 1, finite gain above 0, clamp above 0",
                got=f"slope={self.slope}, gain={self.gain}, clamp={self.clamp}",
                fix="correct that number",
            )


def modulated_act_(
    x: Tensor,  # [M, C, H, W]
    scale: Tensor | None,  # [M, C]
    noise: Tensor | None,  # [H, W] or [M, H, W]
    bias: Tensor,  # [C]
    activation: Activation,
    *,
    style: Tensor | None = None,  # [M, C]
    rgb_weight: Tensor | None = None,  # [M, R, C]
    impl: str | None = None,
) -> tuple[Tensor, Tensor]:  # [M, C, H, W], [M, R, H, W]
    """Turn a convolution's results into activations, in place, and into what is made of those.

        y = clamp(gain * leaky_relu(x * scale + noise + bias))        written over x
        out = y * style                                               returned
        rgb[r] = sum over channels of y * rgb_weight[r]               returned

    `scale` is the demodulation, `style` the next convolution's modulation, `rgb_weight` the
    modulated 1x1 convolution to image channels (Karras et al., "Analyzing and Improving the Image
    Quality of StyleGAN", CVPR 2020, section 2.2). Every image is computed alone: what else is in
    the batch, and the number of threads, change no bit of it. Knows no autograd: see
    `modulated_act_backward_`.

    Args:
        x: the convolution's results in channels-last layout, float32, bfloat16, float16 or
            float64; y afterwards.
        scale: one factor per image and channel, above 0; None for 1.
        noise: added to every channel, already multiplied by its strength.
        bias: one per channel.
        activation: slope, gain and clamp.
        style: None leaves `out` empty.
        rgb_weight: R is at most 4; None leaves `rgb` with R = 0.
        impl: "reference", "native" or "triton" forces an implementation.

    Returns:
        out in the dtype of x, and rgb in float32. The other arguments are float32 as well, and
        sums are taken in it (all float64 for a float64 x).

    Raises:
        ShapeError: shapes, dtypes or layout do not fit.
        UnsupportedError: something requires a gradient.

    >>> import torch
    >>> x = torch.tensor([1.0, -1.0]).reshape(1, 2, 1, 1)
    >>> out, _ = modulated_act_(x, None, None, torch.zeros(2), Activation(0.5, 2.0),
    ...                         style=torch.tensor([[10.0, 10.0]]))
    >>> x.flatten(), out.flatten()
    (tensor([ 2., -1.]), tensor([ 20., -10.]))
    """
    numbers = [scale, noise, bias, style, rgb_weight]
    _check("modulated_act_", "x", x, numbers)
    out, rgb = _forward(
        x, *numbers[:3], activation.slope, activation.gain, activation.clamp, *numbers[3:], impl
    )
    return out, rgb


def modulated_act_backward_(
    grad: Tensor | None,  # [M, C, H, W]
    y: Tensor,  # [M, C, H, W]
    scale: Tensor | None,  # [M, C]
    noise: Tensor | None,  # [H, W] or [M, H, W]
    bias: Tensor,  # [C]
    activation: Activation,
    *,
    style: Tensor | None = None,  # [M, C]
    rgb_weight: Tensor | None = None,  # [M, R, C]
    grad_rgb: Tensor | None = None,  # [M, R, H, W]
    impl: str | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gradients of `modulated_act_`, from its result y alone.

    Args:
        grad: gradient in `out` (in y where there is no style), channels last, in the dtype of y;
            overwritten. None where only rgb has a gradient.
        y: the activations that `modulated_act_` wrote.
        grad_rgb: gradient in rgb, float32; given with `rgb_weight`.

    The other arguments are those of `modulated_act_`. There is no gradient for bias and noise.

    Returns:
        The gradients in x (the memory of `grad` where there is one), in style [M, C], in
        log(scale) [M, C], and in rgb_weight [M, R, C].

    Raises:
        ShapeError, UnsupportedError: as `modulated_act_`.
    """
    numbers = [scale, noise, bias, style, rgb_weight]
    _check("modulated_act_backward_", "y", y, numbers)
    if (grad_rgb is None) != (rgb_weight is None) or (grad is None and grad_rgb is None):
        raise InputError(
            expected="grad_rgb exactly where there is rgb_weight, and grad or grad_rgb",
            got=", ".join(
                f"{name} {'left out' if value is None else 'given'}"
                for name, value in (
                    ("grad", grad),
                    ("rgb_weight", rgb_weight),
                    ("grad_rgb", grad_rgb),
                )
            ),
            fix="pass zeros for a gradient that is zero",
        )
    has_grad = grad is not None
    if grad is None:
        grad = torch.empty_like(y)
    _check("modulated_act_backward_", "grad", grad, [])
    if grad.shape != y.shape or grad.dtype != y.dtype:
        raise ShapeError(
            expected=f"grad like y, {y.dtype} {list(y.shape)}",
            got=f"{grad.dtype} {list(grad.shape)}",
            fix="pass the gradient of this layer",
        )
    if grad_rgb is not None and rgb_weight is not None:
        shape = (*rgb_weight.shape[:2], *y.shape[2:])
        dispatch.check_shape("grad_rgb", grad_rgb, shape, "[M, R, H, W]")
    results = _backward(
        grad, has_grad, y, *numbers[:3], activation.slope, activation.gain, activation.clamp,
        *numbers[3:], grad_rgb, impl,
    )  # fmt: skip
    return grad, *results


def _check(op: str, name: str, x: Tensor, numbers: list[Tensor | None]) -> None:
    dispatch.check_dtype(name, x, _DTYPES)
    if x.ndim != 4 or not x.is_contiguous(memory_format=torch.channels_last):
        raise ShapeError(
            expected=f"{name} to be [M, C, H, W] in channels-last layout",
            got=f"{list(x.shape)} with strides {list(x.stride())}",
            fix=f"{name}.contiguous(memory_format=torch.channels_last)",
        )
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, *numbers)):
        raise UnsupportedError(
            expected=f"{op} on tensors that require no gradient",
            got="one that does",
            fix="call it under torch.no_grad(), or use plain PyTorch here",
        )
    refuse_transforms(op, x, *numbers)
    if not numbers:
        return
    m, c, h, w = x.shape
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    scale, noise, bias, style, rgb_weight = numbers
    lead = () if noise is None or noise.ndim == 2 else (m,)
    rgb = 0 if rgb_weight is None or rgb_weight.ndim != 3 else rgb_weight.shape[1]
    for name, tensor, shape, letters in (
        ("scale", scale, (m, c), "[M, C]"),
        ("noise", noise, (*lead, h, w), "[H, W] or [M, H, W]"),
        ("bias", bias, (c,), "[C]"),
        ("style", style, (m, c), "[M, C]"),
        ("rgb_weight", rgb_weight, (m, min(rgb, MOST_RGB), c), "[M, R, C] with R at most 4"),
    ):
        if tensor is not None:
            dispatch.check_shape(name, tensor, shape, letters)
            dispatch.check_dtype(name, tensor, (wide,))
            dispatch.check_device(name, tensor, "x", x)


# ---- the reference -----------------------------------------------------------------------------


def _per_channel(x: Tensor) -> Tensor:  # [M, C] or [C] -> [M, C, 1, 1] or [C, 1, 1]
    return x[..., None, None]


def _per_pixel(noise: Tensor) -> Tensor:  # [H, W] or [M, H, W] -> [1 or M, 1, H, W]
    return noise[None, None] if noise.ndim == 2 else noise[:, None]


def _modulated_act_reference(
    x: Tensor,
    scale: Tensor | None,
    noise: Tensor | None,
    bias: Tensor,
    activation: Activation,
    style: Tensor | None,
    rgb_weight: Tensor | None,
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Plain PyTorch in float32 at least: y, out and rgb; differentiable."""
    z = x.to(bias.dtype)
    z = z if scale is None else z * _per_channel(scale)
    z = z + _per_channel(bias)
    z = z if noise is None else z + _per_pixel(noise)
    y = torch.where(z > 0, z, z * activation.slope) * activation.gain
    y = y.clamp(-activation.clamp, activation.clamp)
    out = None if style is None else y * _per_channel(style)
    rgb = None if rgb_weight is None else torch.einsum("mchw,mrc->mrhw", y, rgb_weight)
    return y, out, rgb


def _backward_reference(
    grad: Tensor | None,
    y: Tensor,
    scale: Tensor | None,
    noise: Tensor | None,
    bias: Tensor,
    activation: Activation,
    style: Tensor | None,
    rgb_weight: Tensor | None,
    grad_rgb: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Plain PyTorch: gradients in x, style, log(scale) and rgb_weight."""
    clamp = float(torch.tensor(activation.clamp, dtype=y.dtype))  # as y holds it
    y = y.to(bias.dtype)
    grad_y = torch.zeros_like(y)
    grad_style, grad_rgb_weight = (
        bias.new_zeros(y.shape[:2]),
        bias.new_zeros(len(y), 0, len(bias)),
    )
    if grad is not None:
        grad = grad.to(bias.dtype)
        grad_style = (grad * y).sum(dim=[2, 3])
        grad_y = grad if style is None else grad * _per_channel(style)
    if grad_rgb is not None and rgb_weight is not None:
        grad_rgb_weight = torch.einsum("mchw,mrhw->mrc", y, grad_rgb)
        grad_y = grad_y + torch.einsum("mrc,mrhw->mchw", rgb_weight, grad_rgb)
    above = y > 0
    slope, gain = activation.slope, activation.gain
    derivative = torch.where(above, gain, gain * slope).to(y) * (y.abs() < clamp)
    grad_z = grad_y * derivative
    # z, inverted from y; with slope 0 it is lost where the gradient is 0.
    scaled = torch.where(above, y / gain, y / (gain * slope) if slope > 0 else 0 * y)
    scaled = scaled - _per_channel(bias)
    scaled = scaled if noise is None else scaled - _per_pixel(noise)
    grad_log_scale = (grad_z * scaled).sum(dim=[2, 3])
    grad_x = grad_z if scale is None else grad_z * _per_channel(scale)
    return grad_x, grad_style, grad_log_scale, grad_rgb_weight


# ---- the ops -----------------------------------------------------------------------------------


def _forward_kernel(
    x: Tensor, scale: Tensor | None, noise: Tensor | None, bias: Tensor,
    slope: float, gain: float, clamp: float,
    style: Tensor | None, rgb_weight: Tensor | None, impl: str | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    activation = Activation(slope, gain, clamp)
    chosen = dispatch.choose("modulated_act", impl, x)
    if chosen == "native":
        return _native_forward(x, scale, noise, bias, activation, style, rgb_weight)
    y, out, rgb = _modulated_act_reference(x, scale, noise, bias, activation, style, rgb_weight)
    x.copy_(y)
    out = _no_out(x) if out is None else out.to(x.dtype)
    return out, x.new_empty(_rgb_shape(x, None), dtype=bias.dtype) if rgb is None else rgb


def _forward_fake(
    x: Tensor, scale: Tensor | None, noise: Tensor | None, bias: Tensor,
    slope: float, gain: float, clamp: float,
    style: Tensor | None, rgb_weight: Tensor | None, impl: str | None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    out = _no_out(x) if style is None else torch.empty_like(x)
    return out, x.new_empty(_rgb_shape(x, rgb_weight), dtype=bias.dtype)


def _backward_kernel(
    grad: Tensor, has_grad: bool, y: Tensor,
    scale: Tensor | None, noise: Tensor | None, bias: Tensor,
    slope: float, gain: float, clamp: float,
    style: Tensor | None, rgb_weight: Tensor | None, grad_rgb: Tensor | None, impl: str | None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    activation = Activation(slope, gain, clamp)
    chosen = dispatch.choose("modulated_act", impl, y)
    arguments = (y, scale, noise, bias, activation, style, rgb_weight, grad_rgb)
    if chosen == "native":
        return _native_backward(grad, has_grad, *arguments)
    grad_x, *rest = _backward_reference(grad if has_grad else None, *arguments)
    grad.copy_(grad_x)
    return rest[0], rest[1], rest[2]


def _backward_fake(
    grad: Tensor, has_grad: bool, y: Tensor,
    scale: Tensor | None, noise: Tensor | None, bias: Tensor,
    slope: float, gain: float, clamp: float,
    style: Tensor | None, rgb_weight: Tensor | None, grad_rgb: Tensor | None, impl: str | None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    m, c = y.shape[:2]
    rgb = 0 if rgb_weight is None else rgb_weight.shape[1]
    return bias.new_empty(m, c), bias.new_empty(m, c), bias.new_empty(m, rgb, c)


def _no_out(x: Tensor) -> Tensor:
    return x.new_empty(0, *x.shape[1:])


def _rgb_shape(x: Tensor, rgb_weight: Tensor | None) -> tuple[int, ...]:
    return (x.shape[0], 0 if rgb_weight is None else rgb_weight.shape[1], *x.shape[2:])


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _native_forward(
    x: Tensor,
    scale: Tensor | None,
    noise: Tensor | None,
    bias: Tensor,
    activation: Activation,
    style: Tensor | None,
    rgb_weight: Tensor | None,
) -> tuple[Tensor, Tensor]:
    module = dispatch.extension()
    assert module is not None
    scale, noise, style, rgb_weight = _dense(scale, noise, style, rgb_weight)
    bias = bias.contiguous()
    out = _no_out(x) if style is None else torch.empty_like(x)
    rgb = bias.new_empty(_rgb_shape(x, rgb_weight))
    tensors = (x, scale, noise, bias, style, None if style is None else out, rgb_weight, rgb)
    module.modulated_act(
        [_address(t) for t in tensors],
        dispatch.dtype_code(x),
        _shape(x, noise, rgb.shape[1]),
        [activation.slope, activation.gain, activation.clamp],
        torch.get_num_threads(),
    )
    mark_written(x)
    return out, rgb


def _native_backward(
    grad: Tensor,
    has_grad: bool,
    y: Tensor,
    scale: Tensor | None,
    noise: Tensor | None,
    bias: Tensor,
    activation: Activation,
    style: Tensor | None,
    rgb_weight: Tensor | None,
    grad_rgb: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    module = dispatch.extension()
    assert module is not None
    numbers = _dense(scale, noise, bias, style, rgb_weight, grad_rgb)
    m, c = y.shape[:2]
    colours = 0 if rgb_weight is None else rgb_weight.shape[1]
    results = [bias.new_empty(m, c), bias.new_empty(m, c), bias.new_empty(m, colours, c)]
    module.modulated_act_backward(
        [_address(t) for t in (grad, y, *numbers, *results)],
        has_grad,
        dispatch.dtype_code(y),
        _shape(y, noise, colours),
        [activation.slope, activation.gain, activation.clamp],
        torch.get_num_threads(),
    )
    mark_written(grad)
    return results[0], results[1], results[2]


def _dense(*tensors: Tensor | None) -> list[Tensor | None]:
    return [None if tensor is None else tensor.contiguous() for tensor in tensors]


def _shape(x: Tensor, noise: Tensor | None, colours: int) -> list[int]:
    """Images, pixels, channels, image channels, and how far apart the images' noises are."""
    m, c, h, w = x.shape
    return [m, h * w, c, colours, h * w if noise is not None and noise.ndim == 3 else 0]


_NUMBERS = "float slope, float gain, float clamp"
_forward = register(
    "modulated_act_(Tensor(a!) x, Tensor? scale, Tensor? noise, Tensor bias, "
    f"{_NUMBERS}, Tensor? style, Tensor? rgb_weight, str? impl) -> (Tensor, Tensor)",
    _forward_kernel,
    _forward_fake,
)
_backward = register(
    "modulated_act_backward_(Tensor(a!) grad, bool has_grad, Tensor y, Tensor? scale, "
    f"Tensor? noise, Tensor bias, {_NUMBERS}, Tensor? style, Tensor? rgb_weight, "
    "Tensor? grad_rgb, str? impl) -> (Tensor, Tensor, Tensor)",
    _backward_kernel,
    _backward_fake,
)
