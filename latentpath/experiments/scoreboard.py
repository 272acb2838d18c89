"""The aims of the comparison: reached or missed, and by how much."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from latentpath.experiments.table import Row, over_seeds, worst_attack

Rows = Mapping[str, Row]
"""The rows of one seed by set."""


@dataclass(frozen=True)
class Aim:
    """What a walk should achieve."""

    key: str
    """Short name."""
    words: str
    """In plain words, with the limit."""
    limit: float
    """The figure that is asked for."""
    at_least: bool
    """Whether more is better."""
    figure: Callable[[Row, Row, Row], float | None]
    """The figure of one seed from the rows of real images, straight lines and walks."""


def _gain(column: str) -> Callable[[Row, Row, Row], float | None]:
    def figure(real: Row, line: Row, walk: Row) -> float | None:
        before, after = line.get(column), walk.get(column)
        if before is None or after is None or before <= 0:
            return None
        return after / before - 1

    return figure


def _share(column: str) -> Callable[[Row, Row, Row], float | None]:
    def figure(real: Row, line: Row, walk: Row) -> float | None:
        before, after = line.get(column), walk.get(column)
        if before is None or after is None or before <= 0:
            return None
        return after / before

    return figure


def _membership(real: Row, line: Row, walk: Row) -> float | None:
    accuracy = worst_attack(walk)
    return None if accuracy is None else abs(accuracy - 0.5)


def _loss(real: Row, line: Row, walk: Row) -> float | None:
    yardstick, own = real.get("accuracy"), walk.get("accuracy")
    return None if yardstick is None or own is None else yardstick - own


AIMS = (
    Aim("mml", "mmL at least 60% above straight lines", 0.60, True, _gain("lpips_mean")),
    Aim(
        "p5",
        "5th percentile of the nearest-real distance at least 50% above straight lines",
        0.50,
        True,
        _gain("lpips_p5"),
    ),
    Aim(
        "named",
        "names one person (walk's classifier) at most a third as often as straight lines",
        1 / 3,
        False,
        _share("identity_named"),
    ),
    Aim(
        "calibrated",
        "names more surely than 99% of the holdout (witness) at most a third as often "
        "as straight lines",
        1 / 3,
        False,
        _share("witness_calibrated"),
    ),
    Aim(
        "rank1",
        "rank-1 re-identification (witness) at most a third of straight lines'",
        1 / 3,
        False,
        _share("witness_rank1"),
    ),
    Aim(
        "membership",
        "the strongest membership inference within 1.5 points of 50%",
        0.015,
        False,
        _membership,
    ),
    Aim("utility", "accuracy at most 2 points below real images", 0.02, False, _loss),
)


@dataclass(frozen=True)
class AimResult:
    """One aim, as it came out."""

    walk: str
    """Name of the set that was judged."""
    key: str
    words: str
    limit: float
    value: float | None
    """Mean over the seeds; None where it was not measured, or straight lines gave nothing to
    compare with."""
    low: float | None
    """Ends of the interval over the seeds; None for one seed."""
    high: float | None
    reached: bool | None
    """Whether the mean reaches the limit."""
    margin: float | None
    """How far the mean is on the good side of the limit; below 0 it is missed by so much."""

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    def line(self) -> str:
        """A line to print."""
        if self.value is None:
            return f"not measured  {self.walk}: {self.words}"
        word = "reached by" if self.reached else "missed by "
        assert self.margin is not None
        return (
            f"{word} {100 * abs(self.margin):5.1f} points  {self.walk}: {self.words} "
            f"(found {100 * self.value:.1f})"
        )


def judge(rows: Sequence[Row]) -> list[AimResult]:
    """Judge the walks, and the walks between style centroids, by every aim.

    Args:
        rows: of all seeds and sets. Figures are taken seed by seed, then averaged.
    """
    seeds: dict[Any, dict[str, Row]] = {}
    for row in rows:
        seeds.setdefault(row["seed"], {})[row["set"]] = row
    names = {row["set"] for row in rows}
    pairs = [("walk", "line"), ("style-walk", "style-line")]
    return [
        _scored(aim, walk, line, list(seeds.values()))
        for walk, line in pairs
        if walk in names
        for aim in AIMS
    ]


def _scored(aim: Aim, walk: str, line: str, seeds: Sequence[Rows]) -> AimResult:
    figures = [
        aim.figure(rows.get("real", {}), rows.get(line, {}), rows[walk])
        for rows in seeds
        if walk in rows
    ]
    values = [value for value in figures if value is not None and math.isfinite(value)]
    if not values or len(values) < len(figures):
        return AimResult(walk, aim.key, aim.words, aim.limit, None, None, None, None, None)
    mean, low, high = over_seeds(values)
    margin = mean - aim.limit if aim.at_least else aim.limit - mean
    return AimResult(walk, aim.key, aim.words, aim.limit, mean, low, high, margin >= 0, margin)
