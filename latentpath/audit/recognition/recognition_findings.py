"""When a classifier's naming of people is green or red."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latentpath.audit.copies.copies_findings import other_people
from latentpath.audit.instrument_check import InstrumentCheck, more_people, people_to_resolve
from latentpath.audit.statistics.intervals import Interval
from latentpath.audit.verdict import Evidence, Finding, check_limits
from latentpath.core import longer_training, option

if TYPE_CHECKING:
    from latentpath.audit.recognition.identity_answers import CalibratedNaming
    from latentpath.audit.recognition.reidentification import Reidentification


@dataclass(frozen=True)
class RecognitionLimits:
    """Conventions: how often a classifier may name somebody."""

    named_green: float = 0.03
    """Largest share of the images for which an identity classifier names a person, 0 to 1, at a
    threshold that names 1% of the holdout, that is green."""
    named_red: float = 0.05
    """The share above which it is red."""
    witness_sees: float = 0.5
    """Share of the real images, 0 to 1, that a classifier must name so that its silence can be
    green."""

    def __post_init__(self) -> None:
        check_limits(self)


def recognition_findings(evidence: Evidence) -> Iterator[Finding]:
    """The share that the walk's classifier names, and the share that the witness names."""
    own: Reidentification | None = evidence.own.reidentification
    real: Reidentification | None = evidence.yardstick.reidentification
    limits = evidence.limits.recognition
    if own is None:
        return
    # The walk was optimised against the identity classifier; the witness has never met it.
    asked = [(own, real)]
    if own.witness is not None:
        asked.append((own.witness, real and real.witness))
    for answers, of_real in asked:
        who = answers.who
        if answers.naming is None:
            continue
        yield Finding(
            "reidentification",
            f"{who} names one real person for {answers.naming.named.value:.1%} of its images, at a "
            f"threshold that names {answers.naming.false_naming:.0%} of the holdout",
            _beyond_holdout(answers.naming),
            limits.named_green,
            limits.named_red,
            sample=evidence.sample_and_others,
            relies_on=(
                *other_people(evidence),
                *_resolved(answers.naming),
                _sight(who, of_real, limits),
            ),
        )


def _sight(
    who: str, of_real: Reidentification | None, limits: RecognitionLimits
) -> InstrumentCheck:
    """Whether a classifier recognises the real people themselves."""
    if of_real is None or of_real.naming is None:
        return InstrumentCheck(who, f"{who} was not asked about the real images", False)
    named = of_real.naming.named.value
    longer = option("--witness-steps of `latentpath audit`")
    if "witness" not in who:
        longer = longer_training("identity")
    return InstrumentCheck(
        who,
        f"{who} names {named:.1%} of the real images themselves; it takes "
        f"{limits.witness_sees:.0%} for its silence to mean anything",
        named >= limits.witness_sees,
        f"Train it longer ({longer})",
    )


def _resolved(naming: CalibratedNaming) -> Iterator[InstrumentCheck]:
    """Whether a threshold can name so small a share of the holdout."""
    needed = people_to_resolve(naming.false_naming)
    yield InstrumentCheck(
        "The threshold that names hardly anybody",
        f"It takes {needed} other people to set a threshold that names {naming.false_naming:.0%} "
        f"of them, and there are {'as many' if naming.resolved else 'fewer'}",
        naming.resolved,
        more_people(),
    )


def _beyond_holdout(naming: CalibratedNaming) -> Interval:
    """The share that is named, its lower end lowered by what the threshold is uncertain.

    The highest of a few people is no 1% threshold: by luck it names far more of a set in which
    there is nobody to be named. How many more shows in the holdout, each half of which is asked at
    the threshold of the other.
    """
    named, holdout = naming.named, naming.holdout
    down = ((named.value - named.low) ** 2 + (holdout.high - holdout.value) ** 2) ** 0.5
    return Interval(named.value, max(0.0, named.value - down), named.high, named.level)
