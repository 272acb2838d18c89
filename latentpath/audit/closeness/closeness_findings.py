"""When a set's closeness to its own people is green or red."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latentpath.audit.copies.copies_findings import other_people
from latentpath.audit.instrument_check import enough_people
from latentpath.audit.verdict import Evidence, Finding, check_limits, counted

if TYPE_CHECKING:
    from latentpath.audit.closeness.closest_record import RecordRatio


@dataclass(frozen=True)
class ClosenessLimits:
    """Conventions: what is close enough to no leak."""

    green: float = 0.57
    """Largest share of the images nearer to a person behind the set than to somebody else, 0 to 1,
    that is green; half is no leak at all."""
    red: float = 0.6
    """The share above which it is red."""

    def __post_init__(self) -> None:
        check_limits(self)


def closeness_findings(evidence: Evidence) -> Iterator[Finding]:
    """The share nearer to its own people, by LPIPS and by gradients."""
    limits = evidence.limits.closeness
    for name, how in (
        ("record_ratio", "LPIPS"),
        ("gradients_ratio", "gradients, a measure without learnt weights"),
    ):
        ratio: RecordRatio | None = getattr(evidence.own, name)
        if ratio is not None:
            yield Finding(
                name,
                f"{ratio.share.value:.1%} of its images are nearer to a person behind the set "
                f"than to somebody else, by {how}; without any leak it is half of them",
                ratio.share,
                limits.green,
                limits.red,
                sample=f"{evidence.sample} and {counted(ratio.people, 'person', 'people')} a side",
                relies_on=(
                    *other_people(evidence),
                    enough_people(ratio.people, "other people"),
                ),
            )
