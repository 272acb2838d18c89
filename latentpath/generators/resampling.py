"""Filters that change a signal's sampling rate, with derivatives as fast as themselves.

PyTorch's own derivative of a depthwise convolution takes many times as long as the convolution
(measured: 30 times on a CPU). But the adjoint of filtering and thinning out is spreading and
filtering, so the derivative of one resampling is another one, run by the same fast code.

StyleGAN3's low-pass filters are Kaiser-windowed sinc filters, and their rotation-symmetric form.
Source: Karras et al., "Alias-Free Generative Adversarial Networks", NeurIPS 2021, appendix C; the
window's parameter after Kaiser, "Nonrecursive digital filter design using the I0-sinh window
function", ISCAS 1974.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from latentpath.core import InputError

Pair = tuple[int, int]  # rows, columns


def resample(
    x: Tensor,  # [M, C, H, W]
    taps: Tensor,  # [K, L]
    up: Pair,
    down: Pair,
    lead: Pair,
    size: Pair,
) -> Tensor:  # [M, C, *size]
    """Spread x by `up` with zeros between, convolve with `taps`, keep every `down`-th value.

    Along each axis `y[j] = sum_i x[i] taps[j * down + lead - i * up]`, where taps beyond their ends
    are zero: `lead` is the tap that the first value has in the first result.

    Args:
        x: what is resampled.
        taps: the filter, of which no gradient is kept.
        up: factors by which rows and columns become more; 1 along an axis where `down` is not.
        down: factors by which they become fewer.
        lead: see above.
        size: rows and columns of the result.
    """
    return _Resampling.apply(x, taps, up, down, lead, size)


def resample_separably(
    x: Tensor,  # [M, C, H, W]
    taps: Tensor,  # [K]
    up: int,
    down: int,
    lead: Pair,
    size: Pair,
) -> Tensor:  # [M, C, *size]
    """`resample` with the same one-dimensional filter along both axes, one after the other."""
    rows, columns = taps[:, None], taps[None, :]
    x = resample(x, rows, (up, 1), (down, 1), (lead[0], 0), (size[0], x.shape[3]))
    return resample(x, columns, (1, up), (1, down), (0, lead[1]), size)


class _Resampling(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, taps: Tensor, up: Pair, down: Pair, lead: Pair, size: Pair) -> Tensor:
        taps = taps.to(x.dtype)
        if up == (1, 1):
            return _thin_out(x, taps, down, lead, size)
        return _spread(x, taps, up, lead, size)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, taps, ctx.up, ctx.down, lead, _ = inputs
        ctx.save_for_backward(taps)
        ctx.lead = tuple(k - 1 - first for k, first in zip(taps.shape, lead, strict=True))
        ctx.size = tuple(x.shape[2:])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (taps,) = ctx.saved_tensors
        back = resample(gradient, taps.flip(0, 1), ctx.down, ctx.up, ctx.lead, ctx.size)
        return back, None, None, None, None, None


def _thin_out(x: Tensor, taps: Tensor, down: Pair, lead: Pair, size: Pair) -> Tensor:
    channels, (k, columns) = x.shape[1], taps.shape
    ends = [
        (n - 1) * step + t - have - (t - 1 - first)
        for n, step, t, have, first in zip(size, down, taps.shape, x.shape[2:], lead, strict=True)
    ]
    x = _framed(x, [k - 1 - lead[0], columns - 1 - lead[1]], ends)
    kernel = taps.flip(0, 1).expand(channels, 1, k, columns)
    return F.conv2d(x, kernel, stride=down, groups=channels)


def _spread(x: Tensor, taps: Tensor, up: Pair, lead: Pair, size: Pair) -> Tensor:
    """One short filter for each place between the values, and the results woven together."""
    # With zeros before and after, both `lead` and the number of taps are multiples of `up`.
    before = [-first % step for first, step in zip(lead, up, strict=True)]
    after = [-(t + b) % step for t, b, step in zip(taps.shape, before, up, strict=True)]
    taps = F.pad(taps, [before[1], after[1], before[0], after[0]])
    (m, channels, *have), phases = x.shape, up[0] * up[1]
    k = [taps.shape[axis] // up[axis] for axis in (0, 1)]
    kernel = taps.reshape(k[0], up[0], k[1], up[1]).permute(1, 3, 0, 2).reshape(phases, 1, *k)
    kernel = kernel.flip(2, 3).repeat(channels, 1, 1, 1)
    blocks = [-(-n // step) for n, step in zip(size, up, strict=True)]
    starts = [
        n - 1 - (first + b) // step for n, first, b, step in zip(k, lead, before, up, strict=True)
    ]
    ends = [
        n + t - 1 - length - start
        for n, t, length, start in zip(blocks, k, have, starts, strict=True)
    ]
    y = F.conv2d(_framed(x, starts, ends), kernel, groups=channels)
    y = y.view(m, channels, *up, *blocks).permute(0, 1, 4, 2, 5, 3)
    y = y.reshape(m, channels, blocks[0] * up[0], blocks[1] * up[1])
    return y[:, :, : size[0], : size[1]]


def _framed(x: Tensor, starts: list[int], ends: list[int]) -> Tensor:
    """x with so many rows and columns of zeros before and after it; fewer than 0 are cut off."""
    zeros = [max(n, 0) for n in (starts[1], ends[1], starts[0], ends[0])]
    if any(zeros):
        x = F.pad(x, zeros)
    cuts = [
        slice(max(-start, 0), length - max(-end, 0))
        for start, end, length in zip(starts, ends, x.shape[2:], strict=True)
    ]
    return x[:, :, cuts[0], cuts[1]]


_MOST_TAPS = 1 << 16


def lowpass_filter(
    taps: int, cutoff: float, width: float, sampling_rate: float, radial: bool = False
) -> Tensor | None:
    """A low-pass filter of unit sum, [taps], or [taps, taps] if `radial`; None for one tap.

    Args:
        taps: its length.
        cutoff: where its answer falls to a half, in the unit of `sampling_rate`.
        width: of the transition band about the cutoff.
        sampling_rate: of the signal that it filters.
        radial: symmetric under rotation, the two-dimensional ideal filter (a jinc) under a
            separable window; else it is meant to be applied along both axes.
    """
    if taps == 1:
        return None
    if taps ** (2 if radial else 1) > _MOST_TAPS:
        raise InputError(
            expected=f"a filter of at most {_MOST_TAPS:,} taps",
            got=f"{taps:,}{' times as many' if radial else ''}",
            fix="choose a smaller filter_size, or more layers from the first cutoff to the last",
        )
    position = (np.arange(taps) - (taps - 1) / 2) / sampling_rate
    window = np.kaiser(taps, kaiser_beta(taps, width / (sampling_rate / 2)))
    if radial:
        radius = np.hypot(position[:, None], position[None, :])
        kernel = _jinc(radius, cutoff) * np.outer(window, window)
    else:
        kernel = np.sinc(2 * cutoff * position) * window
    return torch.from_numpy((kernel / kernel.sum()).astype(np.float32))


def kaiser_beta(taps: int, width: float) -> float:
    """The window's parameter for a transition of `width`, as a share of half the sampling rate."""
    attenuation = 2.285 * (taps - 1) * math.pi * width + 7.95  # decibels
    if attenuation > 50:
        return 0.1102 * (attenuation - 8.7)
    if attenuation > 21:
        return 0.5842 * (attenuation - 21) ** 0.4 + 0.07886 * (attenuation - 21)
    return 0.0


def _jinc(radius: np.ndarray, cutoff: float) -> np.ndarray:
    """J1(2 pi f r) / (pi r): the impulse response of an ideal disc of frequencies."""
    angle = torch.from_numpy(2 * math.pi * cutoff * radius)  # NumPy has no Bessel functions
    bessel = torch.special.bessel_j1(angle).numpy()
    centre = radius == 0  # the tap in the middle of an odd number; J1(x) ~ x / 2
    return np.where(centre, cutoff, bessel / (math.pi * np.where(centre, 1.0, radius)))
