"""Tables that compare any number of sets, one row each.

A column that no set has a figure for is left out. The arrow in a title says which way is better,
for the people behind the real set or for whoever uses the synthetic one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from latentpath.audit.report.cell_formats import NOT_MEASURED, share
from latentpath.audit.report.report_model import Report
from latentpath.audit.set_audit import SetAudit
from latentpath.audit.statistics.intervals import Interval

UP, DOWN = "\N{NO-BREAK SPACE}↑", "\N{NO-BREAK SPACE}↓"

Cell = Callable[[SetAudit], str | None]


class Column(NamedTuple):
    """A column of a table of sets."""

    title: str
    cell: Cell
    """The cell of a set; None where it was not measured."""
    note: str = ""
    """A sentence below the table on what it is."""


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
    return {
        "columns": ["Set", *(columns[i].title for i in used)],
        "rows": rows,
        "notes": [columns[i].note for i in used if columns[i].note],
    }


def cell_of(name: str, write: Callable[[Any], str | None]) -> Cell:
    """The cell of a measure, where it was taken."""

    def cell(audit: SetAudit) -> str | None:
        result = audit.results.get(name)
        return None if result is None else write(result)

    return cell


def percent_interval(interval: Interval | None) -> str | None:
    """A share with its interval in percent."""
    if interval is None:
        return None
    return f"{share(interval.value)} ({100 * interval.low:.1f}–{100 * interval.high:.1f})"


def plain_interval(interval: Interval | None) -> str | None:
    """A figure with its interval."""
    if interval is None:
        return None
    return f"{interval.value:.3f} ({interval.low:.3f}–{interval.high:.3f})"
