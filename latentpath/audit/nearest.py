"""How close synthetic images come to real people: LPIPS to the nearest real image.

Its mean over a synthetic set is mmL, the measure of Pennisi et al., "A Privacy-Preserving Walk in
the Latent Space of Generative Models for Medical Applications", MICCAI 2023. A mean hides its
worst samples, so quantiles stand beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from latentpath.data import ImageSet
from latentpath.errors import ShapeError
from latentpath.models.embedding_search import EmbeddedImages
from latentpath.models.lpips import LPIPS
from latentpath.progress import Progress, silent

QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, eq=False)
class RealReference:
    """Real images, embedded once for every comparison with them; made by `prepare_real`.

    Attributes:
        images: the real set.
        embedded: its LPIPS embeddings, kept in memory or computed again, as memory allows.
        lpips: the measure.
    """

    images: ImageSet
    embedded: EmbeddedImages
    lpips: LPIPS


@dataclass(frozen=True, eq=False)
class NearestReal:
    """LPIPS distance of every image of a set to its nearest real image.

    Attributes:
        distance: float32 [n], LPIPS.
        index: int64 [n], row of the nearest image in the real set. It names a person: keep it
            with the data holder.
    """

    distance: np.ndarray  # [n]
    index: np.ndarray  # [n]

    @property
    def mean(self) -> float:
        """The mean distance: mmL."""
        return float(self.distance.mean(dtype=np.float64))

    def quantile(self, q: float) -> float:
        """The distance below which a share `q` of the images lies."""
        return float(np.quantile(self.distance, q))

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values, without the rows of the nearest real images."""
        quantiles = {f"{q:g}": self.quantile(q) for q in QUANTILES}
        return {"mean_lpips_to_nearest_real": self.mean, "quantiles": quantiles}


def prepare_real(
    real: ImageSet,
    lpips: LPIPS | None = None,
    *,
    max_bytes: int = 1 << 30,
    progress: Progress = silent,
) -> RealReference:
    """Embed a real set once, for any number of audits against it.

    Args:
        real: the private images.
        lpips: the measure; the weights that ship if None.
        max_bytes: embeddings that need more are computed again for each comparison.
        progress: told after every batch.
    """
    lpips = lpips or LPIPS.load()
    embedded = lpips.embedded(as_planes(real.images), max_bytes=max_bytes, progress=progress)
    return RealReference(real, embedded, lpips)


def nearest_real(
    images: np.ndarray,  # uint8 [n, H, W, C]
    reference: RealReference,
    *,
    max_bytes: int = 1 << 30,
    progress: Progress = silent,
) -> NearestReal:
    """Find the nearest real image of every image.

    Raises:
        ShapeError: the images' size is not the real set's.
    """
    check_same_size(images, reference.images.images)
    distance, index = reference.lpips.nearest(
        as_planes(images), reference.embedded, max_bytes=max_bytes, progress=progress
    )
    return NearestReal(distance[:, 0].cpu().numpy(), index[:, 0].cpu().numpy())


def nearest_other_person(
    reference: RealReference, *, max_bytes: int = 1 << 30, progress: Progress = silent
) -> NearestReal | None:
    """Find, for every real image, the nearest image of another person; None for one person.

    This is how close real people are to each other: the yardstick for `nearest_real`.
    """
    people = reference.images.identities  # [n]
    most = int(np.bincount(people).max())
    if most == len(people):
        return None
    # Among one more neighbour than any person has images, one at least is somebody else's.
    distance, index = (
        found.cpu().numpy()
        for found in reference.lpips.nearest(
            reference.embedded, reference.embedded, most + 1, max_bytes=max_bytes, progress=progress
        )
    )
    first = (people[index] != people[:, None]).argmax(1)[:, None]  # [n, 1]
    return NearestReal(
        np.take_along_axis(distance, first, 1)[:, 0], np.take_along_axis(index, first, 1)[:, 0]
    )


def nearest_along_paths(
    paths: Sequence[np.ndarray] | np.ndarray,  # B x uint8 [T, H, W, C]
    reference: RealReference,
    *,
    max_bytes: int = 1 << 30,
    progress: Progress = silent,
) -> np.ndarray:
    """LPIPS to the nearest real image for every point of B paths of T images each.

    Returns:
        float32 [B, T].
    """
    stacked = np.stack(list(paths))  # [B, T, H, W, C]
    flat = stacked.reshape(-1, *stacked.shape[2:])
    found = nearest_real(flat, reference, max_bytes=max_bytes, progress=progress)
    return found.distance.reshape(stacked.shape[:2])


def as_planes(images: np.ndarray) -> torch.Tensor:
    """uint8 [n, H, W, C] as the uint8 tensor [n, C, H, W], a quarter of the memory of floats."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def check_same_size(images: np.ndarray, real: np.ndarray) -> None:
    """Raise ShapeError unless both are images of one size and one number of channels."""
    if images.ndim != 4 or images.shape[1:] != real.shape[1:]:
        raise ShapeError(
            expected=f"images of the real set's size {list(real.shape[1:])}",
            got=f"{list(images.shape[1:])}",
            fix="resize one of the sets, for example with latentpath.data.resize_images",
        )
