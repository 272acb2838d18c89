"""The traffic lights: one for privacy, one for use, and one for each question."""

from __future__ import annotations

from typing import Any

from latentpath.audit.instrument_check import InstrumentCheck
from latentpath.audit.registry import Aspect
from latentpath.audit.report.report_model import Report
from latentpath.audit.verdict import AspectVerdict, Colour, Finding

WORDS: dict[Colour, str] = {
    "green": "Green",
    "amber": "Amber",
    "red": "Red",
    "grey": "Not answered",
}

TITLES: dict[Aspect, str] = {"privacy": "Privacy", "use": "Use"}

NEVER_GREEN = "What is not answered never counts as green."


def verdict_lights(report: Report) -> list[dict[str, Any]]:
    """The lights of privacy and of use, with what decided; none without questions."""
    return [
        {
            "title": TITLES[verdict.about],
            "colour": verdict.colour,
            "word": WORDS[verdict.colour],
            "answer": verdict.answer,
            "tally": f"{verdict.tally}." + (f" {NEVER_GREEN}" if _open(verdict) else ""),
            # Where all is well nothing needs a reason.
            "decided_by": []
            if verdict.colour == "green"
            else [question.question for question in verdict.decided_by],
        }
        for verdict in report.headline
    ]


def _open(verdict: AspectVerdict) -> bool:
    return any(question.colour == "grey" for question in verdict.questions)


def lights(report: Report) -> list[dict[str, Any]]:
    """One light for each question, with every figure that was looked at."""
    return [
        {
            "colour": verdict.colour,
            "word": WORDS[verdict.colour],
            "question": verdict.question,
            "why": verdict.why,
            "findings": [_finding(finding) for finding in verdict.findings],
            "checks": [
                {
                    "instrument": check.instrument,
                    "what": check.what if check.works else check.doubt.rstrip("."),
                    "colour": "green" if check.works else "grey",
                    "word": _word(check),
                }
                for check in verdict.checks
            ],
        }
        for verdict in report.verdicts
    ]


def _word(check: InstrumentCheck) -> str:
    if check.works:
        return "Works"
    return "Cannot answer" if check.voids else "Cannot acquit"


def _finding(finding: Finding) -> dict[str, Any]:
    write, interval = finding.written, finding.interval
    side, beyond = ("up to", "above") if finding.lower_is_better else ("from", "below")
    figure = write(interval.value)
    if (interval.low, interval.high) != (interval.value, interval.value):
        figure += f" ({write(interval.low)} to {write(interval.high)})"
    return {
        "colour": finding.colour,
        "word": WORDS[finding.colour],
        "what": finding.what,
        "figure": figure,
        "limits": f"Green {side} {write(finding.green)}, red {beyond} {write(finding.red)}",
        "caveat": finding.remarks,
    }
