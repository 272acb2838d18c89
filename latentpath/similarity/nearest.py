"""How close synthetic images come to real people: distance to the nearest real image.

By LPIPS its mean over a synthetic set is mmL, the measure of Pennisi et al., "A Privacy-Preserving
Walk in the Latent Space of Generative Models for Medical Applications", MICCAI 2023. A mean hides
its worst samples, so quantiles and the closest pairs stand beside it.
`latentpath.similarity.gradients` prepares the same measures in an embedding that shares nothing
with LPIPS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from latentpath.core import InputError, Progress, ShapeError, silent
from latentpath.data import ImageSet
from latentpath.similarity.lpips_network import LPIPS
from latentpath.similarity.search import EmbeddedImages, nearest_rows, nearest_rows_of_each

QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95)

# Blocks of the search beside what a reference keeps; larger ones are hardly faster.
SEARCH_BYTES = 1 << 28
# What the embeddings of a real set that are kept for it may take.
KEPT_BYTES = 1 << 30


@dataclass(frozen=True, eq=False)
class RealReference:
    """Real images, embedded once for every comparison; by `prepare_real` or `prepare_gradients`.

    Attributes:
        images: the real set.
        embedded: its embeddings, kept in memory or computed again, as memory allows.
        measure: name of the distance, the squared Euclidean one between embeddings.
        others: what `nearest_other_person` found, once it was asked.
    """

    images: ImageSet
    embedded: EmbeddedImages
    measure: str = "lpips"
    others: list[NearestReal] = field(default_factory=list, init=False, repr=False)


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The k nearest real images of every image, nearest first, ties by row number.

    Attributes:
        distance: float32 [n, k], ascending along k.
        index: int64 [n, k], rows of the real set. They name people: keep them with the data
            holder.
    """

    distance: np.ndarray  # [n, k]
    index: np.ndarray  # [n, k]


@dataclass(frozen=True, eq=False)
class NearestReal:
    """Distance of every image of a set to its nearest real image.

    Attributes:
        distance: float32 [n], in units of the measure.
        index: int64 [n], row of the nearest image in the real set. It names a person: keep it
            with the data holder.
        measure: name of the distance.
        neighbours: the k nearest of every image, where more than the nearest were asked for.
    """

    distance: np.ndarray  # [n]
    index: np.ndarray  # [n]
    measure: str = "lpips"
    neighbours: Neighbours | None = None

    @property
    def mean(self) -> float:
        """The mean distance; by LPIPS this is mmL."""
        return float(self.distance.mean(dtype=np.float64))

    def quantile(self, q: float) -> float:
        """The distance below which a share `q` of the images lies."""
        return float(np.quantile(self.distance, q))

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values, without the rows of the nearest real images."""
        quantiles = {f"{q:g}": self.quantile(q) for q in QUANTILES}
        return {f"mean_{self.measure}_to_nearest_real": self.mean, "quantiles": quantiles}


def prepare_real(
    real: ImageSet,
    lpips: LPIPS | None = None,
    *,
    max_bytes: int = KEPT_BYTES,
    progress: Progress = silent,
) -> RealReference:
    """Embed a real set once by LPIPS, for any number of audits against it.

    Args:
        real: the private images.
        lpips: the measure; the weights that ship if None.
        max_bytes: embeddings that need more are computed again for each comparison.
        progress: told after every batch.
    """
    lpips = lpips or LPIPS.load()
    embedded = lpips.embedded(as_planes(real.images), max_bytes=max_bytes, progress=progress)
    return RealReference(real, embedded)


def nearest_real(
    images: np.ndarray,  # uint8 [n, H, W, C]
    reference: RealReference,
    *,
    k: int = 1,
    max_bytes: int = SEARCH_BYTES,
    progress: Progress = silent,
) -> NearestReal:
    """Find the nearest real image of every image.

    Args:
        images: the images in question; they need not fit into memory as embeddings.
        reference: the real set, prepared.
        k: neighbours that the result keeps for each image, 1..N.
        max_bytes: bound on the blocks that are worked on, beside what the reference keeps.
        progress: told after every block of images, as "nearest".

    Raises:
        ShapeError: the images' size is not the real set's.
        InputError: k is not in 1..N, or there are no images.
    """
    neighbours = nearest_neighbours(images, reference, k, max_bytes=max_bytes, progress=progress)
    first = neighbours.distance[:, 0], neighbours.index[:, 0]
    return NearestReal(*first, reference.measure, neighbours if k > 1 else None)


def nearest_neighbours(
    images: np.ndarray,  # uint8 [n, H, W, C]
    reference: RealReference,
    k: int,
    *,
    max_bytes: int = SEARCH_BYTES,
    progress: Progress = silent,
) -> Neighbours:
    """Find the k nearest real images of every image; arguments as for `nearest_real`."""
    return _search(_queries(images, reference), reference, k, max_bytes, progress)


def nearest_real_of_each(
    sets: Sequence[np.ndarray],  # uint8 [n, H, W, C] each
    reference: RealReference,
    *,
    max_bytes: int = SEARCH_BYTES,
) -> list[NearestReal]:
    """`nearest_real` of several sets of images, each as it would be alone.

    A reference that is not kept is embedded for all of them together, as far as memory allows.
    """
    queries = [_queries(images, reference) for images in sets]
    found = nearest_rows_of_each(queries, reference.embedded, max_bytes=max_bytes)
    numpy = ((d[:, 0].cpu().numpy(), i[:, 0].cpu().numpy()) for d, i in found)
    return [NearestReal(distance, index, reference.measure) for distance, index in numpy]


def nearest_other_person(
    reference: RealReference, *, max_bytes: int = SEARCH_BYTES, progress: Progress = silent
) -> NearestReal | None:
    """Find, for every real image, the nearest image of another person; None for one person.

    This is how close real people are to each other: the yardstick for `nearest_real`. The gate and
    the audit ask for it: the reference remembers the answer. The progress is told of it as "nearest
    people", from the beginning: it takes as long as embedding did.
    """
    if reference.others:
        return reference.others[0]
    people = reference.images.identities  # [n]
    most = int(np.bincount(people).max())
    if most == len(people):
        return None

    def tell(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        progress("nearest people", done, total, {})  # its figure is of images and themselves

    tell("", 0, len(people), {})
    # Among one more neighbour than any person has images, one at least is somebody else's.
    near = _search(reference.embedded, reference, most + 1, max_bytes, tell)
    first = (people[near.index] != people[:, None]).argmax(1)[:, None]  # [n, 1]
    distance = np.take_along_axis(near.distance, first, 1)[:, 0]
    index = np.take_along_axis(near.index, first, 1)[:, 0]
    reference.others.append(NearestReal(distance, index, reference.measure))
    return reference.others[0]


def nearest_along_paths(
    paths: Sequence[np.ndarray] | np.ndarray,  # B x uint8 [T, H, W, C]
    reference: RealReference,
    *,
    max_bytes: int = SEARCH_BYTES,
    progress: Progress = silent,
) -> np.ndarray:
    """Distance to the nearest real image for every point of B paths of T images each.

    Returns:
        float32 [B, T].
    """
    stacked = np.stack(list(paths))  # [B, T, H, W, C]
    flat = stacked.reshape(-1, *stacked.shape[2:])
    near = nearest_real(flat, reference, max_bytes=max_bytes, progress=progress)
    return near.distance.reshape(stacked.shape[:2])


def as_planes(images: np.ndarray) -> torch.Tensor:
    """uint8 [n, H, W, C] as the uint8 tensor [n, C, H, W]: the same memory, seen otherwise."""
    return torch.from_numpy(images.transpose(0, 3, 1, 2))


def check_same_size(images: np.ndarray, real: np.ndarray) -> None:
    """Raise ShapeError unless both are images of one size and one number of channels."""
    if images.ndim != 4 or images.shape[1:] != real.shape[1:]:
        raise ShapeError(
            expected=f"images of the real set's size {list(real.shape[1:])}",
            got=f"{list(images.shape[1:])}",
            fix="resize one of the sets, for example with latentpath.data.resize_images",
        )


def first_of_each(
    person: np.ndarray,  # [n, k]
) -> np.ndarray:
    """Where in its row a person is listed for the first time: bool [n, k]."""
    order = np.argsort(person, axis=1, kind="stable")
    ordered = np.take_along_axis(person, order, 1)
    first = np.ones(person.shape, dtype=bool)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    near = np.empty_like(first)
    np.put_along_axis(near, order, first, 1)
    return near


def _queries(images: np.ndarray, reference: RealReference) -> EmbeddedImages:
    """Images to look for; each is embedded once, so that nothing is kept."""
    check_same_size(images, reference.images.images)
    if len(images) == 0:
        raise InputError(
            expected="at least one image", got="none", fix="drop empty sets before the audit"
        )
    return EmbeddedImages(as_planes(images), reference.embedded.embed, max_bytes=0)


def _search(
    queries: EmbeddedImages,
    reference: RealReference,
    k: int,
    max_bytes: int,
    progress: Progress,
) -> Neighbours:
    distance, index = nearest_rows(
        queries, reference.embedded, k, max_bytes=max_bytes, progress=progress
    )
    return Neighbours(distance.cpu().numpy(), index.cpu().numpy())
