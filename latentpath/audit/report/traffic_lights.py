"""The traffic lights: one for the whole, one for each question."""

from __future__ import annotations

import math
from typing import Any

from latentpath.audit.registry import wings
from latentpath.audit.report.report_model import Report
from latentpath.audit.verdict import Colour, Finding, QuestionVerdict, overall

WORDS: dict[Colour, str] = {
    "green": "Green",
    "amber": "Amber",
    "red": "Red",
    "grey": "Not measured",
}

ANSWERS: dict[Colour, str] = {
    "green": "Nothing was found that speaks against sharing this set",
    "amber": "Not settled: look closer before this set is shared",
    "red": "Do not share this set as it is",
    "grey": "Nothing was measured that could answer",
}


def whole(report: Report) -> dict[str, Any] | None:
    """The light of the whole set and how the questions came out; None without verdicts."""
    if not report.verdicts:
        return None
    colour = overall(report.verdicts)
    answer = ANSWERS[colour]
    private = {wing.name for wing in wings() if wing.about_people}
    if colour == "red" and not any(v.colour == "red" and v.key in private for v in report.verdicts):
        answer = "This set is of little use as it is"
    return {
        "colour": colour,
        "word": WORDS[colour],
        "answer": answer,
        "tally": _tally(report.verdicts),
    }


def lights(report: Report) -> list[dict[str, Any]]:
    """One light for each question, with every figure that was looked at."""
    return [
        {
            "colour": verdict.colour,
            "word": WORDS[verdict.colour],
            "question": verdict.question,
            "why": verdict.why,
            "findings": [_finding(finding) for finding in verdict.findings],
        }
        for verdict in report.verdicts
    ]


def _tally(verdicts: tuple[QuestionVerdict, ...]) -> str:
    counts = {c: sum(verdict.colour == c for verdict in verdicts) for c in WORDS}
    named = [f"{count} {WORDS[c].lower()}" for c, count in counts.items() if count]
    text = f"{len(verdicts)} questions: {', '.join(named)}."
    if counts["grey"]:
        text += " What was not measured never counts as green."
    return text


def _finding(finding: Finding) -> dict[str, Any]:
    write = _percent if finding.percent else _number
    interval = finding.interval
    side, beyond = ("up to", "above") if finding.lower_is_better else ("from", "below")
    figure = write(interval.value)
    if (interval.low, interval.high) != (interval.value, interval.value):
        figure += f" ({write(interval.low)} to {write(interval.high)})"
    return {
        "colour": finding.colour,
        "word": WORDS[finding.colour],
        "what": finding.what,
        "figure": figure,
        "limits": f"green {side} {write(finding.green)}, red {beyond} {write(finding.red)}",
        "caveat": finding.caveat,
    }


def _percent(value: float) -> str:
    """Percent with a digit more where the share is small, so that limits stay apart."""
    if not math.isfinite(value):
        return "no figure"
    return f"{100 * value:.2f}%" if 0 < abs(value) < 0.01 else f"{100 * value:.1f}%"


def _number(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "no figure"
