"""Is one set as good to train on as another? Their difference on the same test images.

Two accuracies with their own intervals answer that badly: much of each interval is the same test
images being hard or easy for both. The difference is paired image by image, so that this cancels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latentpath.audit.statistics.intervals import LEVEL, Interval
from latentpath.audit.statistics.sampling_error import difference
from latentpath.audit.utility.classifier_utility import Utility
from latentpath.audit.utility.prediction_scores import (
    accuracy_score,
    auc_score,
    balanced_accuracy_score,
)
from latentpath.audit.utility.predictions import Predictions
from latentpath.core import DataError, check_at_least


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
