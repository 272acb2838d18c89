"""Whom identity classifiers name, how sure they are, and how much of it is chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from latentpath.audit.instrument_check import FALSE_ALARMS
from latentpath.audit.statistics.intervals import Interval, share
from latentpath.audit.statistics.roc import threshold_at
from latentpath.core import DataError, InputError, Progress, ShapeError, device_of, silent
from latentpath.data import ImageSet, to_tensor

if TYPE_CHECKING:
    from latentpath.audit.audit_setup import IdentityClassifier

# How many of the classifier's first answers count.
RANKS = (1, 5)

# Share of the holdout that a calibrated classifier may name.
FALSE_NAMING = FALSE_ALARMS

_BATCH = 256


@dataclass(frozen=True, eq=False)
class Answers:
    """What a classifier says about images. It speaks of people: keep it with the data holder.

    Attributes:
        probability: float64 [n], the largest probability.
        margin: float64 [n], the largest logit minus the logarithm of the sum of the other
            exponentials: log p / (1 - p), which still tells probabilities apart that round to 1.
        people: int64 [n, 5], the first answers, best first; fewer columns for fewer people.
    """

    probability: np.ndarray
    margin: np.ndarray
    people: np.ndarray


@torch.no_grad()
def ask(
    identity: IdentityClassifier,
    images: ImageSet,
    *,
    people: int,
    device: torch.device | str | None = None,
    progress: Progress = silent,
) -> Answers:
    """Ask an identity classifier about every image of a set.

    Args:
        identity: classifier over N people.
        images: the set.
        people: N.
        device: where the classifier is; where its parameters are if None.
        progress: told after every batch, as stage "re-identification".

    Raises:
        ShapeError: the classifier is not one over N people.
        DataError: its logits are not finite.
    """
    if device is None:
        device = device_of(identity)
    probability, margin, answers = [], [], []
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
        logits = logits.cpu().double()
        top = logits.topk(min(max(RANKS), people))
        first, place = top.values[:, :1], top.indices[:, :1]
        others = logits.scatter(1, place, -torch.inf).logsumexp(1, keepdim=True)
        margin.append((first - others)[:, 0].numpy())
        probability.append((first - logits.logsumexp(1, keepdim=True)).exp()[:, 0].numpy())
        answers.append(top.indices.numpy())
        progress("re-identification", min(start + _BATCH, len(images)), len(images), {})
    return Answers(*(np.concatenate(parts) for parts in (probability, margin, answers)))


@dataclass(frozen=True)
class Agreement:
    """How often a classifier names whom it should, among its first answers.

    Attributes:
        rank1: share of images whose first answer is right.
        rank5: share with the right person among the first five answers.
        chance1: what `rank1` would be if answers were shuffled among the images of one class, so
            that knowing the class, or naming the same few people everywhere, counts as nothing.
        chance5: the same for `rank5`.
        uniform: what `rank1` would be if people were named at random out of all: the number of
            right people over N, mean over the images.
    """

    rank1: Interval
    rank5: Interval
    chance1: float
    chance5: float
    uniform: float

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values."""
        return {
            "rank_1": self.rank1.as_dict() | {"chance": self.chance1},
            "rank_5": self.rank5.as_dict() | {"chance": self.chance5},
            "uniform_chance": self.uniform,
        }


def agreement(
    answers: np.ndarray,  # int64 [n, 5], people named, best first
    right: Sequence[np.ndarray],  # n x int64, the people that count as right for each image
    labels: np.ndarray,  # int64 [n]
    *,
    people: int,
    groups: np.ndarray | None = None,  # [n], equal for images that belong together
) -> Agreement:
    """Compare whom a classifier names with whom it should.

    Raises:
        ShapeError: not one entry of `right` per image.
        InputError: somebody among the right people is none of the N.
    """
    if len(right) != len(answers):
        raise ShapeError(
            expected=f"the right people of each of the {len(answers)} images",
            got=f"{len(right)} entries",
            fix="give one array of people per image",
        )
    # Images of one walk share their people: every different set is looked up once.
    different: dict[bytes, int] = {}
    sets: list[np.ndarray] = []
    of_image = np.empty(len(answers), np.int64)
    for image, some in enumerate(right):
        named = np.unique(np.asarray(some, dtype=np.int64))
        if named.size == 0 or named[0] < 0 or named[-1] >= people:
            raise InputError(
                expected=f"people from 0 to {people - 1} for every image",
                got=f"{list(named[:3])} for image {image}",
                fix="give the numbers that the real set's identities have",
            )
        of_image[image] = different.setdefault(named.tobytes(), len(sets))
        if of_image[image] == len(sets):
            sets.append(named)
    hits = np.zeros((len(RANKS), len(answers)), bool)
    expected = np.zeros(len(RANKS))
    mask = np.zeros(people, bool)
    for number, named in enumerate(sets):
        mask[named] = True
        own = of_image == number
        for row, rank in enumerate(RANKS):
            hits[row, own] = mask[answers[own, :rank]].any(1)
            for label, count in zip(*np.unique(labels[own], return_counts=True), strict=True):
                expected[row] += count * mask[answers[labels == label, :rank]].any(1).mean()
        mask[named] = False
    chance = expected / len(answers)
    uniform = float(np.mean([len(sets[number]) for number in of_image])) / people
    return Agreement(
        share(hits[0], groups), share(hits[1], groups), float(chance[0]), float(chance[1]), uniform
    )


@dataclass(frozen=True)
class CalibratedNaming:
    """How many images a classifier names somebody for, when it may name hardly anybody else.

    Classifiers give high probabilities to people they have never seen, so a fixed threshold says
    as much about the classifier as about the images. Here the threshold is the one that names 1%
    of the holdout: what lies above it looks more like one single real person than others do.

    Attributes:
        named: share of the images above the threshold; `false_naming` of them would be if they
            were images of the holdout.
        holdout: the same of the holdout itself, each half at the threshold of the other. Compare
            `named` with it rather than with `false_naming`: both intervals are for a given
            threshold, whose own error, as few people lie above it, shows here.
        threshold: on log p / (1 - p) of the largest probability p.
        false_naming: the share of the holdout that the threshold names.
        resolved: whether there are people enough for that share to be more than none.
    """

    named: Interval
    holdout: Interval
    threshold: float
    false_naming: float
    resolved: bool

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values."""
        return {
            "named": self.named.as_dict(),
            "holdout": self.holdout.as_dict(),
            "threshold": self.threshold,
            "false_naming": self.false_naming,
            "resolved": self.resolved,
        }


def calibrated_naming(
    margin: np.ndarray,  # [n]
    holdout: np.ndarray,  # [h], margins of the holdout
    *,
    groups: np.ndarray | None = None,  # [n]
    holdout_groups: np.ndarray | None = None,  # [h]
    false_naming: float = FALSE_NAMING,
    seed: int = 0,
) -> CalibratedNaming:
    """Set the threshold on the holdout, and count the images above it.

    Raises:
        DataError: fewer than two people in the holdout.
    """
    people = np.arange(len(holdout)) if holdout_groups is None else holdout_groups
    names, place = np.unique(people, return_inverse=True)
    if len(names) < 2:
        raise DataError(
            expected="at least two people in the holdout",
            got=f"{len(names)}",
            fix="hold out more people, 100 or more for a false naming of 1%",
        )
    threshold = threshold_at(holdout, false_naming)
    half = (np.random.default_rng(seed).permutation(len(names)) % 2 == 0)[place]
    above = np.empty(len(holdout), bool)
    for side in (False, True):
        above[half == side] = holdout[half == side] > threshold_at(
            holdout[half != side], false_naming
        )
    return CalibratedNaming(
        named=share(margin > threshold, groups),
        holdout=share(above, people),
        threshold=threshold,
        false_naming=false_naming,
        resolved=len(names) * false_naming >= 1 - 1e-9,
    )
