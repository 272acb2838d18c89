"""How sure a number is: intervals for shares, and bootstrap intervals for everything else.

Rows that belong together (images of one person, points of one walk) are not independent. Every
function here takes them as `groups`, and then people or walks are resampled, never single images:
an interval that ignores them is too narrow.

Sources: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927;
for clustered shares his interval at the effective sample size, Korn and Graubard, "Confidence
intervals for proportions with small expected number of positive counts estimated from survey
data", Survey Methodology 1998; Efron, "Bootstrap methods: another look at the jackknife",
Annals of Statistics 1979.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from latentpath.core import DataError, InputError, check_at_least

RESAMPLES = 2000
LEVEL = 0.95

# Resampled counts are made in parts of about this many entries: 32 MiB of 64-bit numbers.
_COUNTS_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class Interval:
    """A figure and the interval that holds the truth with probability `level`.

    Attributes:
        value: the figure itself.
        low: lower end.
        high: upper end.
        level: share of such intervals that hold the truth, 0 .. 1.

    Example:
        >>> wilson(0, 100).as_dict()["low"]
        0.0
    """

    value: float
    low: float
    high: float
    level: float = LEVEL

    def holds(self, truth: float) -> bool:
        """Whether `truth` lies in the interval, ends included."""
        return self.low <= truth <= self.high

    def as_dict(self) -> dict[str, float]:
        """Return plain JSON values."""
        return dict(vars(self))


def wilson(successes: float, n: float, level: float = LEVEL) -> Interval:
    """Wilson's score interval of a share; sound at 0 and at 1 and for small `n`.

    Args:
        successes: number of hits, 0 .. n.
        n: number of independent trials, above 0. It may be a fraction: an effective number.
        level: share of such intervals that hold the truth, between 0 and 1.

    Raises:
        InputError: no trial, or more hits than trials.

    Example:
        >>> interval = wilson(5, 100)
        >>> round(interval.low, 4), round(interval.high, 4)
        (0.0215, 0.1118)
    """
    _check_level(level)
    if not n > 0 or not 0 <= successes <= n:
        raise InputError(
            expected="0 <= successes <= n with n above 0",
            got=f"{successes} of {n}",
            fix="count hits and trials of the same set; a share of nothing has no interval",
        )
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    # At 0 and at 1 the end equals the share exactly; rounding must not push it past.
    low = 0.0 if successes == 0 else max(0.0, centre - reach)
    high = 1.0 if successes == n else min(1.0, centre + reach)
    return Interval(float(share), low, high, level)


def share(
    hits: np.ndarray,  # bool [n]
    groups: np.ndarray | None = None,  # [n], equal for rows that belong together
    level: float = LEVEL,
) -> Interval:
    """The share of hits with Wilson's interval, at the effective size where rows are grouped.

    The effective size is n over the design effect: the variance of the share between groups,
    over what it would be for independent rows. It is never above n, and the number of groups
    where every row is a hit or none is, as then nothing shows how alike the rows of a group are.

    Raises:
        InputError: no rows, or groups of another length.
    """
    hits = np.asarray(hits, dtype=np.float64)
    n = hits.size
    if groups is None or n == 0:
        return wilson(float(hits.sum()), n, level)
    _check_groups(groups, n)
    mean = float(hits.mean())
    _, group = np.unique(groups, return_inverse=True)
    count = int(group.max()) + 1
    if mean in (0.0, 1.0) or count == 1:
        return wilson(mean * count, count, level)
    deviation = np.bincount(group, hits - mean)  # [groups]
    variance = count / (count - 1) * float(deviation @ deviation) / n**2
    # Groups that balance each other exactly show no variance at all; more than n is never claimed.
    effective = min(float(n), mean * (1 - mean) / variance) if variance > 0 else float(n)
    effective_share = wilson(mean * effective, effective, level)
    return Interval(mean, effective_share.low, effective_share.high, level)


def share_difference(first: Interval, second: Interval) -> Interval:
    """First minus second share, of independent samples.

    Newcombe, "Interval estimation for the difference between independent proportions", Statistics
    in Medicine 1998, method 10.
    """
    value = first.value - second.value
    down = ((first.value - first.low) ** 2 + (second.high - second.value) ** 2) ** 0.5
    up = ((first.high - first.value) ** 2 + (second.value - second.low) ** 2) ** 0.5
    return Interval(value, value - down, value + up, first.level)


def bootstrap(
    statistic: Callable[..., float],
    *samples: np.ndarray,  # each [n_i, ...]
    seed: int,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    groups: Sequence[np.ndarray | None] | None = None,  # per sample [n_i] or None
) -> Interval:
    """Percentile interval of `statistic(*samples)`, each sample resampled on its own.

    One call of `statistic` per resample. Where it can work with how often every row was drawn,
    `resampled_counts` and `percentile` do all resamples at once.

    Args:
        statistic: arrays like the samples in, one number out.
        samples: resampled along axis 0 with replacement.
        seed: of the resampling.
        resamples: how many.
        level: share of such intervals that hold the truth, between 0 and 1.
        groups: for each sample None, or labels: then whole groups are drawn.

    Raises:
        InputError: an empty sample, or groups that do not fit.
        DataError: the statistic of the samples themselves is not finite.
    """
    check_at_least(1, resamples=resamples)
    generator = np.random.default_rng(seed)
    labels = list(groups) if groups is not None else [None] * len(samples)
    if len(labels) != len(samples):
        raise InputError(
            expected=f"groups for each of the {len(samples)} samples",
            got=f"{len(labels)}",
            fix="give None for a sample whose rows are independent",
        )
    draws = [
        _drawer(len(sample), label, generator)
        for sample, label in zip(samples, labels, strict=True)
    ]
    replicates = np.array(
        [
            statistic(*(sample[draw()] for sample, draw in zip(samples, draws, strict=True)))
            for _ in range(resamples)
        ],
        dtype=np.float64,
    )
    return percentile(float(statistic(*samples)), replicates, level)


def resampled_counts(
    n: int,
    *,
    generator: np.random.Generator,
    resamples: int = RESAMPLES,
    groups: np.ndarray | None = None,  # [n]
) -> np.ndarray:
    """How often every one of n rows is drawn, for many resamples at once: float32 [resamples, n].

    With `groups` whole groups are drawn, as many as there are.

    Raises:
        InputError: no rows, or groups of another length.
    """
    check_at_least(1, n=n, resamples=resamples)
    group = np.arange(n)
    if groups is not None:
        _check_groups(groups, n)
        _, group = np.unique(groups, return_inverse=True)
    size = int(group.max()) + 1
    counts = np.empty((resamples, n), dtype=np.float32)
    step = max(1, _COUNTS_AT_ONCE // size)
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = generator.integers(size, size=(rows, size)) + size * np.arange(rows)[:, None]
        table = np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size)
        counts[start : start + rows] = table[:, group]
    return counts


def percentile(
    value: float,
    replicates: np.ndarray,  # [resamples]
    level: float = LEVEL,
) -> Interval:
    """The interval between the outer quantiles of the resampled figures.

    Resamples in which the figure does not exist (NaN, for example without a row of one kind) are
    left out. Where all resamples agree the interval has no width, which is no certainty: use
    `wilson` or `share` for shares near 0 or 1.

    Raises:
        DataError: the value is not finite, or the figure exists in no resample.
    """
    _check_level(level)
    usable = replicates[np.isfinite(replicates)]
    if not np.isfinite(value) or usable.size == 0:
        raise DataError(
            expected="a finite figure with finite resamples",
            got=f"{value}, {usable.size} usable resamples of {replicates.size}",
            fix="check the scores for NaN, and that every group compared has members",
        )
    low, high = np.quantile(usable, [0.5 - level / 2, 0.5 + level / 2])
    return Interval(float(value), float(low), float(high), level)


def _drawer(
    n: int, groups: np.ndarray | None, generator: np.random.Generator
) -> Callable[[], np.ndarray]:
    """A function that returns the rows of one resample."""
    check_at_least(1, rows=n)
    if groups is None:
        return lambda: generator.integers(n, size=n)
    _check_groups(groups, n)
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    members = np.split(np.argsort(group, kind="stable"), np.cumsum(sizes)[:-1])
    count = len(members)
    return lambda: np.concatenate([members[g] for g in generator.integers(count, size=count)])


def _check_groups(groups: np.ndarray, n: int) -> None:
    if np.shape(groups) != (n,):
        raise InputError(
            expected=f"groups [{n}], one for each row",
            got=f"{list(np.shape(groups))}",
            fix="give the person or the walk of every row",
        )


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise InputError(
            expected="a level between 0 and 1", got=f"{level}", fix="give for example 0.95"
        )
