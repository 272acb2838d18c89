"""`fir2d`: a separable filter on every channel of images in channels-last layout."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from latentpath.core import InputError, ShapeError, UnsupportedError
from latentpath.ops import dispatch
from latentpath.ops.registration import refuse_transforms, register

_DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
TAPS = 4


def fir2d(
    x: Tensor,  # [M, C, H, W]
    taps: Sequence[float],  # [4]
    pad: int,
    *,
    impl: str | None = None,
) -> Tensor:  # [M, C, H + 2 pad - 3, W + 2 pad - 3]
    """Filter each channel with `taps` along both axes, `pad` rows of zeros at every border.

    `out[y, x] = sum over i, j of taps[i] taps[j] in[y + i - pad, x + j - pad]`: a correlation,
    whose adjoint is itself with the taps reversed and a pad of 3 - pad. Every image is computed
    alone. Knows no autograd.

    Args:
        x: images in channels-last layout, float32, bfloat16, float16 or float64; sums are taken
            in float32 (float64 for float64).
        taps: four factors, used along both axes.
        pad: rows and columns of zeros on each side, 0 to 3.
        impl: "reference", "native" or "triton" forces an implementation.

    Raises:
        InputError, ShapeError: wrong taps, pad, shape, dtype or layout.
        UnsupportedError: x requires a gradient.

    >>> import torch
    >>> x = torch.tensor([[1.0, 10.0], [100.0, 1000.0]]).reshape(1, 1, 2, 2)
    >>> fir2d(x, [0.0, 1.0, 2.0, 0.0], 1).flatten()  # 1 + 2 * 10 + 2 * 100 + 4 * 1000
    tensor([4221.])
    """
    dispatch.check_dtype("x", x, _DTYPES)
    if x.ndim != 4 or not x.is_contiguous(memory_format=torch.channels_last):
        raise ShapeError(
            expected="x to be [M, C, H, W] in channels-last layout",
            got=f"{list(x.shape)} with strides {list(x.stride())}",
            fix="x.contiguous(memory_format=torch.channels_last)",
        )
    if len(taps) != TAPS or pad not in range(TAPS) or min(x.shape[2:]) + 2 * pad < TAPS:
        raise InputError(
            expected="four taps, pad from 0 to 3, and images that the filter fits on with it",
            got=f"{len(taps)} taps, pad={pad}, images {list(x.shape[2:])}",
            fix="correct that",
        )
    if torch.is_grad_enabled() and x.requires_grad:
        raise UnsupportedError(
            expected="fir2d on a tensor that requires no gradient",
            got="one that does",
            fix="call it under torch.no_grad(), or use plain PyTorch here",
        )
    refuse_transforms("fir2d", x)
    result: Tensor = _fir2d(x, list(taps), pad, impl)
    return result


def _fir2d_reference(x: Tensor, taps: Sequence[float], pad: int) -> Tensor:
    """Plain PyTorch, in float32 at least; differentiable."""
    channels = x.shape[1]
    wide = x if x.dtype == torch.float64 else x.float()
    row = torch.tensor(taps, dtype=wide.dtype, device=x.device)
    rows = row[:, None].expand(channels, 1, TAPS, 1)
    columns = row[None].expand(channels, 1, 1, TAPS)
    y = F.conv2d(wide, columns, padding=(0, pad), groups=channels)
    y = F.conv2d(y, rows, padding=(pad, 0), groups=channels)
    return y.to(x.dtype).contiguous(memory_format=torch.channels_last)


def _kernel(x: Tensor, taps: list[float], pad: int, impl: str | None) -> Tensor:
    chosen = dispatch.choose("fir2d", impl, x)
    if chosen == "native":
        return _native(x, taps, pad)
    if chosen == "triton":
        from latentpath.ops.triton.fir2d_kernel import fir2d as run_triton

        out = _fake(x, taps, pad, None)
        run_triton(x, taps, pad, out)
        return out
    return _fir2d_reference(x, taps, pad)


def _fake(x: Tensor, taps: list[float], pad: int, impl: str | None) -> Tensor:
    m, c, h, w = x.shape
    grown = 2 * pad - TAPS + 1
    shape = (m, c, h + grown, w + grown)
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


def _native(x: Tensor, taps: list[float], pad: int) -> Tensor:
    module = dispatch.extension()
    assert module is not None
    m, c, h, w = x.shape
    out = _fake(x, taps, pad, None)
    module.fir2d(
        x.data_ptr(),
        out.data_ptr(),
        dispatch.dtype_code(x),
        [m, h, w, c],
        list(out.shape[2:]),
        pad,
        taps,
        torch.get_num_threads(),
    )
    return out


_fir2d = register("fir2d(Tensor x, float[] taps, int pad, str? impl) -> Tensor", _kernel, _fake)
