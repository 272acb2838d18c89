"""Tables of an experiment: a row per seed and set, and means over the seeds with intervals.

Their figures are what the audit's measures give, by their headings. What the paper reports stands
beside them: other data sets, other networks.
Pennisi et al., "A Privacy-Preserving Walk in the Latent Space of Generative Models for Medical
Applications", MICCAI 2023: chest X-rays of the Shenzhen tuberculosis set and fundus images of
APTOS 2019. Accuracies, and balanced accuracies of membership inference, as shares.
"""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from latentpath.audit import ATTACKS, LEVEL, Figure, all_measures, t_quantile

# What is measured of every set, besides its use; of the real people as far as it can be.
PRIVACY = ("nearest", "record_ratio", "gradients", "reidentification", "group_attack")
MEASURED = (*PRIVACY, "membership", "utility")

COLUMNS = {
    figure.name: figure
    for figure in (
        Figure("images", "Images", ("images",)),
        *(figure for name in MEASURED for figure in all_measures()[name].figures),
    )
}
"""Every figure by its heading. `lpips_mean` is mmL."""


def figures(measures: Mapping[str, Any]) -> dict[str, float | None]:
    """All columns of one set."""
    return {name: figure.of(measures) for name, figure in COLUMNS.items()}


def worst_attack(row: Mapping[str, Any]) -> float | None:
    """The balanced accuracy furthest from a half; None where no attack was tried."""
    tried = [row[f"{attack}_ba"] for attack in ATTACKS if row.get(f"{attack}_ba") is not None]
    return max(tried, key=lambda value: abs(value - 0.5), default=None)


PUBLISHED: dict[str, dict[str, dict[str, float]]] = {
    "Shenzhen TB": {
        "real": {"accuracy": 0.812, "membership": 0.714},
        "line": {"accuracy": 0.821, "membership": 0.563, "lpips_mean": 0.125},
        "walk": {"accuracy": 0.839, "membership": 0.501, "lpips_mean": 0.159},
    },
    "APTOS": {
        "real": {"accuracy": 0.507, "membership": 0.733},
        "line": {"accuracy": 0.416, "membership": 0.505, "lpips_mean": 0.118},
        "walk": {"accuracy": 0.470, "membership": 0.485, "lpips_mean": 0.131},
    },
}
"""Data set -> set -> figure."""


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
