"""Distance to the closest record: is the set closer to the people it was made from than to others?

Training people and held-out people of the same kind should be equally near to a synthetic image
that keeps nothing of a single person: the nearest training person is then closer than the nearest
held-out person in 50% of the cases. Copies push that share up. The measure is used for tables by
Platzer and Reutterer, "Holdout-based empirical assessment of mixed-type synthetic data", Frontiers
in Big Data 2021; what is added here is for images of people:

- Equal size. More people come closer by number alone, so the larger set would win. The share is
  the exact expectation over random subsets of people, equally many of each class on both sides.
- People, not images: a person counts once, by the nearest of their images.
- Ties count half.
- An interval for all that varies by chance: which samples were made, and which people were held
  out. Samples of one walk resemble each other (`groups`), and samples decided by the same person
  stand or fall together: had that person been held out instead, all of them would change sides.
  Both variances are added and what they share is taken off (Cameron, Gelbach and Miller, "Robust
  inference with multiway clustering", JBES 2011); Wilson's interval is taken at the size of an
  independent sample with that variance. Without `groups` the samples count as independent but
  for their people, which makes the interval of a set of walks too narrow.
- Few who decide. The images of a generator that learnt little all look alike, and a few people are
  nearest to all of them: by luck on one side, and a variance estimated from so few is too small.
  Without a leak each of those people might as well be on the other side, so that the size of the
  sample is never more than the number of people who decide: by their shares w, it is the one of
  the variance over all ways to part them, sum (w - mean w)² / 4.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from latentpath.audit.statistics.intervals import LEVEL, Interval, wilson
from latentpath.core import DataError, InputError, Progress, ShapeError, silent
from latentpath.data import ImageSet
from latentpath.similarity import (
    SEARCH_BYTES,
    RealReference,
    check_same_size,
    first_of_each,
    nearest_neighbours,
)

# Distances that differ by less than this share of them are a tie: rounding, not closeness.
_TIE = 1e-5

# Probability that a subset of people misses all neighbours searched for, at most.
_UNRESOLVED = 1e-3


@dataclass(frozen=True, eq=False)
class RecordRatio:
    """How the distances to training people and to held-out people compare.

    Attributes:
        share: of the samples that are closer to training people than to as many held-out people,
            ties half; 0.5 is what no leak looks like.
        median_ratio: median distance to the nearest training person over that to the nearest
            held-out one; 1 is what no leak looks like, less is a leak.
        low_ratio: the same of the 5th percentiles: of the samples that come closest.
        people: how many people of each side are compared.
        groups: how many groups the samples fell into.
        by_class: the share among the samples of each class, by name; classes without samples or
            without people on both sides are left out.
        unresolved: share of the comparisons that the neighbours searched for did not settle;
            they count half, like ties.
        measure: name of the distance.
        score: float64 [n], the probability for every sample. Keep it with the data holder.
    """

    share: Interval
    median_ratio: float
    low_ratio: float
    people: int
    groups: int
    by_class: Mapping[str, Interval]
    unresolved: float
    measure: str
    score: np.ndarray  # [n]

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values, nothing about single images."""
        return {
            "measure": self.measure,
            "share_closer_to_training": self.share.as_dict(),
            "expected_share": 0.5,
            "median_ratio": _finite(self.median_ratio),
            "ratio_of_5th_percentiles": _finite(self.low_ratio),
            "people_per_side": self.people,
            "groups": self.groups,
            "by_class": {name: interval.as_dict() for name, interval in self.by_class.items()},
            "unresolved": self.unresolved,
        }


def record_ratio(
    synthetic: ImageSet,
    real: RealReference,
    holdout: RealReference,
    *,
    groups: np.ndarray | None = None,  # [n], walk of every sample
    level: float = LEVEL,
    max_bytes: int = SEARCH_BYTES,
    progress: Progress = silent,
) -> RecordRatio:
    """Compare a set's distances to its training people and to held-out ones.

    Args:
        synthetic: the set in question.
        real: the people it was made from, prepared by `prepare_real` or `prepare_gradients`.
        holdout: other people of the same kind, chosen at random and prepared in the same way.
            People who are in both sets by mistake pull the share towards 50%.
        groups: which samples belong together, for example the number of their walk.
        level: of the intervals.
        max_bytes: bound on the search's blocks.
        progress: told about both searches, as "nearest".

    Raises:
        ShapeError: image sizes differ.
        DataError: classes differ, or no class has people on both sides.
        InputError: the two were prepared by different measures, or groups of another length.
    """
    _check(synthetic, real, holdout, groups)
    sides = [_Side.of(side.images) for side in (real, holdout)]
    equal = _equally_many(*sides)
    searches = []
    for side, reference in zip(sides, (real, holdout), strict=True):
        count = side.neighbours(equal)
        near = nearest_neighbours(
            synthetic.images, reference, count, max_bytes=max_bytes, progress=progress
        )
        complete = count == len(reference.images)
        searches.append(_NearbyPeople.of(near.distance, near.index, side, equal, complete))
    contest = _contests(*searches)
    group = np.arange(len(synthetic)) if groups is None else groups
    medians, lows = zip(*(_quantiles(search, (0.5, 0.05)) for search in searches), strict=True)
    chosen = {name: synthetic.labels == k for k, name in enumerate(synthetic.class_names)}
    compared = [
        name for name, some in zip(chosen, equal, strict=True) if some and chosen[name].any()
    ]
    return RecordRatio(
        share=_share(contest, np.ones(len(synthetic), dtype=bool), group, level),
        median_ratio=_ratio(*medians),
        low_ratio=_ratio(*lows),
        people=int(equal.sum()),
        groups=len(np.unique(group)),
        by_class={name: _share(contest, chosen[name], group, level) for name in compared},
        unresolved=float(contest.unresolved.mean()),
        measure=real.measure,
        score=contest.score,
    )


class _Side(NamedTuple):
    """The people of one side; one who has images of two classes counts in each of them."""

    of_image: np.ndarray  # [n], person of every image
    class_of: np.ndarray  # [P]
    per_class: np.ndarray  # [K]

    @classmethod
    def of(cls, images: ImageSet) -> _Side:
        pairs = images.identities * images.num_classes + images.labels
        present, of_image = np.unique(pairs, return_inverse=True)
        class_of = present % images.num_classes
        return cls(of_image, class_of, np.bincount(class_of, minlength=images.num_classes))

    def neighbours(self, equal: np.ndarray) -> int:
        """Images to search for, so that a subset of people hardly ever misses all of them."""
        rates = equal[equal > 0] / self.per_class[equal > 0]
        # People of classes that only this side has are never chosen, but are found all the same.
        rate = float(rates.min()) * float(self.per_class[equal > 0].sum() / len(self.class_of))
        people = 1 if rate >= 1 else math.ceil(math.log(_UNRESOLVED) / math.log(1 - rate))
        images = people * math.ceil(len(self.of_image) / len(self.class_of))
        return min(len(self.of_image), images)


def _equally_many(train: _Side, holdout: _Side) -> np.ndarray:
    """How many people of each class are compared, [K]."""
    equal: np.ndarray = np.minimum(train.per_class, holdout.per_class)
    if equal.sum() == 0:
        raise DataError(
            expected="a class with training and with held-out people",
            got="none",
            fix="hold out people of the same classes",
        )
    return equal


class _NearbyPeople(NamedTuple):
    """The people near every sample, nearest first."""

    distance: np.ndarray  # float64 [n, k]
    person: np.ndarray  # [n, k]
    missed: np.ndarray  # [n, k], probability that the person is not chosen if no nearer one is
    reach: np.ndarray  # [n], distance up to which everybody is listed
    kind: np.ndarray  # [P], class of everybody on this side, listed or not

    @classmethod
    def of(
        cls,
        distance: np.ndarray,
        index: np.ndarray,
        people: _Side,
        equal: np.ndarray,
        complete: bool,
    ) -> _NearbyPeople:
        distance = distance.astype(np.float64)
        person = people.of_image[index]  # [n, k]
        nearest = first_of_each(person)
        kind = people.class_of[person]
        missed = np.ones(distance.shape)
        for number in np.flatnonzero(equal):
            here = nearest & (kind == number)
            before = here.cumsum(1) - 1  # nearer people of the class, none of them chosen
            left = people.per_class[number] - before
            chance = (left - equal[number]) / np.maximum(left, 1)
            missed = np.where(here, chance.clip(0, 1), missed)
        reach = np.full(len(distance), math.inf) if complete else distance[:, -1]
        return cls(distance, person, missed, reach, people.class_of)


class _Contest(NamedTuple):
    """Who is nearest to every sample, in expectation over the subsets of people."""

    score: np.ndarray  # [n], probability that it is a training person
    unresolved: np.ndarray  # [n], probability that nobody listed settles it
    person: np.ndarray  # [n, k], the people listed; those of the second side after the first's
    wins: np.ndarray  # [n, k], probability that it is this person
    kind: tuple[np.ndarray, np.ndarray]  # class of everybody on each side


def _contests(train: _NearbyPeople, holdout: _NearbyPeople) -> _Contest:
    """Let all listed people of both sides meet every sample, in the order of their distance.

    Each is the nearest one if chosen while nobody nearer was. Ties are met once with one side
    first, once with the other, and averaged.
    """
    reach = np.minimum(train.reach, holdout.reach)[:, None]
    distance = np.concatenate([train.distance, holdout.distance], 1)
    missed = np.concatenate([train.missed, holdout.missed], 1)
    missed = np.where(distance <= reach * (1 + _TIE) + 1e-6 * _TIE, missed, 1.0)
    from_train = np.arange(distance.shape[1]) < train.distance.shape[1]  # [k]
    wins = np.zeros(distance.shape)
    for sign in (1.0, -1.0):
        slack = np.where(from_train, -sign, sign) * (_TIE / 2)
        order = np.argsort(distance * (1 + slack) + slack * 1e-6, axis=1, kind="stable")
        chance = np.take_along_axis(missed, order, 1)
        nobody = np.cumprod(chance, 1)  # [n, k]
        before = np.concatenate([np.ones((len(nobody), 1)), nobody[:, :-1]], 1)
        won = np.empty_like(chance)
        np.put_along_axis(won, order, before * (1 - chance), 1)
        wins += won / 2
    unresolved = nobody[:, -1]
    score = wins[:, from_train].sum(1) + unresolved / 2
    person = np.concatenate([train.person, holdout.person + len(train.kind)], 1)
    return _Contest(score.clip(0, 1), unresolved, person, wins, (train.kind, holdout.kind))


def _quantiles(search: _NearbyPeople, levels: tuple[float, ...]) -> list[float]:
    """Quantiles of the distance to the nearest chosen person, over samples and choices."""
    nobody = np.cumprod(search.missed, 1)
    before = np.concatenate([np.ones((len(nobody), 1)), nobody[:, :-1]], 1)
    weight = before * (1 - search.missed)
    weight[:, -1] += nobody[:, -1]  # further than all listed: not nearer than the last, at least
    order = np.argsort(search.distance, axis=None, kind="stable")
    total = weight.ravel()[order].cumsum()
    places = np.searchsorted(total, np.array(levels) * total[-1])
    return [float(search.distance.ravel()[order[min(p, len(order) - 1)]]) for p in places]


def _share(
    contest: _Contest,
    chosen: np.ndarray,  # bool [n]
    group: np.ndarray,  # [n]
    level: float,
) -> Interval:
    """Mean score of the chosen samples, with Wilson's interval at their effective number."""
    score, wins, person = contest.score[chosen], contest.wins[chosen], contest.person[chosen]
    n, mean = len(score), float(score.mean())
    decider = np.take_along_axis(person, wins.argmax(1)[:, None], 1)[:, 0]
    fewest = min(len(np.unique(group[chosen])), len(np.unique(decider)))
    both = np.unique(np.stack([_numbered(group[chosen]), decider]), axis=1, return_inverse=True)[1]
    by_samples = _variance(score - mean, _numbered(group[chosen]))
    by_people = _variance_by_people(wins, person, mean, contest.kind)
    shared = _variance(score - mean, both.ravel())
    variance = max(by_samples + by_people - shared, by_samples, by_people)
    if fewest == 1 or variance <= 0 or not 0 < mean < 1:
        # Nothing shows how alike the samples of a cluster are: each cluster counts as one.
        effective = float(fewest)
    else:
        effective = min(float(n), mean * (1 - mean) / variance)
    effective = min(effective, _deciders(wins, person, sum(map(len, contest.kind))))
    wide = wilson(mean * effective, effective, level)
    return Interval(mean, wide.low, wide.high, level)


def _deciders(
    wins: np.ndarray,  # [n, k]
    person: np.ndarray,  # [n, k]
    people: int,
) -> float:
    """How many of all people decide: independent ones, of equal shares, who vary the share so."""
    won = np.bincount(person.ravel(), wins.ravel(), people)
    apart = np.square(won - won.mean()).sum() * people / max(people - 1, 1)
    return float(won.sum() ** 2 / apart) if apart > 1e-12 else math.inf


def _variance(residual: np.ndarray, cluster: np.ndarray) -> float:
    """Variance of the mean from the sums of clusters numbered 0 .. c-1."""
    sums = np.bincount(cluster, residual)
    count = len(sums)
    return float(sums @ sums) / len(residual) ** 2 * count / max(1, count - 1)


def _variance_by_people(
    wins: np.ndarray,  # [n, k]
    person: np.ndarray,  # [n, k]
    mean: float,
    kind: tuple[np.ndarray, np.ndarray],
) -> float:
    """Variance of the share by whom each class of each side happens to consist of.

    The share is T / (T + H) of what the training and the held-out people win; each is a sum over
    people drawn at random, so many of each class, those who win nothing included.
    """
    won = np.bincount(person.ravel(), wins.ravel(), sum(map(len, kind))) / len(wins)
    total = 0.0
    parts = won[: len(kind[0])], won[len(kind[0]) :]
    for slope, part, classes in zip((1 - mean, mean), parts, kind, strict=True):
        size = np.bincount(classes)
        centre = np.bincount(classes, part) / np.maximum(size, 1)
        squares = np.bincount(classes, (part - centre[classes]) ** 2)
        total += slope**2 * float((squares * size / np.maximum(size - 1, 1)).sum())
    return total


def _numbered(group: np.ndarray) -> np.ndarray:
    return np.unique(group, return_inverse=True)[1]


def _ratio(train: float, holdout: float) -> float:
    if holdout > 0:
        return train / holdout
    return 1.0 if train == 0 else math.inf


def _check(
    synthetic: ImageSet,
    real: RealReference,
    holdout: RealReference,
    groups: np.ndarray | None,
) -> None:
    check_same_size(synthetic.images, real.images.images)
    check_same_size(holdout.images.images, real.images.images)
    for images in (synthetic, holdout.images):
        if images.class_names != real.images.class_names:
            raise DataError(
                expected="the same class names in the same order in every set",
                got=f"{len(images.class_names)} and {len(real.images.class_names)} others",
                fix="give all sets the real set's class names",
            )
    if (real.measure, real.embedded.width) != (holdout.measure, holdout.embedded.width):
        raise InputError(
            expected=f"both sets prepared by one measure, {real.measure}",
            got=holdout.measure,
            fix="use prepare_real for both, or prepare_gradients for both",
        )
    if groups is not None and np.shape(groups) != (len(synthetic),):
        raise ShapeError(
            expected=f"groups [{len(synthetic)}], one for each sample",
            got=str(list(np.shape(groups))),
            fix="give the walk of every sample",
        )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
