"""How many images of a set look like copies though nobody was copied.

Real people who are compared with all others say how suspicious fresh people are
(`SuspicionCalibration`). The r-th most suspicious of N sets a threshold. How many of n fresh people
fall below it by chance is then known whatever the distribution: beta-binomial with n, r and
N - r + 1, as the share of people below the r-th of N order statistics is Beta(r, N - r + 1).
Wilks, "Determination of sample sizes for setting tolerance limits", Annals of Mathematical
Statistics 1941; as a conformal test: Bates, Candès, Lei, Romano and Sesia, "Testing for outliers
with conformal p-values", Annals of Statistics 2023.

What is left of the count when as many as chance may well give are taken off are copies. There is
no other uncertainty in it: every image of the set was looked at.

A set with another mix of classes than the real one has other people in it: handwritten ones look
more alike than eights. Real people are therefore weighted to have the set's mix (Tibshirani,
Barber, Candès and Ramdas, "Conformal prediction under covariate shift", NeurIPS 2019), and count as
few as their weights make them (Kish, "Survey sampling", 1965).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from latentpath.audit.statistics.intervals import LEVEL, Interval, wilson
from latentpath.core import require_extra


@dataclass(frozen=True)
class FalseAlarms:
    """A threshold, and what is known of how many fresh people fall below it.

    Attributes:
        threshold: suspicion up to which an image counts as a copy.
        alarms: people of the calibration at or below it; 0 without any calibration.
        people: how many the calibration counts for, weighted; 0 without any.
    """

    threshold: float = 0.0
    alarms: float = 0.0
    people: float = 0.0

    def likely(self, n: int, level: float = LEVEL) -> tuple[int, int]:
        """Fewest and most of n fresh people who fall below by chance, with probability `level`."""
        return _likely(n, self.alarms, self.people, level) if self.alarms else (0, 0)

    def excess(
        self,
        hits: np.ndarray,  # bool [n]
        groups: np.ndarray | None = None,  # [n], equal for images that belong together
        level: float = LEVEL,
    ) -> Interval:
        """The share of images that are hits and, as far as can be told, no false alarms.

        Images that belong together may all be false alarms at once: chance then counts groups.
        """
        n, count = len(hits), int(np.sum(hits))
        sizes = np.ones(n) if groups is None else np.unique(groups, return_counts=True)[1]
        independent = max(1, int(n * n / float(np.square(sizes, dtype=np.float64).sum())))
        least, most = (chance * n / independent for chance in self.likely(independent, level))
        usual = n * self.alarms / (self.people + 1)
        low, high = (max(0.0, count - chance) / n for chance in (most, least))
        return Interval(min(max((count - usual) / n, low), high), low, high, level)


@functools.cache  # quantiles are searched for, in milliseconds
def _likely(n: int, alarms: float, people: float, level: float) -> tuple[int, int]:
    stats = require_extra("scipy.stats", "pipeline")
    chance = stats.betabinom(n, alarms, people - alarms + 1)
    return int(chance.ppf(0.5 - level / 2)), int(chance.ppf(0.5 + level / 2))


@dataclass(frozen=True, eq=False)
class SuspicionCalibration:
    """How suspicious people are who have nothing to do with those they are compared with.

    Attributes:
        suspicion: float64 [N], one figure each. Keep both with the data holder.
        labels: int64 [N], their classes.
    """

    suspicion: np.ndarray  # [N]
    labels: np.ndarray  # [N]

    def at_rate(self, rate: float, labels: np.ndarray | None = None) -> FalseAlarms:
        """The threshold that at most a share `rate` of fresh people falls below.

        Of fewer than 1 / rate people the most suspicious one sets it.

        Args:
            rate: between 0 and 1.
            labels: int64 [n], classes of the set in question, whose mix fresh people are to have;
                None for the calibration's own.
        """
        if not len(self.suspicion):
            return FalseAlarms()
        weight = self._weights(labels)
        people = float(weight.sum())
        # At most so many of n + 1 like people are among the most suspicious: the conformal rank.
        rank = max(1, int(rate * (people + 1)))
        order = np.argsort(self.suspicion, kind="stable")
        below = weight[order].cumsum()
        place = min(int(np.searchsorted(below, rank - 1e-9)), len(order) - 1)
        # One person of a rare class may weigh more than the rank; equally suspicious ones count.
        threshold = float(self.suspicion[order[place]])
        alarms = max(float(rank), float(weight[self.suspicion <= threshold].sum()))
        return FalseAlarms(threshold, min(alarms, people), people)

    def share_below(self, threshold: float, labels: np.ndarray | None = None) -> Interval:
        """Share of these people at or below a threshold, weighted as in `at_rate`."""
        weight = self._weights(labels)
        return wilson(float(weight[self.suspicion <= threshold].sum()), float(weight.sum()))

    def _weights(self, labels: np.ndarray | None) -> np.ndarray:
        """Of every person `[N]`; they sum to the effective number of people."""
        weight = np.ones(len(self.suspicion))
        if labels is not None:
            classes = max(int(labels.max()), int(self.labels.max())) + 1
            wanted = np.bincount(labels, minlength=classes)
            here = np.bincount(self.labels, minlength=classes)
            mixed = (wanted / np.maximum(here, 1))[self.labels]
            weight = mixed if mixed.any() else weight
        return weight * (weight.sum() / np.square(weight).sum())
