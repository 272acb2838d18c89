"""A second opinion on closeness: an embedding that shares nothing with LPIPS or any network here.

A set can be far from real people by one measure and close by another, above all if the measure
also steered its making. This embedding therefore has no learnt weights at all and sees
what LPIPS and the walk's classifiers do not see in the same way: where edges run, at three scales,
and how light and dark are spread over the whole image.

- Edges: rectified derivatives in eight directions, averaged over a grid of cells and divided by
  the local energy, so that neither brightness nor contrast matters. Dalal and Triggs, "Histograms
  of oriented gradients for human detection", CVPR 2005; as sums of rectified directional
  derivatives instead of binned angles by Tola, Lepetit and Fua, "DAISY: an efficient dense
  descriptor applied to wide-baseline stereo", PAMI 2010. Cells overlap and scales are coarse, so
  shifts of a pixel, blur and noise move it little.
- Light and dark: the 63 lowest frequencies of the discrete cosine transform (Ahmed, Natarajan and
  Rao, IEEE Transactions on Computers 1974), what perceptual hashes are made from, as shares of the
  image's energy.

Whoever trusts a network more (a foundation model of the field, say) passes it as `embedding`.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentpath.core import InputError, Progress, silent
from latentpath.data import ImageSet
from latentpath.similarity.nearest import RealReference, as_planes
from latentpath.similarity.search import EmbeddedImages

DIRECTIONS = 8

# (times the image is halved, cells along its shorter side)
_SCALES = ((0, 8), (1, 8), (2, 4))

# Images whose shorter side is longer are reduced to it, in pixels: finer detail is not compared.
LARGEST_SIDE = 64

# Frequencies of the cosine transform along each side.
_FREQUENCIES = 8

# Share of the image's mean edge energy that is added to a cell's own before dividing by it: flat
# cells keep their noise small instead of having it blown up to the size of edges.
_FLAT = 0.25

# Squared grey levels (of a range of 2) below which nothing is an edge: a tenth of an 8-bit level.
_NOTHING = 1e-6

# Squared length of a block of the embedding below which it says nothing; usual ones are above 1.
_BLANK = 0.01


class Embedding(Protocol):
    """Turns images float [m, C, H, W] in [-1, 1] into rows [m, F] to be compared.

    Any callable will do; a `torch.nn.Module` must be in evaluation mode, and gets the images on
    its own device. The distance is the squared Euclidean one between rows.
    """

    def __call__(self, images: Tensor, /) -> Tensor: ...


class OrientedGradients:
    """The embedding without learnt weights that this module describes.

    Rows have about length 1, or 0 for a blank image; squared distances run from 0 for equal images,
    and for images that differ in brightness and contrast alone, to about 1 for unrelated ones.

    Example:
        >>> images = torch.rand(2, 1, 28, 28) * 2 - 1
        >>> rows = OrientedGradients()(images)
        >>> rows.shape
        torch.Size([2, 1215])
        >>> bool(torch.allclose(OrientedGradients()(images * 0.5 + 0.2), rows, atol=1e-3))
        True
    """

    def __call__(self, images: Tensor) -> Tensor:
        """Return rows `[m, F]` of images `[m, C, H, W]` in [-1, 1]; F depends on H / W alone."""
        side = min(images.shape[2:])
        if side > LARGEST_SIDE:
            size = [round(n * LARGEST_SIDE / side) for n in images.shape[2:]]
            images = F.interpolate(
                images, size=size, mode="bilinear", align_corners=False, antialias=True
            )
        blocks = [_layout(images)]
        for halvings, cells in _SCALES:
            blocks.append(_edges(images, halvings, cells))
        # Not F.normalize: it would blow the rounding of a blank image up to length 1.
        lengths = [(block.square().sum(1, keepdim=True) + _BLANK).sqrt() for block in blocks]
        parts = [block / length for block, length in zip(blocks, lengths, strict=True)]
        return torch.cat(parts, 1) / len(parts) ** 0.5


def prepare_gradients(
    real: ImageSet,
    embedding: Embedding | None = None,
    *,
    max_bytes: int = 1 << 30,
    progress: Progress = silent,
) -> RealReference:
    """Embed a real set for `latentpath.similarity.nearest` without any learnt weight.

    Args:
        real: the private images.
        embedding: images to rows; `OrientedGradients` if None.
        max_bytes: embeddings that need more are computed again for each comparison.
        progress: told after every batch.

    Raises:
        InputError: the embedding is a module in training mode.
        ShapeError: it does not return one row of floats per image.
    """
    embedding = embedding or OrientedGradients()
    measure = "gradients" if isinstance(embedding, OrientedGradients) else "embedding"
    embedded = EmbeddedImages(
        as_planes(real.images), of_bytes(embedding), max_bytes=max_bytes, progress=progress
    )
    return RealReference(real, embedded, measure)


def of_bytes(embedding: Embedding) -> Embedding:
    """Let an embedding of floats in [-1, 1] take uint8 images, on its own device.

    Raises:
        InputError: the embedding is a module in training mode.
    """
    device = None
    if isinstance(embedding, nn.Module):
        if embedding.training:
            # Dropout and batch statistics would give an image another row each time.
            raise InputError(
                expected="an embedding in evaluation mode",
                got="training mode",
                fix="call its .eval() first",
            )
        device = next((weight.device for weight in embedding.parameters()), None)

    def embed(images: Tensor) -> Tensor:
        return embedding(images.to(device=device, dtype=torch.float32) / 127.5 - 1)

    return embed


def _layout(images: Tensor) -> Tensor:
    """Low frequencies of the orthonormal cosine transform `[m, C * 63]`, for an energy of 1."""
    rows, columns = (_cosines(n, images) for n in images.shape[2:])
    centred = images - images.mean((2, 3), keepdim=True)
    energy = centred.square().sum((1, 2, 3)).add(_NOTHING * images[0].numel()).sqrt()
    low = rows @ centred @ columns.T  # [m, C, 8, 8]
    return low.flatten(2)[:, :, 1:].flatten(1) / energy[:, None]


def _cosines(n: int, like: Tensor) -> Tensor:
    """The first rows `[8, n]` of the orthonormal DCT-II; all n where n is below 8."""
    frequency = torch.arange(min(_FREQUENCIES, n), device=like.device, dtype=like.dtype)[:, None]
    place = torch.arange(n, device=like.device, dtype=like.dtype) + 0.5
    basis = torch.cos(math.pi / n * frequency * place) * (2 / n) ** 0.5
    basis[0] /= 2**0.5
    return basis


def _edges(images: Tensor, halvings: int, cells: int) -> Tensor:
    """Directed edge strength per cell, divided by the local energy: `[m, 8 * rows * columns]`."""
    for _ in range(halvings):
        if min(images.shape[2:]) > 1:
            images = F.avg_pool2d(images, 2, ceil_mode=True)
    m, channels, height, width = images.shape
    planes = F.pad(images, (1, 1, 1, 1), mode="replicate").flatten(0, 1)[:, None]
    steered = F.conv2d(planes, _steered(images)).relu_()  # [m * C, 8, H, W]
    steered = steered.view(m, channels, DIRECTIONS, height, width).sum(1)
    size = round(cells * height / min(height, width)), round(cells * width / min(height, width))
    smooth = F.avg_pool2d(steered, 3, 1, 1, count_include_pad=False)
    strength = F.adaptive_avg_pool2d(smooth, size)  # [m, 8, rows, columns]
    energy = strength.square().sum(1, keepdim=True)
    around = F.avg_pool2d(energy, 3, 1, 1, count_include_pad=False)
    around = around + _FLAT * energy.mean((2, 3), keepdim=True) + _NOTHING
    return (strength / around.sqrt()).flatten(1)


def _steered(like: Tensor) -> Tensor:
    """Derivative filters `[8, 1, 3, 3]` (Sobel's), turned by 45 degrees each."""
    across = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
    angles = torch.arange(DIRECTIONS) * (2 * math.pi / DIRECTIONS)
    filters = angles.cos()[:, None, None] * across + angles.sin()[:, None, None] * across.T
    return filters[:, None].to(like)
