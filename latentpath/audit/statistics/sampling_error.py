"""How sure a classifier's test score is, with both sources of chance.

A score moves with the test images that happened to be drawn, and with the seed the classifier
was trained from. The first is estimated from each image's influence on the score: for a share its
deviation from the share, for an area under the ROC curve its placement among the images of the
other kind (DeLong). Influences of one person's images are added up before they are squared, so
that a person with many images counts once (Obuchowski). The second is the variance between seeds
over their number, with Student's t for its few degrees of freedom (Satterthwaite). Shares and
areas then get Wilson's interval at the effective sample size that this variance amounts to (Korn
and Graubard), which stays honest near 0 and 1; differences get a symmetric one.

Where a part of a score shows no spread at all (every image right, a class of one person), its
variance is that of a share with two hits and two misses added (Agresti and Coull), so that no
interval has zero width.

Sources: DeLong, DeLong, Clarke-Pearson, Biometrics 1988; Obuchowski, Biometrics 1997;
Satterthwaite, Biometrics Bulletin 1946; Korn, Graubard, Survey Methodology 1998; Agresti, Coull,
The American Statistician 1998.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from latentpath.audit.statistics.intervals import LEVEL, Interval, wilson
from latentpath.core import require_extra

# Variances below this share of the largest possible one are rounding.
_NO_SPREAD = 1e-15


@dataclass(frozen=True, eq=False)
class SampledScore:
    """A figure in 0 .. 1 of S classifiers on n test images, and what each image contributes.

    A figure may be the mean of several parts, such as the recalls of the classes.

    Attributes:
        values: float64 [S], the figure of each classifier.
        influence: float64 [S, n]; the sum of squares over people is the figure's variance.
        floor: variance added for parts that show no spread.
        anchor: the figure with those parts drawn towards the middle, 0 .. 1 exclusive.
        people: int64 [n], who is in which image.
    """

    values: np.ndarray  # [S]
    influence: np.ndarray  # [S, n]
    floor: float
    anchor: float
    people: np.ndarray  # [n]

    @property
    def value(self) -> float:
        """Mean over the classifiers."""
        return float(self.values.mean())

    def interval(self, level: float = LEVEL) -> Interval:
        """The mean with its interval, over seeds (where there are several) and test images."""
        image = _variance(self.influence.mean(0), self.people) + self.floor
        reach = _reach([(image, count_people(self.people) - 1), *_between_seeds(self)], level)
        if reach == 0.0:  # the values are all in the middle, and nothing ever changes them
            return Interval(self.value, self.value, self.value, level)
        # Wilson's interval knows the normal quantile only: what t adds goes into the variance.
        variance = (reach / NormalDist().inv_cdf(0.5 + level / 2)) ** 2
        effective = self.anchor * (1 - self.anchor) / variance
        value = min(1.0, max(0.0, self.value))
        shares = wilson(value * effective, effective, level)
        return Interval(value, shares.low, shares.high, level)


def difference(a: SampledScore, b: SampledScore, level: float = LEVEL) -> Interval:
    """`a` minus `b` on the same test images, paired image by image, clipped to -1 .. 1."""
    paired = a.influence.mean(0) - b.influence.mean(0)  # [n]
    image = _variance(paired, a.people) + max(a.floor, b.floor)
    if image <= _NO_SPREAD:
        # They never disagree: a share with two hits and two misses added, as for one score.
        count = count_people(a.people)
        image = _shrunk_variance(1.0, count)
    parts = [(image, count_people(a.people) - 1), *_between_seeds(a), *_between_seeds(b)]
    reach, value = _reach(parts, level), a.value - b.value
    return Interval(value, max(-1.0, value - reach), min(1.0, value + reach), level)


def mean_interval(
    figures: np.ndarray,  # float [S, n], one per classifier and image
    people: np.ndarray,  # int64 [n]
    *,
    low: float,
    high: float,
    level: float = LEVEL,
) -> Interval:
    """Interval of the mean of any per-image figure that lies between `low` and `high`."""
    shares = (figures - low) / (high - low)
    values = shares.mean(1)
    part = Part(values, scaled_influence(shares - values[:, None], people), count_people(people))
    share = mean_of([part], people).interval(level)
    value, lower, upper = (low + (high - low) * x for x in (share.value, share.low, share.high))
    return Interval(value, lower, upper, level)


@dataclass(frozen=True, eq=False)
class Part:
    """One of the parts that a score is the mean of; attributes as in `SampledScore`.

    Attributes:
        values: float64 [S].
        influence: float64 [S, n].
        size: people behind it, on the scarcer side where there are two.
    """

    values: np.ndarray
    influence: np.ndarray
    size: int


def share_of(
    correct: np.ndarray,  # bool [S, n]
    chosen: np.ndarray,  # bool [n]
    people: np.ndarray,  # [n]
) -> Part:
    """Share of the chosen images that are right, and what each of them contributes."""
    hits = correct[:, chosen]
    values = hits.mean(1)
    influence = np.zeros(correct.shape)
    influence[:, chosen] = scaled_influence(hits - values[:, None], people[chosen])
    return Part(values, influence, count_people(people[chosen]))


def scaled_influence(deviation: np.ndarray, people: np.ndarray) -> np.ndarray:
    """Deviations [..., m] over m, with the factor that makes their variance unbiased."""
    count = count_people(people)
    factor = (count / (count - 1)) ** 0.5 if count > 1 else 1.0
    scaled: np.ndarray = deviation * (factor / deviation.shape[-1])
    return scaled


def placement(scores: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Share of `others` [m] below each of `scores` [n]; equal ones count half."""
    ordered = np.sort(others)
    below = np.searchsorted(ordered, scores, "left") + np.searchsorted(ordered, scores, "right")
    share: np.ndarray = below / (2 * len(ordered))
    return share


def mean_of(parts: list[Part], people: np.ndarray) -> SampledScore:
    """The score that is the mean of parts; those without spread get a variance all the same."""
    count = len(parts)
    influence = np.zeros_like(parts[0].influence)
    values = np.zeros(len(influence))
    floor = anchor = 0.0
    for part in parts:
        values += part.values / count
        influence += part.influence / count
        value = float(part.values.mean())
        if part.size < 2 or _variance(part.influence.mean(0), people) <= _NO_SPREAD:
            floor += _shrunk_variance(value, part.size) / count**2
            value = _shrunk(value, part.size)
        anchor += value / count
    return SampledScore(values, influence, floor, anchor, people)


def _shrunk(share: float, size: int) -> float:
    return (share * size + 2) / (size + 4)


def _shrunk_variance(share: float, size: int) -> float:
    shrunk = _shrunk(share, size)
    return shrunk * (1 - shrunk) / size


def _between_seeds(score: SampledScore) -> list[tuple[float, float]]:
    """Variance of the mean over seeds, and its degrees of freedom.

    A part of it is the test images', on which classifiers disagree, and is counted twice. To take
    it off leaves nothing of two or three seeds too often: intervals then hold the truth in 90% of
    cases instead of 95%. Left in, they are a fifth too wide where seeds do not matter.
    """
    seeds = len(score.values)
    return [(float(score.values.var(ddof=1)) / seeds, seeds - 1)] if seeds > 1 else []


def _reach(parts: list[tuple[float, float]], level: float) -> float:
    """Half the width of the interval from variances and their degrees of freedom."""
    total = sum(variance for variance, _ in parts)
    if total <= 0:
        return 0.0
    spread = sum(variance**2 / max(1.0, freedom) for variance, freedom in parts)
    return t_quantile(0.5 + level / 2, total**2 / spread) * total**0.5


def t_quantile(q: float, freedom: float) -> float:
    """Quantile of Student's t for any number of degrees of freedom from 1.

    Raises:
        MissingExtraError: SciPy is not installed.

    Example:
        >>> round(t_quantile(0.975, 2), 3)
        4.303
    """
    return float(require_extra("scipy.special", "pipeline").stdtrit(freedom, q))


def _variance(influence: np.ndarray, people: np.ndarray) -> float:
    """Sum over people of the squared sums of their images' influences [n]."""
    _, person = np.unique(people, return_inverse=True)
    total = np.bincount(person, influence)
    return float(total @ total)


def count_people(people: np.ndarray) -> int:
    """Number of different people `[n]`."""
    return len(np.unique(people))
