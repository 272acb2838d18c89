"""Does a synthetic image point to one real person?

A point on a walk has no true source person: only the endpoints do, and these are averages over
groups. So "re-identified" cannot mean "the right person was named". Two questions have an answer:

* **Rate** (the headline): the share of images for which the identity classifier puts more than
  `threshold` of its probability on one real person, right or wrong. On the real images, which it
  was trained on, the rate shows how well the classifier recognises people at all; a rate means
  little where that one is low.
* **Linkage**: the share of images for which two measures that know nothing of each other name
  the same person: the identity classifier's first (or one of its first five), and the person of
  the LPIPS-nearest real image. It needs no threshold and no calibrated probabilities. Its chance
  level is the agreement of the same answers shuffled among the images of one class, so that
  agreeing on the class alone counts as nothing.

The walk is optimised against the identity classifier, so the rate alone flatters it; linkage
leans on a distance that the walk never saw, and mmL uses that distance alone.

Three more questions can be asked where there is more to go by:

* **Sources**: where the people behind each image are known (those of the walk's two end groups),
  "identified" means that one of them is named, at rank 1 or among the first five.
* **Calibrated naming**: the share of images named above the threshold that names 1% of a holdout,
  so that an over-confident classifier does not decide.
* **A witness** (`latentpath.training.train_witness`): all of this once more with a
  classifier of another kind, which the walk never met, and how often the two name the same person.

For real images of known people, such as held-out images of the people the classifiers were
trained on, `nearest_people` are these, and linkage is plain rank-1 and rank-5 identification: what
the classifiers can do where there is somebody to be found.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from latentpath.audit.recognition.identity_answers import (
    Agreement,
    Answers,
    CalibratedNaming,
    agreement,
    ask,
    calibrated_naming,
)
from latentpath.audit.statistics.intervals import Interval, share
from latentpath.core import Progress, silent
from latentpath.data import ImageSet

if TYPE_CHECKING:
    from latentpath.audit.audit_setup import IdentityClassifier


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
        rate_interval: of `rate`.
        nearest: linkage at rank 1 and 5 with intervals and chance.
        sources: identification of the people behind each image; None where they are unknown.
        naming: calibrated on a holdout; None without one.
        witness: the same by the witness; None without one.
        classifiers: how often the identity classifier names whom the witness names first; None
            without one.
        classifier: whose answers they are, those of the "identity" classifier or of the "witness".
    """

    rate: float
    threshold: float
    mean_largest_probability: float
    linkage: float
    linkage_top5: float
    linkage_chance: float
    people: int
    rate_interval: Interval | None = None
    nearest: Agreement | None = None
    sources: Agreement | None = None
    naming: CalibratedNaming | None = None
    witness: Reidentification | None = None
    classifiers: Agreement | None = None
    classifier: str = "identity"

    @property
    def who(self) -> str:
        """The classifier in words."""
        return "The witness" if self.classifier == "witness" else "The identity classifier"

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values; what was not measured is left out."""
        plain = {
            name: value for name, value in vars(self).items() if isinstance(value, (int, float))
        }
        nested = {
            name: value.as_dict()
            for name in (
                "rate_interval",
                "nearest",
                "sources",
                "naming",
                "witness",
                "classifiers",
            )
            if (value := getattr(self, name)) is not None
        }
        return {"classifier": self.classifier} | plain | nested


def reidentify(
    images: ImageSet,
    nearest_people: np.ndarray,  # int64 [n], person of the nearest real image
    identity: IdentityClassifier,  # [M, C, H, W] in [-1, 1] -> [M, N]
    *,
    people: int,
    threshold: float = 0.5,
    witness: IdentityClassifier | None = None,
    holdout: ImageSet | None = None,
    sources: Sequence[np.ndarray] | None = None,  # n x int64, the people behind each image
    groups: np.ndarray | None = None,  # [n], walk (or person) of each image
    device: torch.device | str | None = None,
    progress: Progress = silent,
) -> Reidentification:
    """Measure what identity classifiers give away about a set of images.

    Args:
        images: the synthetic set (or the real one, as the yardstick).
        nearest_people: person of each image's nearest real image, 0 .. N-1.
        identity: the walk's identity classifier over the N real people.
        people: N.
        threshold: probability above which a person counts as named, 0 .. 1.
        witness: a classifier over the same N people that the walk never met.
        holdout: real images of other people, to set the calibrated threshold on.
        sources: the people behind each image, 0 .. N-1.
        groups: images that belong together, for intervals that count walks and not images.
        device: where the classifiers are; where their parameters are if None.
        progress: told after every batch.

    Raises:
        ShapeError: a classifier is not one over N people, or arrays do not fit the images.
        DataError: logits that are not finite, or a holdout of fewer than two people.
        InputError: people that are none of the N.
    """
    asked = {"identity": identity} | ({} if witness is None else {"witness": witness})
    answers, measured = {}, {}
    for name, classifier in asked.items():
        answers[name] = ask(classifier, images, people=people, device=device, progress=progress)
        naming = None
        if holdout is not None:
            of_holdout = ask(classifier, holdout, people=people, device=device, progress=progress)
            naming = calibrated_naming(
                answers[name].margin,
                of_holdout.margin,
                groups=groups,
                holdout_groups=holdout.identities,
            )
        measured[name] = _of_answers(
            answers[name], images, nearest_people, sources, naming, people, threshold, groups
        )
    if witness is None:
        return measured["identity"]
    first = list(answers["witness"].people[:, :1])
    both = agreement(answers["identity"].people, first, images.labels, people=people, groups=groups)
    of_witness = replace(measured["witness"], classifier="witness")
    return replace(measured["identity"], witness=of_witness, classifiers=both)


def _of_answers(
    answers: Answers,
    images: ImageSet,
    nearest_people: np.ndarray,
    sources: Sequence[np.ndarray] | None,
    naming: CalibratedNaming | None,
    people: int,
    threshold: float,
    groups: np.ndarray | None,
) -> Reidentification:
    """What one classifier's answers amount to."""
    labels = images.labels
    nearest = agreement(
        answers.people, list(nearest_people[:, None]), labels, people=people, groups=groups
    )
    behind = None
    if sources is not None:
        behind = agreement(answers.people, sources, labels, people=people, groups=groups)
    rate = share(answers.probability > threshold, groups)
    return Reidentification(
        rate=rate.value,
        threshold=threshold,
        mean_largest_probability=float(answers.probability.mean()),
        linkage=nearest.rank1.value,
        linkage_top5=nearest.rank5.value,
        linkage_chance=chance_agreement(answers.people[:, 0], nearest_people, labels),
        people=people,
        rate_interval=rate,
        nearest=nearest,
        sources=behind,
        naming=naming,
    )


def chance_agreement(first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> float:
    """Expected share of agreement when `second` is shuffled among the rows of each label.

    All three are [n]. Within a class of m rows, a person named a times by one side and b times by
    the other agrees a * b / m times on average.
    """
    expected = 0.0
    for label in np.unique(labels):
        rows = labels == label
        people, place = np.unique(np.stack([first[rows], second[rows]]), return_inverse=True)
        named = place.reshape(2, -1)
        counts = [np.bincount(row, minlength=len(people)).astype(np.float64) for row in named]
        expected += float(counts[0] @ counts[1]) / int(rows.sum())
    return expected / len(labels)
