"""Normalised cross-correlation of image pairs over shifts, blur and scale.

The correlation of two images where they overlap after one of them is shifted, with mean and
variance taken over the overlap, so that brightness and contrast do not matter: Lewis, "Fast
normalized cross-correlation", Vision Interface 1995, and for overlaps Padfield, "Masked object
registration in the Fourier domain", IEEE TIP 2012. All shifts come from one Fourier transform.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

# Images whose shorter side is longer are reduced to it before they are compared, in pixels.
LARGEST_SIDE = 64

# Largest shift along each axis, as a share of the shorter side.
REACH = 1 / 8

# Smoothing of both images before they are compared, as a share of the shorter side (the standard
# deviation of a Gaussian): below it there is more noise than likeness.
SMOOTHING = 1 / 28

# An overlap with less than this share of an image's variance says little about the image.
_CONTENT = 0.5


class Variant(NamedTuple):
    """How the second image of a pair is changed before the comparison, to undo a change."""

    smoothing: float = 1.0  # of the second image, relative to SMOOTHING
    zoom: float = 1.0
    angle: float = 0.0  # degrees


# A copy that was blurred matches its original blurred likewise, one that was cropped and enlarged
# the original enlarged likewise, one that was scanned askew the original tilted likewise.
PLAIN = Variant()
VARIANTS = (
    PLAIN,
    *(Variant(smoothing) for smoothing in (2**0.5, 1.8, 2.4)),
    *(Variant(zoom=zoom) for zoom in (1.07, 0.93)),
    *(Variant(angle=angle) for angle in (-8.0, -4.0, 4.0, 8.0)),
)


class Correlation(NamedTuple):
    """The best match of each of p pairs.

    Attributes:
        value: [p], 0 .. 1, the size of the correlation, so that a negative matches its positive;
            0 also where there is nothing to compare.
        shifted: bool [p], whether it needed a shift.
    """

    value: Tensor
    shifted: Tensor


def working_size(images: Tensor) -> Tensor:
    """Return float `[p, C, H', W']` with the shorter side at most `LARGEST_SIDE`."""
    images = images.float()
    side = min(images.shape[2:])
    if side <= LARGEST_SIDE:
        return images
    size = [round(n * LARGEST_SIDE / side) for n in images.shape[2:]]
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False, antialias=True)


def correlate(
    first: Tensor,  # [p, C, H, W]
    second: Tensor,  # [p, C, H, W]
    variant: Variant = PLAIN,
) -> Correlation:
    """Correlate pairs at all shifts within reach, and return the best of each pair.

    Args:
        first: one image of each pair, at its working size.
        second: the other, which is changed as `variant` says.
        variant: see `VARIANTS`.
    """
    height, width = first.shape[2:]
    side = min(height, width)
    reach = max(1, round(REACH * side)) if side > 1 else 0
    if variant.zoom != 1 or variant.angle != 0:
        second = _moved(second, variant)
    a = _centred(smoothed(first, SMOOTHING * side))
    b = _centred(smoothed(second, SMOOTHING * side * variant.smoothing))
    size = (height + reach, width + reach)
    spectrum = torch.fft.rfft2(a, s=size) * torch.fft.rfft2(b, s=size).conj()
    shifts = torch.arange(-reach, reach + 1, device=a.device)
    product = torch.fft.irfft2(spectrum, s=size)[..., shifts % size[0], :][..., shifts % size[1]]
    pixels = _overlap_sums(a.new_ones(1, 1, height, width), reach)
    # A shift that moves the first image forth moves the second one back.
    sums = _overlap_sums(a, reach), _overlap_sums(b, reach).flip(2, 3)
    squares = _overlap_sums(a * a, reach), _overlap_sums(b * b, reach).flip(2, 3)
    covariance = (product - sums[0] * sums[1] / pixels).sum(1)  # [p, shifts, shifts]
    variances = [
        (square - part**2 / pixels).sum(1) for part, square in zip(sums, squares, strict=True)
    ]
    enough = [
        variance > _CONTENT * image.square().sum((1, 2, 3))[:, None, None]
        for variance, image in zip(variances, (a, b), strict=True)
    ]
    scale = (variances[0].clamp_min(0) * variances[1].clamp_min(0)).sqrt()
    usable = enough[0] & enough[1] & (scale > 1e-6 * pixels[0])
    value = torch.where(usable, (covariance / scale.clamp_min(1e-12)).abs(), 0.0).flatten(1)
    best, place = value.max(1)
    middle = value.shape[1] // 2
    # A tie with no shift at all is no shift.
    return Correlation(best.clamp(max=1), (place != middle) & (value[:, middle] < best))


def smoothed(images: Tensor, deviation: float) -> Tensor:
    """Blur `[p, C, H, W]` with a Gaussian of `deviation` pixels, edges repeated."""
    radius = math.ceil(3 * deviation)
    place = torch.arange(-radius, radius + 1, device=images.device, dtype=images.dtype)
    weights = torch.exp(-0.5 * (place / deviation) ** 2)
    weights = (weights / weights.sum()).expand(images.shape[1], 1, 1, -1)
    images = F.pad(images, (radius,) * 4, mode="replicate")
    images = F.conv2d(images, weights, groups=images.shape[1])
    return F.conv2d(images, weights.transpose(2, 3), groups=images.shape[1])


def _centred(images: Tensor) -> Tensor:
    """Subtract each image's mean: the sums below then cancel little."""
    return images - images.mean((2, 3), keepdim=True)


def _moved(images: Tensor, variant: Variant) -> Tensor:
    """Enlarge and turn around the middle, at the same size; beyond the edge it is repeated."""
    height, width = images.shape[2:]
    turn = math.radians(variant.angle)
    along, across = math.cos(turn) / variant.zoom, math.sin(turn) / variant.zoom
    # Coordinates run from -1 to 1 along both sides, however long: angles are those of pixels.
    affine = torch.tensor(
        [[along, -across * height / width, 0.0], [across * width / height, along, 0.0]],
        device=images.device,
    )
    grid = F.affine_grid(affine.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _overlap_sums(planes: Tensor, reach: int) -> Tensor:
    """Sums `[p, C, 2 reach + 1, 2 reach + 1]` over the part that overlaps after every shift."""
    height, width = planes.shape[2:]
    # Running sums in float64: differences of large sums are taken below.
    table = F.pad(planes.double().cumsum(3).cumsum(2), (1, 0, 1, 0))
    shift = torch.arange(-reach, reach + 1, device=planes.device)
    low = shift.clamp_min(0)
    high = shift.clamp_max(0)

    def corner(rows: Tensor, columns: Tensor) -> Tensor:
        return table[:, :, rows][..., columns]

    bottom, right = height + high, width + high
    total = corner(bottom, right) - corner(low, right) - corner(bottom, low) + corner(low, low)
    return total.to(planes.dtype)
