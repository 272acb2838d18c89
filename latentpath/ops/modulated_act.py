"""`modulated_act_`: all that lies between two modulated convolutions, in one visit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from latentpath.core import InputError, ShapeError, UnsupportedError
from latentpath.ops import dispatch
from latentpath.ops.registration import mark_written, refuse_transforms, register

_DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
MOST_RGB = 4

# scale, noise, bias, style, rgb_weight, as `modulated_act_` takes them.
Numbers = Sequence[Tensor | None]


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

    def as_list(self) -> list[float]:
        """Slope, gain and clamp."""
        return [self.slope, self.gain, self.clamp]


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
    out, rgb = _forward(x, numbers, activation.as_list(), impl)
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
                for name, value in zip(
                    ("grad", "rgb_weight", "grad_rgb"), (grad, rgb_weight, grad_rgb), strict=True
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
    dispatch.check_device("grad", grad, "y", y)
    if grad_rgb is not None and rgb_weight is not None:
        shape = (*rgb_weight.shape[:2], *y.shape[2:])
        dispatch.check_shape("grad_rgb", grad_rgb, shape, "[M, R, H, W]")
        dispatch.check_dtype("grad_rgb", grad_rgb, (rgb_weight.dtype,))
        dispatch.check_device("grad_rgb", grad_rgb, "y", y)
    results = _backward(grad, has_grad, y, numbers, grad_rgb, activation.as_list(), impl)
    return grad, *results


def _check(op: str, name: str, x: Tensor, numbers: Numbers) -> None:
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
    x: Tensor, numbers: Numbers, activation: Activation
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Plain PyTorch in float32 at least: y, out and rgb; differentiable."""
    scale, noise, bias, style, rgb_weight = numbers
    assert bias is not None
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
    numbers: Numbers,
    grad_rgb: Tensor | None,
    activation: Activation,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Plain PyTorch: gradients in x, style, log(scale) and rgb_weight."""
    scale, noise, bias, style, rgb_weight = numbers
    assert bias is not None
    limit = _as_held(activation.clamp, y)
    y = y.to(bias.dtype)
    grad_y = torch.zeros_like(y)
    grad_style = bias.new_zeros(y.shape[:2])
    grad_rgb_weight = bias.new_zeros(len(y), 0, len(bias))
    if grad is not None:
        grad = grad.to(bias.dtype)
        grad_style = (grad * y).sum(dim=[2, 3])
        grad_y = grad if style is None else grad * _per_channel(style)
    if grad_rgb is not None and rgb_weight is not None:
        grad_rgb_weight = torch.einsum("mchw,mrhw->mrc", y, grad_rgb)
        grad_y = grad_y + torch.einsum("mrc,mrhw->mchw", rgb_weight, grad_rgb)
    above, slope, gain = y > 0, activation.slope, activation.gain
    grad_z = grad_y * torch.where(above, gain, gain * slope).to(y) * (y.abs() < limit)
    # z, inverted from y; with slope 0 it is lost where the gradient is 0.
    scaled = torch.where(above, y / gain, y / (gain * slope) if slope > 0 else 0 * y)
    scaled = scaled - _per_channel(bias)
    scaled = scaled if noise is None else scaled - _per_pixel(noise)
    grad_log_scale = (grad_z * scaled).sum(dim=[2, 3])
    grad_x = grad_z if scale is None else grad_z * _per_channel(scale)
    return grad_x, grad_style, grad_log_scale, grad_rgb_weight


def _as_held(clamp: float, y: Tensor) -> float:
    """The clamp as it is in the dtype of y."""
    return float(torch.tensor(clamp, dtype=y.dtype))


# ---- the ops -----------------------------------------------------------------------------------


def _forward_kernel(
    x: Tensor, numbers: Numbers, activation: list[float], impl: str | None
) -> tuple[Tensor, Tensor]:
    chosen = dispatch.choose("modulated_act", impl, x)
    if chosen == "reference":
        y, some_out, some_rgb = _modulated_act_reference(x, numbers, Activation(*activation))
        x.copy_(y)
        out, rgb = _forward_fake(x, [*numbers[:3], None, None], activation, impl)
        out = out if some_out is None else some_out.to(x.dtype)
        return out, rgb if some_rgb is None else some_rgb
    numbers = _dense(numbers)
    out, rgb = _forward_fake(x, numbers, activation, impl)
    if chosen == "native":
        _native_forward(x, numbers, activation, out, rgb)
    else:
        from latentpath.ops.triton.modulated_act_kernel import modulated_act as run_triton

        run_triton(x, numbers, activation, out, rgb)
    return out, rgb


def _forward_fake(
    x: Tensor, numbers: Numbers, activation: list[float], impl: str | None
) -> tuple[Tensor, Tensor]:
    _, _, bias, style, rgb_weight = numbers
    assert bias is not None
    out = x.new_empty(0, *x.shape[1:]) if style is None else torch.empty_like(x)
    return out, bias.new_empty(x.shape[0], _colours(rgb_weight), *x.shape[2:])


def _backward_kernel(
    grad: Tensor,
    has_grad: bool,
    y: Tensor,
    numbers: Numbers,
    grad_rgb: Tensor | None,
    activation: list[float],
    impl: str | None,
) -> tuple[Tensor, Tensor, Tensor]:
    chosen = dispatch.choose("modulated_act", impl, y)
    if chosen == "reference":
        given = grad if has_grad else None
        grad_x, *rest = _backward_reference(given, y, numbers, grad_rgb, Activation(*activation))
        grad.copy_(grad_x)
        return rest[0], rest[1], rest[2]
    numbers, (grad_rgb,) = _dense(numbers), _dense([grad_rgb])
    if chosen == "native":
        return _native_backward(grad, has_grad, y, numbers, grad_rgb, activation)
    from latentpath.ops.triton.modulated_act_kernel import modulated_act_backward as run_triton

    held = [*activation[:2], _as_held(activation[2], y)]
    return run_triton(grad, has_grad, y, numbers, grad_rgb, held)


def _backward_fake(
    grad: Tensor,
    has_grad: bool,
    y: Tensor,
    numbers: Numbers,
    grad_rgb: Tensor | None,
    activation: list[float],
    impl: str | None,
) -> tuple[Tensor, Tensor, Tensor]:
    (m, c), bias = y.shape[:2], numbers[2]
    assert bias is not None
    colours = _colours(numbers[4])
    return bias.new_empty(m, c), bias.new_empty(m, c), bias.new_empty(m, colours, c)


def _colours(rgb_weight: Tensor | None) -> int:
    return 0 if rgb_weight is None else rgb_weight.shape[1]


def _dense(tensors: Numbers) -> Numbers:
    return [None if tensor is None else tensor.contiguous() for tensor in tensors]


def _native_forward(
    x: Tensor, numbers: Numbers, activation: list[float], out: Tensor, rgb: Tensor
) -> None:
    module = dispatch.extension()
    assert module is not None
    *first, style, rgb_weight = numbers
    tensors = (x, *first, style, None if style is None else out, rgb_weight, rgb)
    code, threads = dispatch.dtype_code(x), torch.get_num_threads()
    module.modulated_act(_addresses(tensors), code, _shape(x, numbers), activation, threads)
    mark_written(x)


def _native_backward(
    grad: Tensor,
    has_grad: bool,
    y: Tensor,
    numbers: Numbers,
    grad_rgb: Tensor | None,
    activation: list[float],
) -> tuple[Tensor, Tensor, Tensor]:
    module = dispatch.extension()
    assert module is not None
    results = _backward_fake(grad, has_grad, y, numbers, grad_rgb, activation, None)
    addresses = _addresses((grad, y, *numbers, grad_rgb, *results))
    code, threads = dispatch.dtype_code(y), torch.get_num_threads()
    module.modulated_act_backward(
        addresses, has_grad, code, _shape(y, numbers), activation, threads
    )
    mark_written(grad)
    return results


def _addresses(tensors: Sequence[Tensor | None]) -> list[int]:
    return [0 if tensor is None else tensor.data_ptr() for tensor in tensors]


def _shape(x: Tensor, numbers: Numbers) -> list[int]:
    """Images, pixels, channels, image channels, and how far apart the images' noises are."""
    m, c, h, w = x.shape
    noise = numbers[1]
    per_image = noise is not None and noise.ndim == 3
    return [m, h * w, c, _colours(numbers[4]), h * w if per_image else 0]


_forward = register(
    "modulated_act_(Tensor(a!) x, Tensor?[] numbers, float[] activation, str? impl) "
    "-> (Tensor, Tensor)",
    _forward_kernel,
    _forward_fake,
)
_backward = register(
    "modulated_act_backward_(Tensor(a!) grad, bool has_grad, Tensor y, Tensor?[] numbers, "
    "Tensor? grad_rgb, float[] activation, str? impl) -> (Tensor, Tensor, Tensor)",
    _backward_kernel,
    _backward_fake,
)
