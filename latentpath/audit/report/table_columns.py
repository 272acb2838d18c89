"""Tables that compare any number of sets, one row each.

A column that no set has a figure for is left out. The arrow in a title says which way is better,
for the people behind the real set or for whoever uses the synthetic one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from latentpath.audit.attacks.group_attack import GroupAttack
from latentpath.audit.attacks.group_score import GroupScore
from latentpath.audit.report.cell_formats import NOT_MEASURED, accuracy, share
from latentpath.audit.report.report_model import Report
from latentpath.audit.set_audit import SetAudit
from latentpath.audit.statistics.intervals import Interval

_UP, _DOWN = "\N{NO-BREAK SPACE}↑", "\N{NO-BREAK SPACE}↓"


class Column(NamedTuple):
    """A column: its title, and the cell of a set; None where it was not measured."""

    title: str
    cell: Callable[[SetAudit], str | None]


def table(report: Report, columns: Sequence[Column]) -> dict[str, Any] | None:
    """The columns that hold anything, for every set that has anything; None if there is none."""
    cells = [[column.cell(row.audit) for column in columns] for row in report.sets]
    used = [i for i in range(len(columns)) if any(row[i] is not None for row in cells)]
    if not used:
        return None
    rows = []
    for one, values in zip(report.sets, cells, strict=True):
        if any(values[i] is not None for i in used):
            shown = [NOT_MEASURED if (value := values[i]) is None else value for i in used]
            rows.append({"cells": [one.title, *shown], "subject": one.key == report.subject})
    return {"columns": ["Set", *(columns[i].title for i in used)], "rows": rows}


def _of(name: str, write: Callable[[Any], str | None]) -> Callable[[SetAudit], str | None]:
    """The cell of a measure, where it was taken."""

    def cell(audit: SetAudit) -> str | None:
        found = getattr(audit, name)
        return None if found is None else write(found)

    return cell


def percent_interval(found: Interval | None) -> str | None:
    """A share with its interval in percent."""
    if found is None:
        return None
    return f"{share(found.value)} ({100 * found.low:.1f}–{100 * found.high:.1f})"


def _plain_interval(found: Interval | None) -> str | None:
    return None if found is None else f"{found.value:.3f} ({found.low:.3f}–{found.high:.3f})"


def _manifold(name: str) -> Callable[[SetAudit], str | None]:
    def write(found: Any) -> str:
        return f"{getattr(found.distances.manifold, name):.3f}"

    return _of("fidelity", write)


def _thousandths(found: Any) -> str:
    return f"{1000 * found.kid:.2f} ± {1000 * found.kid_sd:.2f}"


def _agreed(found: Any) -> str:
    return f"{share(found.rank1.value)} ({share(found.chance1)})"


def _told(
    write: Callable[[GroupScore], str | None], others: str = "holdout"
) -> Callable[[SetAudit], str | None]:
    """A figure of the images against the people behind them and others."""

    def written(found: GroupAttack) -> str | None:
        score = found.scores.get(f"images_{others}")
        return None if score is None else write(score)

    return _of("group_attack", written)


OVERVIEW = (
    Column("Images", lambda audit: f"{audit.images:,}"),
    Column("Copies" + _DOWN, _of("copies", lambda found: share(found.share.value))),
    Column("mmL" + _UP, _of("nearest", lambda found: f"{found.mean:.3f}")),
    Column("5th percentile" + _UP, _of("nearest", lambda found: f"{found.quantile(0.05):.3f}")),
    Column("Nearer to its own people" + _DOWN, _of("record_ratio", lambda f: share(f.share.value))),
    Column("Re-identified" + _DOWN, _of("reidentification", lambda found: share(found.rate))),
    Column(
        "Strongest attack, AUC" + _DOWN,
        _of("membership", lambda found: f"{found.strongest[1].auc.value:.3f}"),
    ),
    Column("Tells its people, AUC" + _DOWN, _told(lambda found: f"{found.auc.value:.3f}")),
    Column(
        "Test accuracy" + _UP,
        _of("utility", lambda found: accuracy(found.accuracy, found.accuracy_sd)),
    ),
    Column("FID" + _DOWN, _of("fidelity", lambda found: f"{found.distances.fid:.3g}")),
    Column("Coverage" + _UP, _manifold("coverage")),
)

CLOSENESS = (
    Column("Copies" + _DOWN, _of("copies", lambda found: percent_interval(found.share))),
    Column("Exact" + _DOWN, _of("copies", lambda found: f"{found.counts['exact']:,}")),
    Column("Smallest distance" + _UP, _of("nearest", lambda f: f"{f.quantile(0):.4f}")),
    Column("1st percentile" + _UP, _of("nearest", lambda f: f"{f.quantile(0.01):.4f}")),
    Column("Median distance" + _UP, _of("nearest", lambda f: f"{f.quantile(0.5):.3f}")),
    Column("Second measure, mean" + _UP, _of("second", lambda found: f"{found.mean:.3f}")),
    Column("Its 5th percentile" + _UP, _of("second", lambda f: f"{f.quantile(0.05):.3f}")),
)


def _ratio(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "∞"


RATIOS = (
    Column(
        "Nearer to its own people" + _DOWN, _of("record_ratio", lambda f: percent_interval(f.share))
    ),
    Column("Ratio of medians" + _UP, _of("record_ratio", lambda found: _ratio(found.median_ratio))),
    Column(
        "Ratio of 5th percentiles" + _UP,
        _of("record_ratio", lambda found: _ratio(found.low_ratio)),
    ),
    Column(
        "Nearer, by the second measure" + _DOWN,
        _of("second_ratio", lambda found: percent_interval(found.share)),
    ),
)


def _named(found: Any) -> str | None:
    return percent_interval(found.naming.named) if found.naming else None


RECOGNITION = (
    Column("Named, at 1% of strangers" + _DOWN, _of("reidentification", _named)),
    Column(
        "Named by the independent witness" + _DOWN,
        _of("reidentification", lambda f: _named(f.independent) if f.independent else None),
    ),
    Column(
        "Mean largest probability" + _DOWN,
        _of("reidentification", lambda found: f"{found.mean_largest_probability:.3f}"),
    ),
    Column(
        "Linked" + _DOWN + " (by chance)",
        _of("reidentification", lambda f: f"{share(f.linkage)} ({share(f.linkage_chance)})"),
    ),
    Column(
        "Linked within first five" + _DOWN,
        _of("reidentification", lambda found: share(found.linkage_top5)),
    ),
    Column(
        "Somebody behind it named" + _DOWN + " (by chance)",
        _of("reidentification", lambda f: _agreed(f.sources) if f.sources else None),
    ),
    Column(
        "Both classifiers name the same" + _DOWN,
        _of("reidentification", lambda f: _agreed(f.classifiers) if f.classifiers else None),
    ),
)

GROUPS = (
    Column("AUC" + _DOWN, _told(lambda found: _plain_interval(found.auc))),
    Column(
        "Found at 1% false alarms" + _DOWN,
        _told(lambda found: percent_interval(found.tpr_at_1_percent)),
    ),
    Column(
        "AUC among private people" + _DOWN,
        _told(lambda found: _plain_interval(found.auc), "private"),
    ),
    Column(
        "Nearest of them is behind it" + _DOWN + " (by chance)",
        _told(lambda f: f"{share(f.hits[1].value)} ({share(f.chance[1])})", "private"),
    ),
)

MEMBERSHIP = (
    Column("AUC" + _DOWN, _of("membership", lambda found: _plain_interval(found.strongest[1].auc))),
    Column(
        "Balanced accuracy" + _DOWN,
        _of("membership", lambda found: percent_interval(found.strongest[1].balanced_accuracy)),
    ),
    Column(
        "Found at 1% false alarms" + _DOWN,
        _of("membership", lambda found: percent_interval(found.strongest[1].tpr_at_1_percent)),
    ),
    Column(
        "Found at 0.1%" + _DOWN,
        _of("membership", lambda found: percent_interval(found.strongest[1].tpr_at_01_percent)),
    ),
)

USE = (
    Column(
        "Balanced accuracy" + _UP,
        _of("utility", lambda f: accuracy(f.balanced_accuracy, f.balanced_accuracy_sd)),
    ),
    Column(
        "Its interval", _of("utility", lambda of: percent_interval(of.balanced_accuracy_interval))
    ),
    Column("AUC" + _UP, _of("utility", lambda found: _plain_interval(found.auc_interval))),
    Column(
        "Calibration error" + _DOWN,
        _of("utility", lambda f: f"{f.calibration.ece:.3f}" if f.calibration else None),
    ),
    Column(
        "Brier score" + _DOWN,
        _of("utility", lambda f: f"{f.calibration.brier.value:.3f}" if f.calibration else None),
    ),
)

LOOK = (
    Column("FID" + _DOWN, _of("fidelity", lambda found: f"{found.distances.fid:.3g}")),
    Column(
        "KID × 1000" + _DOWN,
        _of(
            "fidelity", lambda f: f"{1000 * f.distances.kid:.2f} ± {1000 * f.distances.kid_sd:.2f}"
        ),
    ),
    Column("Precision" + _UP, _manifold("precision")),
    Column("Recall" + _UP, _manifold("recall")),
    Column("Density" + _UP, _manifold("density")),
    Column("Coverage" + _UP, _manifold("coverage")),
    Column(
        "Variety against real" + _UP,
        _of("fidelity", lambda f: f"{f.diversity_ratio:.3f}" if f.diversity_ratio else None),
    ),
)
