"""Tables of an experiment: a row per seed and set, and means over the seeds with intervals."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from latentpath.audit import LEVEL, t_quantile
from latentpath.experiments.columns import COLUMNS

Row = Mapping[str, Any]
"""A seed, a set, and a figure or None for every column."""


def summarise(rows: Sequence[Row], level: float = LEVEL) -> list[dict[str, Any]]:
    """Mean of every figure of every set over the seeds, with Student's interval.

    The interval speaks of what other seeds would give, on these people and this holdout. It needs
    two seeds: with one, `low` and `high` are None.

    Args:
        rows: see `Row`; sets come in the order in which they are met.
        level: of the intervals.
    """
    summary = []
    for name in dict.fromkeys(row["set"] for row in rows):
        of_set = [row for row in rows if row["set"] == name]
        for column in COLUMNS:
            values = [row[column] for row in of_set if row.get(column) is not None]
            if values:
                mean, low, high = over_seeds(values, level)
                summary.append(
                    {
                        "set": name,
                        "measure": column,
                        "seeds": len(values),
                        "mean": mean,
                        "low": low,
                        "high": high,
                        "smallest": min(values),
                        "largest": max(values),
                    }
                )
    return summary


def over_seeds(
    values: Sequence[float], level: float = LEVEL
) -> tuple[float, float | None, float | None]:
    """Mean with the ends of Student's interval, None for a single value.

    >>> mean, low, high = over_seeds([1.0, 2.0, 3.0])
    >>> round(mean, 3), round(low, 3), round(high, 3)
    (2.0, -0.484, 4.484)
    """
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, None, None
    reach = t_quantile(0.5 + level / 2, len(values) - 1) * statistics.stdev(values)
    reach /= len(values) ** 0.5
    return mean, mean - reach, mean + reach


def as_csv(rows: Iterable[Row]) -> str:
    """Rows as CSV text with the first row's keys as headings; None is an empty cell."""
    rows = list(rows)
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _cell(value) for key, value in row.items()})
    return stream.getvalue()


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else value
