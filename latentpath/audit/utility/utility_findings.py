"""When a set's use for training is green or red."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latentpath.audit.instrument_check import InstrumentCheck
from latentpath.audit.statistics.intervals import Interval
from latentpath.audit.verdict import Evidence, Finding, check_limits, counted
from latentpath.core import option

if TYPE_CHECKING:
    from latentpath.audit.utility.classifier_utility import Utility


@dataclass(frozen=True)
class UtilityLimits:
    """Conventions: what is good enough to be of use."""

    green: float = 0.05
    """Largest loss of balanced accuracy, 0 to 1, against models trained on the real images that is
    green. Where the set's models are surely ahead by more, the real ones are not trained out."""
    red: float = 0.1
    """The loss above which it is red."""
    skill: float = 0.2
    """How far models trained on the real images must surely get from chance (0) to no error (1) in
    balanced accuracy, lest the comparison with them say nothing."""

    def __post_init__(self) -> None:
        check_limits(self)


def utility_findings(evidence: Evidence) -> Iterator[Finding]:
    """The loss of balanced accuracy against models trained on the real images."""
    own: Utility | None = evidence.own.utility
    real: Utility | None = evidence.yardstick.utility
    limits = evidence.limits.utility
    if own is None or real is None:
        return
    from latentpath.audit.utility.utility_difference import compare_utility

    gain = compare_utility(own, real).balanced_accuracy
    yield Finding(
        "utility",
        f"Models trained on it reach a balanced accuracy of {own.balanced_accuracy:.1%} on real "
        f"images of other people; those trained on the real images, {real.balanced_accuracy:.1%}",
        Interval(-gain.value, -gain.high, -gain.low, gain.level),
        limits.green,
        limits.red,
        of="the loss",
        sample=_sample(own),
        relies_on=(*_yardstick(real, limits), *_trained_out(real, gain, limits)),
    )


def _sample(own: Utility) -> str:
    trainings = f"{counted(len(own.runs), 'training')} a set"
    if own.test_people is None:
        return trainings
    return f"{counted(own.test_people, 'test person', 'test people')} and {trainings}"


def _longer() -> str:
    steps = option("--classifier-steps of `latentpath audit`")
    return f"Train them longer (--thorough, or {steps}), or give more test images"


def _yardstick(real: Utility, limits: UtilityLimits) -> Iterator[InstrumentCheck]:
    """Whether models trained on the real images themselves have learnt anything."""
    reached = real.balanced_accuracy_interval
    classes = sum(recall is not None for recall in real.runs[0].recall)
    if reached is None or not classes:
        return
    chance = 1 / classes
    needed = chance + limits.skill * (1 - chance)
    yield InstrumentCheck(
        "Models trained on the real images",
        f"Guessing gives {chance:.1%}; models trained on the real images reach {reached.low:.1%} "
        f"to {reached.high:.1%}, and it takes {needed:.1%} at least to be a yardstick",
        reached.low >= needed,
        _longer(),
        voids=True,
    )


def _trained_out(real: Utility, gain: Interval, limits: UtilityLimits) -> Iterator[InstrumentCheck]:
    """Whether models trained on the real images are as good as these images make them.

    Two signs that they are not. The set was made from the real images, so whoever learns from it
    learns no more than these hold, and is not far ahead. And an area A under the ROC curve is at
    most 1 - (1 - J)^2 / 2, with J the largest difference of the rates of hits and false alarms
    (no curve lies above hits = false alarms + J): at some threshold the balanced accuracy, (1 + J)
    / 2, is at least 1 - sqrt((1 - A) / 2). Models far below it rank images well, and have not
    learnt yet where the classes part.
    """
    low, high = (f"{100 * end:.1f}".replace("-", "\N{MINUS SIGN}") for end in (gain.low, gain.high))
    yield InstrumentCheck(
        "The yardstick against the set",
        f"Models trained on the set are {low} to {high} points ahead of those trained on the real "
        f"images, which hold all that the set was made from; surely more than "
        f"{100 * limits.green:.0f} would mean that these are not trained out",
        gain.low <= limits.green,
        _longer(),
        voids=True,
    )
    reached, area = real.balanced_accuracy_interval, real.auc_interval
    if reached is None or area is None or len(real.runs[0].recall) != 2:
        return
    possible = 1 - math.sqrt((1 - area.low) / 2)
    yield InstrumentCheck(
        "The yardstick against its AUC",
        f"Models trained on the real images reach a balanced accuracy of up to {reached.high:.1%}; "
        f"with so large an AUC (from {area.low:.3f}) {possible:.1%} is in reach of them, and more "
        f"than {100 * limits.green:.0f} points less would mean that they are not trained out",
        reached.high >= possible - limits.green,
        _longer(),
        voids=True,
    )
