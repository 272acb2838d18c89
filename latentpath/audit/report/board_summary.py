"""The page for those who decide whether a set may be shared: one sheet, no image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from latentpath._version import __version__
from latentpath.audit.registry import wings
from latentpath.audit.report import report_tables
from latentpath.audit.report.report_model import Report
from latentpath.audit.report.report_sections import subject_of
from latentpath.audit.report.traffic_lights import TITLES, lights, verdict_lights
from latentpath.audit.verdict import SEVERITY, WEAK_INSTRUMENT, QuestionVerdict, counted
from latentpath.data import COUNTED_BY, network_notes

# What a longer title, name or sentence is cut to, so that all of it is one page.
_LONGEST = 180


def summary_context(report: Report, include_real: bool) -> dict[str, Any]:
    """Return everything that `summary.html` shows.

    Args:
        report: with verdicts.
        include_real: whether the report beside it shows real images.
    """
    audit = subject_of(report).audit
    certificate = report_tables.certificate(report.certificate)
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
        "formal": _formal(report),
        **people_behind(report),
        "cautions": [_short(text) for wing in wings() for text in wing.cautions(report)][:2],
        "shares": "red" not in [v.colour for v in report.headline if v.about == "privacy"]
        and not (report.networks or {}).get("trial"),
    }


def people_behind(report: Report) -> dict[str, str]:
    """Whose images are behind the set, who was held out, how people were counted, and what k is."""
    sets = report.settings.get("sets", {})
    real, holdout = sets.get("real"), sets.get("holdout")
    certificate = report.certificate or {}
    if _formal(report):
        behind = "Not stated: the exact number would itself be no differentially private figure."
    elif real is None:
        behind = "Unknown how many are behind it."
    else:
        behind = f"{counted(real['people'], 'person is', 'people are')} behind it"
        used = certificate.get("identities_used")
        behind += f", {used:,} of them in its averages." if used else "."
    if holdout is None:
        others = "Nobody was held out to compare with."
    else:
        others = (
            f"{counted(holdout['people'], 'other person was', 'other people were')} held out to "
            "compare with."
        )
    return {
        "behind": f"{behind} {others}",
        "told_apart": _told_apart(report, real),
        "endpoints": _endpoints(certificate),
    }


def _told_apart(report: Report, real: Mapping[str, Any] | None) -> str:
    """What told people apart for the audit, and for the set where that was something else."""
    here = real and COUNTED_BY.get(real.get("counted_by", ""))
    made = COUNTED_BY.get(str((report.reading or {}).get("counted_by", "")))
    if not here and not made:
        return "Unknown."
    if not here or not made or here == made:
        return f"{_capital(here or made or '')}."
    return f"{_capital(here)}, for this audit; when the set was made, {made}."


def _endpoints(certificate: Mapping[str, Any]) -> str:
    """What an endpoint is, and k."""
    drawn = "Every image was drawn on the way from one endpoint to another."
    k = certificate.get("k")
    if k:
        return (
            f"k is {k}. An endpoint is an average over at least {k} people of one class: it does "
            f"not tell any of them from the {k - 1} others. {drawn}"
        )
    if certificate:
        return f"There is no k. An endpoint is an average over people, with noise. {drawn}"
    return "Unknown: the set does not say how it was made, nor of how many people an image is."


def _formal(report: Report) -> bool:
    return bool(report.certificate and report.certificate.get("kind") == "differential privacy")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _figure(verdict: QuestionVerdict, light: dict[str, Any]) -> str:
    """The figure that decided a question, with its interval; of an open one, why it is open."""
    if not verdict.findings:
        return verdict.why
    worst = max(verdict.findings, key=lambda finding: SEVERITY[finding.colour])
    if worst.colour == "grey":
        return worst.doubts or worst.remarks
    limits = light["findings"][verdict.findings.index(worst)]["limits"]
    low, high = worst.written(worst.interval.low), worst.written(worst.interval.high)
    of = f" of {worst.of}" if worst.of else ""
    reach = f"95% interval{of}: {low} to {high}. " if low != high else ""
    weak = "" if all(check.works for check in worst.relies_on) else f" {WEAK_INSTRUMENT}"
    return f"{_short(worst.what.rstrip('.'))}. {reach}{limits}.{weak}"


def _short(text: str) -> str:
    """The text, or as many of its clauses as there is room for, or of its words."""
    if len(text) <= _LONGEST:
        return text
    for mark in (". ", "; "):
        if (end := text.rfind(mark, 0, _LONGEST)) > 0:
            return text[:end]
    room = text[: _LONGEST - 1].rstrip()
    return f"{room.rpartition(' ')[0] or room}…"
