"""When a set's use for training is green or red, by itself and beside another set.

Two accuracies with their own intervals answer that badly: much of each interval is the same test
images being hard or easy for both. The difference is paired image by image, so that this cancels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latentpath.audit.instrument_check import InstrumentCheck
from latentpath.audit.statistics.intervals import LEVEL, Interval
from latentpath.audit.statistics.sampling_error import difference
from latentpath.audit.utility.predictions import (
    Predictions,
    accuracy_score,
    auc_score,
    balanced_accuracy_score,
)
from latentpath.audit.verdict import Evidence, Finding, check_limits, counted
from latentpath.core import DataError, check_at_least, option

if TYPE_CHECKING:
    from latentpath.audit.utility.classifier_utility import Utility


@dataclass(frozen=True)
class UtilityDifference:
    """Figures of one set minus those of another, on the same test images.

    Attributes:
        accuracy: difference of the accuracies, -1 .. 1.
        balanced_accuracy: difference of the balanced accuracies.
        auc: difference of the areas under the ROC curve; None where the test set holds one class.
        covers: which sources of chance the intervals hold.
    """

    accuracy: Interval
    balanced_accuracy: Interval
    auc: Interval | None
    covers: str

    def within(self, points: float) -> bool | None:
        """Whether the first set's accuracy is at most `points` percentage points below.

        True if the whole interval says so, False if the whole interval says no, None where it
        holds both: the test set or the seeds are too few to tell.

        Raises:
            InputError: `points` is below 0.
        """
        check_at_least(0, points=points)
        if self.accuracy.low >= -points / 100:
            return True
        return False if self.accuracy.high < -points / 100 else None

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values."""
        return {
            "accuracy": self.accuracy.as_dict(),
            "balanced_accuracy": self.balanced_accuracy.as_dict(),
            "auc": self.auc and self.auc.as_dict(),
            "intervals_cover": self.covers,
        }


def compare_utility(a: Utility, b: Utility, *, level: float = LEVEL) -> UtilityDifference:
    """Compare two sets, for example a synthetic one with the real one: `a` minus `b`.

    Args:
        a: utility of the set in question, from `measure_utility`.
        b: utility of the yardstick, measured on the same test images in the same order.
        level: of the intervals.

    Raises:
        DataError: different test images, or figures without predictions.
    """
    first, second = _predictions(a), _predictions(b)
    same = first.class_names == second.class_names and all(
        np.array_equal(*pair)
        for pair in ((first.labels, second.labels), (first.people, second.people))
    )
    if not same:
        raise DataError(
            expected="two utilities measured on the same test images in the same order",
            got=f"{len(first.labels)} and {len(second.labels)} test images that differ",
            fix="give measure_utility the same test set both times",
        )
    areas = auc_score(first), auc_score(second)
    several = min(len(first.logits), len(second.logits)) > 1
    return UtilityDifference(
        difference(accuracy_score(first), accuracy_score(second), level),
        difference(balanced_accuracy_score(first), balanced_accuracy_score(second), level),
        difference(areas[0], areas[1], level) if areas[0] and areas[1] else None,
        "seeds and test images" if several else "test images, one seed only",
    )


def _predictions(utility: Utility) -> Predictions:
    if utility.predictions is None:
        raise DataError(
            expected="utilities with the classifiers' predictions",
            got="figures only",
            fix="use what measure_utility returns",
        )
    return utility.predictions


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
