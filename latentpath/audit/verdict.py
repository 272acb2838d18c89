"""Green, amber or red: how a figure with its interval becomes an answer.

Two limits belong to every figure: up to one of them all is well, beyond the other it is not. The
interval decides, not the figure: an answer is green only if the whole interval lies on the good
side of the first limit, and red only if the whole of it lies on the bad side of the second.
Everything else is amber: the set may be good, but these images cannot show it. So a small set is
never green by luck, nor red.

What was not measured is grey. An instrument that failed may condemn a set but never acquit it: what
was measured with one is red or grey, and without a yardstick it is grey. Grey never counts as
green: where one question is open, its aspect is amber at best.

Questions are about two things, whether people are protected and whether the set is of use. Each of
these aspects has a verdict of its own (`AspectVerdict`), and neither can make up for the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from latentpath.audit.instrument_check import InstrumentCheck
from latentpath.audit.registry import Aspect, Wing, all_measures, wings
from latentpath.audit.statistics.intervals import Interval
from latentpath.core import InputError

if TYPE_CHECKING:
    from latentpath.audit.audit_config import AuditLimits
    from latentpath.audit.set_audit import SetAudit

Colour = Literal["green", "amber", "red", "grey"]

# From best to worst; what was not measured is no better than what is uncertain.
SEVERITY: dict[Colour, int] = {"green": 0, "grey": 1, "amber": 2, "red": 3}

NEEDS_HOLDOUT = (
    "It needs real images of other people (a holdout), and there are none: give them with "
    "--holdout (in Python holdout=)."
)

WEAK_INSTRUMENT = "An instrument that fails may condemn a set but never acquit it."


def counted(count: int, one: str, many: str = "") -> str:
    """A number of things in words: "1 walk", "1,200 walks"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


class Evidence(NamedTuple):
    """What a question is answered from."""

    own: SetAudit
    """The measures of the set in question."""
    yardstick: SetAudit
    """Those of the real set."""
    holdout: SetAudit | None
    """Those of the holdout, taken as if it were the set; None without one."""
    limits: AuditLimits
    """Where green ends and where red begins."""

    @property
    def sample(self) -> str:
        """How many images of the set count: its walks, where several images lie on each."""
        if self.own.people < self.own.images:
            return counted(self.own.people, "walk")
        return counted(self.own.images, "image")

    @property
    def sample_and_others(self) -> str:
        """The same beside the people of the holdout."""
        if self.holdout is None:
            return self.sample
        return f"{self.sample} and {counted(self.holdout.people, 'other person', 'other people')}"


@dataclass(frozen=True)
class Finding:
    """One figure against its two limits.

    Attributes:
        measure: name of the measure, as in `audit.json`.
        what: the figure in plain words.
        interval: the figure and how sure it is.
        green: limit up to which all is well.
        red: limit beyond which it is not.
        lower_is_better: False for figures such as an accuracy, whose limits are read downwards.
        percent: whether the figure is a share, shown as percent, or a plain number.
        at_best: colour that this finding cannot be better than, with `caveat` as the reason.
        caveat: what weakens the figure, in plain words.
        relies_on: checks of what it was measured with. Where one failed it is red or grey.
        of: what the interval is of, where that is not the figure that `what` gives, such as "the
            loss".
        sample: what the interval counts, such as "3 walks and 600 people".

    Raises:
        InputError: the limits stand in the wrong order, or are no numbers.
    """

    measure: str
    what: str
    interval: Interval
    green: float
    red: float
    lower_is_better: bool = True
    percent: bool = True
    at_best: Colour = "green"
    caveat: str = ""
    relies_on: tuple[InstrumentCheck, ...] = ()
    of: str = ""
    sample: str = ""

    def __post_init__(self) -> None:
        sign = 1 if self.lower_is_better else -1
        if not sign * self.green <= sign * self.red:
            raise InputError(
                expected=f"a limit of green {'below' if sign > 0 else 'above'} that of red for "
                f"{self.measure}",
                got=f"green {self.green}, red {self.red}",
                fix="swap or change them",
            )

    @property
    def colour(self) -> Colour:
        """What the interval says, no better than `at_best`, and as far as its instruments allow."""
        if any(check.voids for check in self._failed):
            return "grey"
        colour = grade(self.interval, self.green, self.red, lower_is_better=self.lower_is_better)
        limited: Colour = max(colour, self.at_best, key=SEVERITY.__getitem__)
        return "grey" if self._failed and limited != "red" else limited

    @property
    def _failed(self) -> list[InstrumentCheck]:
        return [check for check in self.relies_on if not check.works]

    @property
    def reason(self) -> str:
        """Why it is amber or red, by its interval; nothing where `caveat` is the reason."""
        low, high = self.interval.low, self.interval.high
        if self.colour not in ("amber", "red") or low == high:
            return ""
        by_interval = grade(
            self.interval, self.green, self.red, lower_is_better=self.lower_is_better
        )
        if by_interval == "green":
            return ""
        if math.isnan(low) or math.isnan(high):
            return "Amber because the figure is no number"
        reach = f"{self.written(low)} to {self.written(high)}"
        green, red = self.written(self.green), self.written(self.red)
        whose = f"the 95% interval{f' of {self.of}' if self.of else ''}"
        few = f"with {self.sample} " if self.sample else ""
        if by_interval == "red":
            return f"Red because {few}{whose}, {reach}, lies wholly beyond {red}"
        near, far = (low, high) if self.lower_is_better else (high, low)
        sign = 1 if self.lower_is_better else -1
        if sign * near <= sign * self.green:
            return f"Amber because {few}{whose} is {reach}, and green ends at {green}"
        if sign * far <= sign * self.red:
            return (
                f"Amber because {few}{whose}, {reach}, lies between {green}, where green ends, and "
                f"{red}, where red begins"
            )
        return f"Amber because {few}{whose} is {reach}, and red begins at {red}"

    @property
    def why(self) -> str:
        """The figure, what its interval makes of it, and what weakens it, as sentences.

        Of a grey figure the reason comes first, and the figure is said to be none to go by.
        """
        if self.colour == "grey":
            return f"{self.remarks} Measured, but not to be relied on: {_sentences([self.what])}"
        return _sentences([self.what, self.remarks])

    @property
    def remarks(self) -> str:
        """As `why`, without the figure."""
        return _sentences([self.reason, self.doubts, self.caveat])

    @property
    def doubts(self) -> str:
        """Which of its instruments failed and what would help, as sentences."""
        failed = self._failed
        fixes = dict.fromkeys(check.fix for check in failed)
        rule = WEAK_INSTRUMENT if failed and not any(check.voids for check in failed) else ""
        return _sentences([*(check.what for check in failed), *fixes, rule])

    def written(self, value: float) -> str:
        """A value of this figure for readers: a share as percent."""
        if not math.isfinite(value):
            return "no figure"
        if not self.percent:
            text = f"{value:.3g}"
        else:
            # A digit more where a share is small, so that limits stay apart.
            text = f"{100 * value:.2f}%" if 0 < abs(value) < 0.01 else f"{100 * value:.1f}%"
        return text.replace("-", "\N{MINUS SIGN}")

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "measure": self.measure,
            "what": self.what,
            **self.interval.as_dict(),
            "green": self.green,
            "red": self.red,
            "lower_is_better": self.lower_is_better,
            "colour": self.colour,
            "reason": self.reason,
            "caveat": " ".join(
                [c.doubt for c in self.relies_on if not c.works] + [self.caveat]
            ).strip(),
        }


@dataclass(frozen=True)
class QuestionVerdict:
    """The answer to one question about a set.

    Attributes:
        key: short name, that of the wing, such as "copies".
        question: in plain words.
        colour: "green", "amber" or "red"; "grey" where nothing was measured that can answer.
        value: the figure that decided; None where none did.
        threshold: the limit that it was held against: that of green, or of red where it is red.
        why: the reason in plain words.
        findings: every figure that was looked at; the worst of them decided.
        about: which of the two verdicts it is part of.
    """

    key: str
    question: str
    colour: Colour
    value: Interval | None
    threshold: float | None
    why: str
    findings: tuple[Finding, ...] = ()
    about: Aspect = "privacy"

    @property
    def checks(self) -> tuple[InstrumentCheck, ...]:
        """How its instruments did where the answer is known, each once."""
        return tuple(
            dict.fromkeys(check for finding in self.findings for check in finding.relies_on)
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "question": self.question,
            "about": self.about,
            "colour": self.colour,
            "value": self.value and self.value.as_dict(),
            "threshold": self.threshold,
            "why": self.why,
            "findings": [finding.as_dict() for finding in self.findings],
            "checks": [check.as_dict() for check in self.checks],
        }


ASPECTS: dict[Aspect, dict[Colour, str]] = {
    "privacy": {
        "green": "Nothing was found that gives away the people behind this set",
        "amber": "It is not settled whether this set protects the people behind it",
        "red": "This set gives away people behind it: do not share it as it is",
        "grey": "Nothing was measured that tells whether people are protected",
    },
    "use": {
        "green": "It can stand in for the real images, within the limits below",
        "amber": "It is not settled whether it can stand in for the real images",
        "red": "It is of little use in place of the real images",
        "grey": "Nothing was measured that tells whether it is of use",
    },
}


@dataclass(frozen=True)
class AspectVerdict:
    """The answer to all questions about privacy together, or to all about use.

    Attributes:
        about: which of the two.
        colour: as in `overall`.
        answer: one sentence, without its full stop.
        decided_by: the questions that decided it: the worst ones, and where they are open, these.
        questions: all questions of this aspect.
    """

    about: Aspect
    colour: Colour
    answer: str
    decided_by: tuple[QuestionVerdict, ...]
    questions: tuple[QuestionVerdict, ...]

    @property
    def tally(self) -> str:
        """How its questions came out, such as "3 green, 1 amber"."""
        colours = [question.colour for question in self.questions]
        words = {colour: "not answered" if colour == "grey" else colour for colour in SEVERITY}
        return ", ".join(
            f"{colours.count(colour)} {words[colour]}" for colour in SEVERITY if colour in colours
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "colour": self.colour,
            "answer": self.answer,
            "decided_by": [question.key for question in self.decided_by],
        }


def headline(verdicts: Iterable[QuestionVerdict]) -> tuple[AspectVerdict, ...]:
    """One verdict on privacy and one on use, in this order; none where there are no questions."""
    given = tuple(verdicts)
    if not given:
        return ()
    found = []
    for about, answers in ASPECTS.items():
        questions = tuple(verdict for verdict in given if verdict.about == about)
        colour = overall(questions)
        worst = max((SEVERITY[q.colour] for q in questions), default=0)
        decided = tuple(q for q in questions if SEVERITY[q.colour] == worst)
        found.append(AspectVerdict(about, colour, answers[colour], decided, questions))
    return tuple(found)


def verdict_lines(content: Mapping[str, Any]) -> list[str]:
    """The verdicts on privacy and on use that a report gave, in our words, a line each.

    Args:
        content: of its `audit.json`; what is no verdict of ours in there is left out.
    """
    given, lines = content.get("verdicts"), []
    for about, answers in ASPECTS.items():
        verdict = given.get(about) if isinstance(given, Mapping) else None
        colour = verdict.get("colour") if isinstance(verdict, Mapping) else None
        lines += [f"{c:<6} {about}: {text}" for c, text in answers.items() if c == colour]
    return lines


def answer(
    own: SetAudit,
    yardstick: SetAudit,
    holdout: SetAudit | None = None,
    limits: AuditLimits | None = None,
) -> tuple[QuestionVerdict, ...]:
    """Answer every question about a set.

    Args:
        own: the set's measures.
        yardstick: those of the real set.
        holdout: those of real images of other people, taken as if they were the set.
        limits: of green and red; those that it was measured with if None.
    """
    evidence = Evidence(own, yardstick, holdout, limits or own.config.limits)
    return tuple(
        decide(
            wing.name,
            wing.question,
            tuple(wing.findings(evidence)),
            missing=_reason(evidence, wing),
            about=wing.about,
        )
        for wing in wings()
    )


def _reason(evidence: Evidence, wing: Wing) -> str:
    """Why nothing was found by any of a wing's measures."""
    own, real = evidence.own, evidence.yardstick
    for name in wing.answered_by:
        # What is never asked of the real set is not missing there.
        if name in own.results and all_measures()[name].of_real and name in real.not_measured:
            return real.not_measured[name]
    if evidence.holdout is None and any(measure.name in own.results for measure in wing.measures):
        return NEEDS_HOLDOUT
    for name in wing.answered_by:
        if name in own.not_measured:
            return own.not_measured[name]
    return NEEDS_HOLDOUT


def grade(interval: Interval, green: float, red: float, *, lower_is_better: bool = True) -> Colour:
    """Hold an interval against two limits; an end that equals a limit is still within it.

    A figure that is no number is amber: it was measured and says nothing.

    Example:
        >>> grade(Interval(0.51, 0.49, 0.53), green=0.55, red=0.60)
        'green'
        >>> grade(Interval(0.51, 0.40, 0.62), green=0.55, red=0.60)
        'amber'
    """
    if lower_is_better:
        good, bad = interval.high <= green, interval.low > red
    else:
        good, bad = interval.low >= green, interval.high < red
    return "green" if good else "red" if bad else "amber"


def decide(
    key: str,
    question: str,
    findings: Sequence[Finding],
    *,
    missing: str,
    about: Aspect = "privacy",
) -> QuestionVerdict:
    """Answer a question by the worst of its findings.

    Args:
        key: short name of the question.
        question: in plain words.
        findings: none where nothing was measured; of equally bad ones the first is quoted.
        missing: why nothing was measured, in plain words.
        about: which of the two verdicts it is part of.
    """
    if not findings:
        return QuestionVerdict(key, question, "grey", None, None, missing, about=about)
    worst = max(findings, key=lambda finding: SEVERITY[finding.colour])
    verdict = QuestionVerdict(
        key, question, worst.colour, None, None, worst.why, tuple(findings), about
    )
    if worst.colour == "grey":
        return verdict
    limit = worst.red if worst.colour == "red" else worst.green
    return replace(verdict, value=worst.interval, threshold=limit)


def _sentences(parts: Iterable[str]) -> str:
    """Clauses and sentences as sentences; what is empty is left out."""
    return " ".join(part if part.endswith(".") else f"{part}." for part in parts if part)


def overall(verdicts: Iterable[QuestionVerdict]) -> Colour:
    """The answer to several questions together: the worst, and amber at best where one is open.

    Without any verdict, or if none was measured, it is grey.
    """
    colours = [verdict.colour for verdict in verdicts]
    if all(colour == "grey" for colour in colours):
        return "grey"
    worst = max(colours, key=SEVERITY.__getitem__)
    return "amber" if worst == "grey" else worst


def check_limits(limits: Any) -> None:
    """Check a dataclass of limits from 0 to 1, whose fields end in `green` and `red`.

    Raises:
        InputError: a limit outside of 0 to 1, or one of red below that of green.
    """
    for field in fields(limits):
        value = getattr(limits, field.name)
        is_red = field.name.endswith("red")
        green = getattr(limits, field.name.removesuffix("red") + "green") if is_red else 0.0
        if not green <= value <= 1:
            raise InputError(
                expected="limits from 0 to 1, that of red not below that of green",
                got=f"{field.name} of {value} (green: {green})",
                fix="correct the limits",
            )
