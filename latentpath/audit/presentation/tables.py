"""The tables: sets side by side, energies, gate, certificate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from latentpath.audit import figures
from latentpath.audit.audit import SetAudit
from latentpath.audit.presentation.words import NOT_MEASURED, accuracy, data_uri, flat, share
from latentpath.audit.reidentification import Reidentification
from latentpath.audit.report import GateSummary, Report

# The arrow says which way is better for the people behind the real set, or for the users.


COLUMNS = (
    "Set",
    "Images",
    "mmL\N{NO-BREAK SPACE}↑",
    "5th percentile\N{NO-BREAK SPACE}↑",
    "Re-identified\N{NO-BREAK SPACE}↓",
    "Linked\N{NO-BREAK SPACE}↓ (by chance)",
    "Test accuracy\N{NO-BREAK SPACE}↑",
)


DETAIL_COLUMNS = (
    "Set",
    "Smallest distance",
    "Median distance",
    "Mean largest probability",
    "Linked within first five",
    "Balanced accuracy",
)


CERTIFICATE_WORDS = ("promise", "not_promised")


GATE_COLUMNS = ("Set", "Tested", "Rejected", "Kept")


def measures(audit: SetAudit) -> list[str]:
    """Cells of the main table after the name of the set, as `COLUMNS`."""
    nearest, utility = audit.nearest, audit.utility
    return [
        f"{audit.images:,}",
        f"{nearest.mean:.3f}" if nearest else NOT_MEASURED,
        f"{nearest.quantile(0.05):.3f}" if nearest else NOT_MEASURED,
        *_identity_cells(audit.reidentification),
        accuracy(utility.accuracy, utility.accuracy_sd) if utility else NOT_MEASURED,
    ]


def _identity_cells(found: Reidentification | None) -> tuple[str, str]:
    if found is None:
        return NOT_MEASURED, NOT_MEASURED
    return share(found.rate), f"{share(found.linkage)} ({share(found.linkage_chance)})"


def details(audit: SetAudit) -> list[str]:
    """Cells of the second table, as `DETAIL_COLUMNS`."""
    nearest, found, utility = audit.nearest, audit.reidentification, audit.utility
    return [
        f"{nearest.quantile(0):.4f}" if nearest else NOT_MEASURED,
        f"{nearest.quantile(0.5):.3f}" if nearest else NOT_MEASURED,
        f"{found.mean_largest_probability:.3f}" if found else NOT_MEASURED,
        share(found.linkage_top5) if found else NOT_MEASURED,
        accuracy(utility.balanced_accuracy, utility.balanced_accuracy_sd)
        if utility
        else NOT_MEASURED,
    ]


def threshold(report: Report) -> str:
    """The probability above which a person counts as named, or nothing."""
    for row in report.sets:
        if row.audit.reidentification is not None:
            return f"{row.audit.reidentification.threshold:.0%}"
    return ""


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
    counts = {name: value for name, value in certificate.items() if name not in hidden}
    kind = certificate.get("kind", "")
    return {"kind": kind, "sentences": sentences, "rows": flat(counts)}
