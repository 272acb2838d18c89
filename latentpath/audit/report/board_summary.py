"""The page for those who decide whether a set may be shared: one sheet, no image."""

from __future__ import annotations

from typing import Any

from latentpath._version import __version__
from latentpath.audit.registry import wings
from latentpath.audit.report import run_tables
from latentpath.audit.report.report_model import Report
from latentpath.audit.report.report_sections import subject_of
from latentpath.audit.report.traffic_lights import TITLES, lights, verdict_lights
from latentpath.audit.verdict import SEVERITY, WEAK_INSTRUMENT, QuestionVerdict
from latentpath.data import network_notes

# What a longer title, name or sentence is cut to, so that all of it is one page.
_LONGEST = 180


def summary_context(report: Report, include_real: bool) -> dict[str, Any]:
    """Return everything that `summary.html` shows.

    Args:
        report: with verdicts.
        include_real: whether the report beside it shows real images.
    """
    audit = subject_of(report).audit
    certificate = run_tables.certificate(report.certificate)
    return {
        "title": _short(report.title),
        "created": report.created,
        "version": __version__,
        "seal": report.seal,
        "include_real": include_real,
        "networks": network_notes(report.networks),
        "verdicts": verdict_lights(report),
        "questions": [
            {
                **light,
                "about": TITLES[verdict.about],
                "figure": _figure(verdict, light),
            }
            for verdict, light in zip(report.verdicts, lights(report), strict=True)
        ],
        "images": f"{audit.images:,}",
        "classes": len(audit.class_counts),
        "promise": _short(" ".join(certificate["sentences"][:1])) if certificate else "",
        "formal": certificate is not None and certificate["kind"] == "differential privacy",
        "cautions": [_short(text) for wing in wings() for text in wing.cautions(report)][:2],
        "shares": "red" not in [v.colour for v in report.headline if v.about == "privacy"],
    }


def _figure(verdict: QuestionVerdict, light: dict[str, Any]) -> str:
    """The figure that decided a question, with its interval; of an open one, why it is open."""
    if not verdict.findings:
        return verdict.why
    worst = max(verdict.findings, key=lambda finding: SEVERITY[finding.colour])
    if worst.colour == "grey":
        return worst.remarks
    limits = light["findings"][verdict.findings.index(worst)]["limits"]
    low, high = worst.written(worst.interval.low), worst.written(worst.interval.high)
    of = f" of {worst.of}" if worst.of else ""
    reach = f"95% interval{of}: {low} to {high}. " if low != high else ""
    weak = "" if all(check.works for check in worst.relies_on) else f" {WEAK_INSTRUMENT}"
    return f"{_short(worst.what.rstrip('.'))}. {reach}{limits}.{weak}"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1].rstrip()}…"
