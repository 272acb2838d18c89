"""Low-pass filters of StyleGAN3: Kaiser-windowed sinc filters, and their rotation-symmetric form.

Source: Karras et al., "Alias-Free Generative Adversarial Networks", NeurIPS 2021, appendix C; the
window's parameter after Kaiser, "Nonrecursive digital filter design using the I0-sinh window
function", ISCAS 1974.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from latentpath.core import InputError

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
