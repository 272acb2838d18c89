"""`conv3x3`: a 3x3 convolution whose weights stay as they are, in channels-last layout."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from latentpath.core import ShapeError
from latentpath.ops import dispatch
from latentpath.ops.registration import refuse_transforms, register

_DTYPES = (torch.float32, torch.float64)
# Channels of a pack of transformed weights: csrc/cpu/conv3x3.cpp reads them so.
_PACK = 16
_FREQUENCIES = 36


@dataclass(frozen=True)
class Conv3x3Weights:
    """Weights of a 3x3 convolution, in the forms that it and its adjoint need."""

    plain: Tensor
    """[O, C, 3, 3]"""
    transformed: Tensor
    """[36, ceil(O / 16), C, 16], see `csrc/cpu/conv3x3.cpp`."""
    transformed_adjoint: Tensor
    """[36, ceil(C / 16), O, 16], of the adjoint."""

    @classmethod
    @torch.no_grad()
    def of(cls, weight: Tensor) -> Conv3x3Weights:  # [O, C, 3, 3]
        """Prepare weights, which must not change afterwards.

        Raises:
            ShapeError: they are of another shape, or neither float32 nor float64.
        """
        dispatch.check_dtype("weight", weight, _DTYPES)
        dispatch.check_shape("weight", weight, (None, None, 3, 3), "[O, C, 3, 3]")
        weight = weight.detach()
        return cls(weight, _transformed(weight), _transformed(_adjoint(weight)))


def conv3x3(
    x: Tensor,  # [M, C, H, W], or [M, C/4, 2H, 2W]
    weights: Conv3x3Weights,
    bias: Tensor | None = None,  # [O]
    *,
    adjoint: bool = False,
    gather: bool = False,
    scatter: bool = False,
    impl: str | None = None,
) -> Tensor:  # [M, O, H, W], or [M, O/4, 2H, 2W]
    """Convolve with one row and column of zeros around the images, stride 1.

    The kernel multiplies a quarter of the numbers that the plain form does (Winograd's
    F(4x4, 3x3): Lavin and Gray, CVPR 2016). Every image is computed alone. Differentiable in x,
    not in the weights and the bias.

    Args:
        x: images in channels-last layout, float32 or float64.
        weights: what `Conv3x3Weights.of` prepared, in x's dtype.
        bias: added to every channel.
        adjoint: the adjoint convolution instead, of images with O channels to C.
        gather: the C channels are four blocks of C/4, the pixels of 2x2 squares (row by row) of
            images twice as large, which x holds.
        scatter: the O channels are four blocks of O/4, likewise, and the result is an image twice
            as large.
        impl: "reference" or "native" forces an implementation.

    Raises:
        ShapeError: x, weights and bias do not fit each other, or a wrong layout or dtype.

    >>> weight = torch.zeros(1, 1, 3, 3)
    >>> weight[0, 0, 1] = torch.tensor([1.0, 10.0, 100.0])
    >>> conv3x3(torch.tensor([[[[1.0, 2.0, 3.0]]]]), Conv3x3Weights.of(weight)).round().flatten()
    tensor([210., 321.,  32.])
    """
    dispatch.check_dtype("x", x, _DTYPES)
    plain = weights.plain
    _check(x, plain, bias, adjoint, gather, scatter)
    refuse_transforms("conv3x3", x)
    result: Tensor = _conv3x3(
        x,
        plain,
        weights.transformed,
        weights.transformed_adjoint,
        bias,
        adjoint,
        gather,
        scatter,
        impl,
    )
    return result


def _check(
    x: Tensor, plain: Tensor, bias: Tensor | None, adjoint: bool, gather: bool, scatter: bool
) -> None:
    if x.ndim != 4 or not x.is_contiguous(memory_format=torch.channels_last):
        raise ShapeError(
            expected="x to be [M, C, H, W] in channels-last layout",
            got=f"{list(x.shape)} with strides {list(x.stride())}",
            fix="x.contiguous(memory_format=torch.channels_last)",
        )
    taken, made = _channels(plain, adjoint)
    pixels = 4 if gather else 1
    if x.shape[1] * pixels != taken or (gather and (x.shape[2] % 2 or x.shape[3] % 2)):
        wanted = f"[M, {taken / pixels:g}, 2H, 2W]" if gather else f"[M, {taken}, H, W]"
        raise ShapeError(
            expected=f"x to be {wanted} for weights {list(plain.shape)}",
            got=str(list(x.shape)),
            fix="use the images or the weights that belong together",
        )
    blocks = {"C": taken} if gather else {}
    blocks |= {"O": made} if scatter else {}
    for name, channels in blocks.items():
        if channels % (4 * _PACK):
            raise ShapeError(
                expected=f"{name} to be a multiple of {4 * _PACK}, four blocks of whole vectors",
                got=str(channels),
                fix="leave gather and scatter out, and use pixel_shuffle",
            )
    if plain.dtype != x.dtype:
        raise ShapeError(
            expected=f"weights in the dtype of x, {x.dtype}",
            got=str(plain.dtype),
            fix=f"Conv3x3Weights.of(weight.to({x.dtype}))",
        )
    dispatch.check_device("weights", plain, "x", x)
    if bias is not None:
        dispatch.check_shape("bias", bias, (made,), "[O]")
        dispatch.check_dtype("bias", bias, (x.dtype,))
        dispatch.check_device("bias", bias, "x", x)


def _channels(plain: Tensor, adjoint: bool) -> tuple[int, int]:
    """Channels taken and made."""
    made, taken = plain.shape[:2]
    return (made, taken) if adjoint else (taken, made)


def _adjoint(weight: Tensor) -> Tensor:  # [O, C, 3, 3] -> [C, O, 3, 3]
    return weight.transpose(0, 1).flip(2, 3)


def _transformed(weight: Tensor) -> Tensor:  # [O, C, 3, 3] -> [36, packs, C, 16]
    """G w G^T of every pair of channels, for the points 0, +-sqrt(1/2), +-sqrt(2), infinity."""
    rows = [[1.0, 0.0, 0.0]]
    for point, scale in ((math.sqrt(0.5), -1.5), (math.sqrt(2.0), 6.0)):
        # The scale is the derivative of x (x^2 - 1/2) (x^2 - 2) there.
        rows += [[1 / scale, at / scale, at * at / scale] for at in (point, -point)]
    rows.append([0.0, 0.0, 1.0])
    g = torch.tensor(rows, dtype=torch.float64, device=weight.device)
    made, taken = weight.shape[:2]
    u = torch.einsum("ik,ockl,jl->ijoc", g, weight.double(), g).reshape(_FREQUENCIES, made, taken)
    u = F.pad(u, (0, 0, 0, -made % _PACK))
    return u.view(_FREQUENCIES, -1, _PACK, taken).transpose(2, 3).float().contiguous()


def _conv3x3_reference(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    gather: bool,
    scatter: bool,
) -> Tensor:
    """Plain PyTorch; differentiable."""
    if gather:  # [M, C', 2H, 2W] -> [M, 4C', H, W], pixels outermost
        m, c, h, w = x.shape
        x = x.reshape(m, c, h // 2, 2, w // 2, 2).permute(0, 3, 5, 1, 2, 4)
        x = x.reshape(m, 4 * c, h // 2, w // 2)
    y = F.conv2d(x, weight, bias, padding=1)
    if scatter:
        m, o, h, w = y.shape
        y = y.reshape(m, 2, 2, o // 4, h, w).permute(0, 3, 4, 1, 5, 2)
        y = y.reshape(m, o // 4, 2 * h, 2 * w)
    return y.contiguous(memory_format=torch.channels_last)


def _kernel(
    x: Tensor,
    plain: Tensor,
    transformed: Tensor,
    transformed_adjoint: Tensor,
    bias: Tensor | None,
    adjoint: bool,
    gather: bool,
    scatter: bool,
    impl: str | None,
) -> Tensor:
    if dispatch.choose("conv3x3", impl, x) != "native":
        weight = _adjoint(plain) if adjoint else plain
        return _conv3x3_reference(x, weight, bias, gather, scatter)
    out = _fake(x, plain, transformed, transformed_adjoint, bias, adjoint, gather, scatter, impl)
    module = dispatch.extension()
    assert module is not None
    bias = None if bias is None else bias.contiguous()
    m, _, h, w = x.shape
    sides = (h // 2, w // 2) if gather else (h, w)
    module.conv3x3(
        [
            x.data_ptr(),
            (transformed_adjoint if adjoint else transformed).data_ptr(),
            0 if bias is None else bias.data_ptr(),
            out.data_ptr(),
        ],
        [m, *sides, *_channels(plain, adjoint)],
        gather,
        scatter,
        torch.get_num_threads(),
    )
    return out


def _fake(
    x: Tensor,
    plain: Tensor,
    transformed: Tensor,
    transformed_adjoint: Tensor,
    bias: Tensor | None,
    adjoint: bool,
    gather: bool,
    scatter: bool,
    impl: str | None,
) -> Tensor:
    m, _, h, w = x.shape
    made = _channels(plain, adjoint)[1]
    if gather:
        h, w = h // 2, w // 2
    shape = (m, made // 4, 2 * h, 2 * w) if scatter else (m, made, h, w)
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, plain, transformed, transformed_adjoint, _, *form, impl = inputs
    ctx.save_for_backward(plain, transformed, transformed_adjoint)
    ctx.form, ctx.impl = form, impl


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    adjoint, gather, scatter = ctx.form
    grad = grad.contiguous(memory_format=torch.channels_last)
    slope = _conv3x3(grad, *ctx.saved_tensors, None, not adjoint, scatter, gather, ctx.impl)
    return (slope, *[None] * 8)


_conv3x3 = register(
    "conv3x3(Tensor x, Tensor plain, Tensor transformed, Tensor transformed_adjoint, Tensor? bias, "
    "bool adjoint, bool gather, bool scatter, str? impl) -> Tensor",
    _kernel,
    _fake,
    backward=_backward,
    setup_context=_keep,
)
