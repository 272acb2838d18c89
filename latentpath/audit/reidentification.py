"""Does a synthetic image point to one real person?

A point on a walk has no true source person: only the endpoints do, and these are averages over
groups. So "re-identified" cannot mean "the right person was named". Two questions have an answer:

* **Rate** (the headline): the share of images for which the identity classifier puts more than
  `threshold` of its probability on one real person, right or wrong. On the real images, which it
  was trained on, the rate shows how well the classifier recognises people at all; a rate means
  little where that one is low.
* **Linkage**: the share of images for which two witnesses that know nothing of each other name
  the same person: the identity classifier's first (or one of its first five), and the person of
  the LPIPS-nearest real image. It needs no threshold and no calibrated probabilities. Its chance
  level is the agreement of the same answers shuffled among the images of one class, so that
  agreeing on the class alone counts as nothing.

The walk is optimised against the identity classifier, so the rate alone flatters it; linkage
leans on a second witness that the walk never saw, and mmL uses that witness alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from latentpath.data import ImageSet, to_tensor
from latentpath.errors import DataError, ShapeError
from latentpath.progress import Progress, silent

# How many of the classifier's first answers count in the wider linkage.
RANKS = (1, 5)

_BATCH = 256


@dataclass(frozen=True)
class Reidentification:
    """What the identity classifier says about a set of images.

    Attributes:
        rate: share with a largest probability above `threshold`.
        threshold: that probability.
        mean_largest_probability: mean over the images, 1/people for perfect ignorance.
        linkage: share whose first answer is the person of the nearest real image.
        linkage_top5: share with that person among the first five answers.
        linkage_chance: share that `linkage` would be if the answers were shuffled within classes.
        people: N, the number of real people that the classifier tells apart.
    """

    rate: float
    threshold: float
    mean_largest_probability: float
    linkage: float
    linkage_top5: float
    linkage_chance: float
    people: int

    def as_dict(self) -> dict[str, float | int]:
        """Return plain JSON values."""
        return dict(vars(self))


@torch.no_grad()
def reidentify(
    images: ImageSet,
    witness: np.ndarray,  # int64 [n], person of the nearest real image
    identity: Callable[[Tensor], Tensor],  # [M, C, H, W] in [-1, 1] -> [M, N]
    *,
    people: int,
    threshold: float = 0.5,
    device: torch.device | str | None = None,
    progress: Progress = silent,
) -> Reidentification:
    """Measure rate and linkage of a set of images.

    Args:
        images: the synthetic set (or the real one, as the yardstick).
        witness: person of each image's nearest real image, 0 .. N-1.
        identity: the identity classifier over the N real people.
        people: N.
        threshold: probability above which a person counts as named, 0 .. 1.
        device: where the classifier is; where its parameters are if None.
        progress: told after every batch.

    Raises:
        ShapeError: the classifier is not one over N people.
    """
    if device is None:
        device = _device_of(identity)
    largest, answers = [], []
    for start in range(0, len(images), _BATCH):
        logits = identity(to_tensor(images.images[start : start + _BATCH]).to(device))
        if logits.ndim != 2 or logits.shape[1] != people:
            raise ShapeError(
                expected=f"identity logits [M, {people}], one per person of the real set",
                got=f"{list(logits.shape)}",
                fix="use the identity classifier that was trained on this real set",
            )
        if not torch.isfinite(logits).all():
            raise DataError(
                expected="finite identity logits",
                got="NaN or infinity",
                fix="check the identity classifier's weights: nothing can be said with them",
            )
        top = logits.float().softmax(1).topk(min(max(RANKS), people))
        largest.append(top.values[:, 0].cpu().numpy())
        answers.append(top.indices.cpu().numpy())
        progress("re-identification", min(start + _BATCH, len(images)), len(images), {})
    probability = np.concatenate(largest)  # [n]
    answer = np.concatenate(answers)  # [n, 5]
    agrees = answer == witness[:, None]
    return Reidentification(
        rate=float((probability > threshold).mean()),
        threshold=threshold,
        mean_largest_probability=float(probability.mean(dtype=np.float64)),
        linkage=float(agrees[:, : RANKS[0]].any(1).mean()),
        linkage_top5=float(agrees[:, : RANKS[1]].any(1).mean()),
        linkage_chance=chance_agreement(answer[:, 0], witness, images.labels),
        people=people,
    )


def chance_agreement(first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> float:
    """Expected share of agreement when `second` is shuffled among the rows of each label.

    All three are [n]. Within a class of m rows, a person named a times by one witness and b times
    by the other agrees a * b / m times on average.
    """
    expected = 0.0
    for label in np.unique(labels):
        rows = labels == label
        people, place = np.unique(np.stack([first[rows], second[rows]]), return_inverse=True)
        named = place.reshape(2, -1)
        counts = [np.bincount(row, minlength=len(people)).astype(np.float64) for row in named]
        expected += float(counts[0] @ counts[1]) / int(rows.sum())
    return expected / len(labels)


def _device_of(model: Callable[[Tensor], Tensor]) -> torch.device:
    """Where a module's parameters are; the CPU for a plain function."""
    if isinstance(model, torch.nn.Module):
        for parameter in model.parameters():
            return parameter.device
    return torch.device("cpu")
