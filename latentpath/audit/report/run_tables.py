"""Tables of how a set was made: energies, gate, certificate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from latentpath.audit.report import run_figures as figures
from latentpath.audit.report.cell_formats import NOT_MEASURED, data_uri, flat, share
from latentpath.audit.report.report_model import GateSummary, Report

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
    counts = {name: value for name, value in certificate.items() if name not in hidden}
    kind = certificate.get("kind", "")
    return {"kind": kind, "sentences": sentences, "rows": flat(counts)}
