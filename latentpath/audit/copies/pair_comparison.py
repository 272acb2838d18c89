"""How pairs of images are compared: pixel by pixel in any turn, and by normalised correlation.

The correlation of two images where they overlap after one of them is shifted, with mean and
variance taken over the overlap, so that brightness and contrast do not matter: Lewis, "Fast
normalized cross-correlation", Vision Interface 1995, and for overlaps Padfield, "Masked object
registration in the Fourier domain", IEEE TIP 2012. All shifts come from one Fourier transform.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def all_turns(images: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield a number and the images for each way to turn them: bit 0 left-right, 1 up-down, 2 axes.

    Images that are not square keep their axes.
    """
    square = images.shape[1] == images.shape[2]
    for number in range(8 if square else 4):
        turned = images.transpose(0, 2, 1, 3) if number & 4 else images
        turned = turned[:, ::-1] if number & 2 else turned
        turned = turned[:, :, ::-1] if number & 1 else turned
        yield number, np.ascontiguousarray(turned)


def originals(images: np.ndarray, real: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The real image `[n]` that equals each in every pixel, -1 for none, and if it was turned."""
    known: dict[bytes, int] = {}
    for number, image in enumerate(real):
        known.setdefault(digest_of(image), number)
    row, changed = np.full(len(images), -1), np.zeros(len(images), np.int64)
    for turn, turned in reversed([*all_turns(images)]):  # a symmetric image is exact, not flipped
        for number, image in enumerate(turned):
            original = known.get(digest_of(image))
            if original is not None:
                row[number], changed[number] = original, int(turn != 0)
    return row, changed


def digests_of(images: np.ndarray) -> frozenset[bytes]:
    """The digests of images."""
    return frozenset(digest_of(image) for image in images)


def in_any_turn(images: np.ndarray, known: frozenset[bytes]) -> np.ndarray:
    """Which images are, as they are, mirrored or turned, among those known: bool [n]."""
    equal = np.zeros(len(images), dtype=bool)
    for _, turned in all_turns(images):
        equal |= [digest_of(image) in known for image in turned]
    return equal


def digest_of(image: np.ndarray) -> bytes:
    """What an image is known by, pixel by pixel."""
    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()


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


class Side(NamedTuple):
    """Images `[p, C, H, W]` as one side of p pairs, with all that does not need the other side.

    Attributes:
        spectrum: complex [p, C, H'', W''/2 + 1], of the smoothed images less their means.
        sums: [p, C, S, S], over what overlaps after each of S * S shifts.
        variance: [p, S, S], likewise, times the number of pixels.
        enough: bool [p, S, S], whether the overlap holds enough of the image.
        pixels: [S, S], of the overlap.
        size: sides of the transform.
    """

    spectrum: Tensor
    sums: Tensor
    variance: Tensor
    enough: Tensor
    pixels: Tensor
    size: tuple[int, int]

    def of(self, rows: Tensor) -> Side:
        """The same of the images of these rows."""
        return self._replace(
            spectrum=self.spectrum[rows],
            sums=self.sums[rows],
            variance=self.variance[rows],
            enough=self.enough[rows],
        )


def side_of(
    images: Tensor,  # [p, C, H, W]
    variant: Variant = PLAIN,
) -> Side:
    """Prepare images for `correlate`, changed as `variant` says, at their working size."""
    height, width = images.shape[2:]
    side = min(height, width)
    reach = max(1, round(REACH * side)) if side > 1 else 0
    if variant.zoom != 1 or variant.angle != 0:
        images = _moved(images, variant)
    planes = _centred(smoothed(images, SMOOTHING * side * variant.smoothing))
    # Room for every shift; multiples of 8 are quicker than some numbers below them.
    size = (-(-(height + reach) // 8) * 8, -(-(width + reach) // 8) * 8)
    pixels = _overlap_sums(planes.new_ones(1, 1, height, width), reach)[0, 0]
    sums = _overlap_sums(planes, reach)
    variance = (_overlap_sums(planes * planes, reach) - sums**2 / pixels).sum(1)
    whole = planes.square().sum((1, 2, 3))[:, None, None]
    spectrum = torch.fft.rfft2(planes, s=size)
    return Side(spectrum, sums, variance, variance > _CONTENT * whole, pixels, size)


def correlate(first: Side, second: Side) -> Correlation:
    """Correlate pairs at all shifts within reach, and return the best of each pair."""
    reach = first.pixels.shape[0] // 2
    shifts = torch.arange(-reach, reach + 1, device=first.sums.device)
    product = torch.fft.irfft2(first.spectrum * second.spectrum.conj(), s=first.size)
    product = product[..., shifts % first.size[0], :][..., shifts % first.size[1]]
    # A shift that moves the first image forth moves the second one back.
    covariance = (product - first.sums * second.sums.flip(2, 3) / first.pixels).sum(1)  # [p, S, S]
    variance = second.variance.flip(1, 2)
    scale = (first.variance.clamp_min(0) * variance.clamp_min(0)).sqrt()
    usable = first.enough & second.enough.flip(1, 2) & (scale > 1e-6 * first.pixels)
    value = torch.where(usable, (covariance / scale.clamp_min(1e-12)).abs(), 0.0).flatten(1)
    best, place = value.max(1)
    middle = value.shape[1] // 2
    # A tie with no shift at all is no shift.
    return Correlation(best.clamp(max=1), (place != middle) & (value[:, middle] < best))


def smoothed(images: Tensor, deviation: float) -> Tensor:
    """Blur `[p, C, H, W]` with a Gaussian of `deviation` pixels, edges repeated."""
    kind = images.dtype, images.device
    rows, columns = (_blur(size, deviation, *kind) for size in images.shape[2:])
    return rows @ images @ columns.T


@lru_cache
def _blur(size: int, deviation: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The matrix `[size, size]` that blurs a column of so many pixels."""
    radius = math.ceil(3 * deviation)
    place = torch.arange(-radius, radius + 1, device=device)
    weights = torch.exp(-0.5 * (place.to(dtype) / deviation) ** 2)
    pixels = (torch.arange(size, device=device)[:, None] + place).clamp(0, size - 1)
    blur = torch.zeros(size, size, dtype=dtype, device=device)
    return blur.scatter_add_(1, pixels, (weights / weights.sum()).expand(size, -1))


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
    grid = F.affine_grid(affine[None], [1, *images.shape[1:]], align_corners=False)
    grid = grid.expand(len(images), -1, -1, -1)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _overlap_sums(planes: Tensor, reach: int) -> Tensor:
    """Sums `[p, C, 2 reach + 1, 2 reach + 1]` over the part that overlaps after every shift."""
    kind = planes.dtype, planes.device
    rows, columns = (_overlaps(size, reach, *kind) for size in planes.shape[2:])
    return rows @ planes @ columns.T


@lru_cache
def _overlaps(size: int, reach: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Which of `size` pixels still lie on an image after every shift, `[2 reach + 1, size]`."""
    pixel = torch.arange(size, device=device)
    start = torch.arange(-reach, reach + 1, device=device)[:, None]
    return ((pixel >= start) & (pixel < size + start)).to(dtype)
