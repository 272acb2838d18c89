"""When a set's use for training is green or red."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latentpath.audit.statistics.intervals import Interval
from latentpath.audit.verdict import Evidence, Finding, check_limits

if TYPE_CHECKING:
    from latentpath.audit.utility.classifier_utility import Utility


@dataclass(frozen=True)
class UtilityLimits:
    """Conventions: what is good enough to be of use."""

    green: float = 0.05
    """Largest loss of balanced accuracy, 0 to 1, against models trained on the real images that is
    green."""
    red: float = 0.1
    """The loss above which it is red."""

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
    )
