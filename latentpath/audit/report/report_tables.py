"""Tables of the report, and how numbers, settings, networks and pictures are written in them.

Some tell how a set was made, the others compare any number of sets, one row each.
A column that no set has a figure for is left out. The arrow in a title says which way is better,
for the people behind the real set or for whoever uses the synthetic one.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from latentpath.audit.report import run_figures as figures
from latentpath.audit.report.report_model import GateSummary, Report, ReportSet
from latentpath.audit.set_audit import SetAudit
from latentpath.audit.statistics.intervals import Interval
from latentpath.core import plain_values
from latentpath.data import CERTIFICATE_NAMES

# Larger images are shrunk to this for the page, in pixels.
LARGEST_SIDE = 128

NOT_MEASURED = "–"


def share(value: float) -> str:
    """A share as percent; a small share is not rounded to none, nor a large one to all."""
    if 0 < value < 0.0005:
        return "<0.1%"
    if 0.9995 <= value < 1:
        return ">99.9%"
    return f"{value:.1%}"


def accuracy(mean: float, sd: float | None) -> str:
    """Mean and standard deviation in percent."""
    return f"{mean:.1%}" if sd is None else f"{100 * mean:.1f} ± {100 * sd:.1f}%"


def marked(report: Report, row: ReportSet, cells: list[str]) -> dict[str, Any]:
    """A row of a table that begins with the set and says whether it is the subject."""
    return {"cells": [row.title, *cells], "subject": row.key == report.subject}


def flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Name and value of every entry, nested ones with dotted names."""
    rows: list[tuple[str, str]] = []
    for name, value in plain_values(values, for_readers=True).items():
        if isinstance(value, dict) and value:
            rows += flat(value, f"{prefix}{name}.")
        else:
            rows.append((prefix + name, _as_text(value)))
    return rows


def _as_text(value: Any) -> str:
    if value is None or value in ([], {}):
        return "none"
    if isinstance(value, list):
        return ", ".join(_as_text(item) for item in value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def picture(image: np.ndarray, largest_side: int) -> str:
    """A PNG of at most `largest_side` pixels per side, as a data URI."""
    return data_uri(figures.encode_png(image, largest_side=largest_side), "png")


def data_uri(raw: bytes, kind: str) -> str:
    """An image inside the page."""
    return f"data:image/{kind};base64,{base64.b64encode(raw).decode()}"


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


CERTIFICATE_WORDS = ("promise", "not_promised")


GATE_COLUMNS = ("Set", "Tested", "Rejected", "Kept")


def energies(report: Report) -> dict[str, Any] | None:
    """Mean path energies before and after, as rows and as a figure."""
    energies = report.energies
    if energies is None:
        return None
    rows = []
    for term, before in energies.before.items():
        means = float(np.mean(before)), float(np.mean(energies.after[term]))
        change = f"{means[1] / means[0] - 1:+.0%}" if means[0] > 0 else NOT_MEASURED
        rows.append([term, f"{means[0]:.2f}", f"{means[1]:.2f}", change])
    first = next(iter(energies.before.values()))
    return {
        "rows": rows,
        "paths": len(first),
        "figure": data_uri(figures.energy_figure(energies), "svg+xml"),
    }


def gate(gate: GateSummary) -> list[str]:
    """Cells of the table of what the gate did, as `GATE_COLUMNS`."""
    reasons = [f"{count:,} {reason}" for reason, count in gate.rejected.items() if count]
    kept = f"{gate.kept:,} ({share(gate.kept / gate.tested)})" if gate.tested else "0"
    return [f"{gate.tested:,}", "; ".join(reasons) or "none", kept]


def certificate(certificate: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Its sentences and its counts; the whole configuration stands in `audit.json`."""
    if certificate is None:
        return None
    sentences = [str(certificate[name]) for name in CERTIFICATE_WORDS if name in certificate]
    hidden = (*CERTIFICATE_WORDS, "format", "configuration")
    counts = {
        CERTIFICATE_NAMES.get(name, name): value
        for name, value in certificate.items()
        if name not in hidden
    }
    kind = certificate.get("kind", "")
    return {"kind": kind, "sentences": sentences, "rows": flat(counts)}
