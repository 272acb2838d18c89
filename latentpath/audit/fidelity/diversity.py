"""How different the images of a set are from each other: mean LPIPS between two of them.

A generator that lost its variety makes images that are all alike, and this number falls below
the real set's. It misses a loss of rare images, which coverage and recall see.

LPIPS is the squared Euclidean distance of embeddings, and the mean squared distance between two
different rows is twice their variance, 2n / (n - 1) (mean |e|^2 - |mean e|^2). So all pairs are
counted, exactly, in one pass over the images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from latentpath.core import Progress, ShapeError, silent
from latentpath.similarity import EMBED_BATCH, EmbeddedImages


@dataclass(frozen=True)
class Diversity:
    """Mean LPIPS between two different images of a set.

    Attributes:
        overall: over all pairs; None for fewer than two images.
        within_class: over the pairs of each class; None for classes of fewer than two images.
    """

    overall: float | None
    within_class: tuple[float | None, ...]

    @property
    def within(self) -> float | None:
        """Mean over the classes of `within_class`; None where no class has two images."""
        present = [value for value in self.within_class if value is not None]
        return float(np.mean(present)) if present else None

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values."""
        return {
            "overall": self.overall,
            "within": self.within,
            "within_class": list(self.within_class),
        }


def intra_set_lpips(
    embedded: EmbeddedImages,
    labels: np.ndarray,  # int64 [n]
    num_classes: int,
    *,
    progress: Progress = silent,
) -> Diversity:
    """Mean LPIPS between two different images of a set, and of each class.

    Args:
        embedded: the images, from `LPIPS.embedded`; kept or not.
        labels: class of each image.
        num_classes: K.
        progress: told after every batch.

    Raises:
        ShapeError: not one label per image.
    """
    if labels.shape != (len(embedded),):
        raise ShapeError(
            expected=f"labels [{len(embedded)}], one per image",
            got=f"{list(labels.shape)}",
            fix="give the labels of the embedded images",
        )
    classes = torch.from_numpy(labels)
    sums, squares = _sums(embedded, classes, num_classes, progress)
    counts = np.bincount(labels, minlength=num_classes)
    rows = zip(sums, squares.tolist(), counts.tolist(), strict=True)
    return Diversity(
        _mean_of_pairs(sums.sum(0), float(squares.sum()), len(labels)),
        tuple(_mean_of_pairs(*row) for row in rows),
    )


def _sums(
    embedded: EmbeddedImages, classes: torch.Tensor, num_classes: int, progress: Progress
) -> tuple[torch.Tensor, torch.Tensor]:
    """Per class the sum of the embeddings [K, F] and of their squared lengths [K]."""
    sums = torch.zeros(num_classes, embedded.width, dtype=torch.float64)
    squares = torch.zeros(num_classes, dtype=torch.float64)
    for start in range(0, len(embedded), EMBED_BATCH):
        stop = min(start + EMBED_BATCH, len(embedded))
        rows = embedded.rows(start, stop).double().cpu()
        sums.index_add_(0, classes[start:stop], rows)
        squares.index_add_(0, classes[start:stop], rows.square().sum(1))
        progress("diversity", stop, len(embedded), {})
    return sums, squares


def _mean_of_pairs(total: torch.Tensor, squares: float, count: int) -> float | None:
    if count < 2:
        return None
    spread = squares / count - float(total @ total) / count**2
    return max(0.0, 2 * count / (count - 1) * spread)
