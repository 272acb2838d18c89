"""When realism and variety are green or red, and what they are measured with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latentpath.audit.instrument_check import InstrumentCheck, more_people
from latentpath.audit.statistics.intervals import Interval, share_difference, wilson
from latentpath.audit.verdict import Evidence, Finding, check_limits, counted
from latentpath.core import check_at_least

if TYPE_CHECKING:
    from latentpath.audit.fidelity.set_fidelity import Fidelity


@dataclass(frozen=True)
class FidelityConfig:
    """What fidelity is measured with."""

    neighbours: int = 5
    """k: a set's manifold is balls as wide as the distance to the k-th nearest image of the same
    set. More makes precision and recall rise."""
    kid_subsets: int = 50
    """Random subsets that KID is averaged over. More is slower and steadier."""
    kid_subset_size: int = 1000
    """Images per subset, at most half the smaller set. Time grows with its square."""
    seed: int = 0
    """Seed of the subsets, and of the images drawn where sets are compared at equal size."""
    max_bytes: int = 1 << 28
    """Bound on the memory for blocks of distances, bytes. Less is slower, not less exact."""

    def __post_init__(self) -> None:
        check_at_least(1, neighbours=self.neighbours, kid_subsets=self.kid_subsets)
        check_at_least(2, kid_subset_size=self.kid_subset_size)
        check_at_least(0, seed=self.seed)
        check_at_least(1, max_bytes=self.max_bytes)


@dataclass(frozen=True)
class FidelityLimits:
    """Conventions: how far a set may stay behind fresh real images."""

    precision_green: float = 0.15
    """Largest loss of precision (realistic images), 0 to 1, against fresh real images that is
    green."""
    precision_red: float = 0.4
    """The loss above which it is red."""
    coverage_green: float = 0.15
    """Largest loss of coverage (variety), 0 to 1, against fresh real images that is green."""
    coverage_red: float = 0.4
    """The loss above which it is red."""

    def __post_init__(self) -> None:
        check_limits(self)


def fidelity_findings(evidence: Evidence) -> Iterator[Finding]:
    """The loss of precision and of coverage against fresh real images."""
    fidelity: Fidelity | None = evidence.own.fidelity
    if fidelity is None or fidelity.matched is None or fidelity.yardstick is None:
        return
    limits = evidence.limits.fidelity
    own, fresh = fidelity.matched.manifold, fidelity.yardstick.manifold
    rows = (
        (
            "precision",
            (own.precision, fresh.precision),
            fidelity.matched.images,
            "of its images look like real ones",
            (limits.precision_green, limits.precision_red),
        ),
        (
            "coverage",
            (own.coverage, fresh.coverage),
            evidence.yardstick.images,
            "of the variety of the real images is covered",
            (limits.coverage_green, limits.coverage_red),
        ),
    )
    for name, (value, other), count, words, (green, red) in rows:
        loss: Interval = share_difference(
            wilson(other * count, count), wilson(value * count, count)
        )
        yield Finding(
            "fidelity",
            f"{value:.1%} {words}; for fresh real images it is {other:.1%} ({name}, "
            f"{fidelity.matched.images:,} images each)",
            loss,
            green,
            red,
            of="the loss",
            relies_on=(_yardstick(name, other, red),),
            sample=counted(count, "image"),
        )


def _yardstick(name: str, fresh: float, red: float) -> InstrumentCheck:
    """Whether fresh real images do so well that a worthless set would be red."""
    return InstrumentCheck(
        f"The yardstick of {name}",
        f"Fresh real images reach a {name} of {fresh:.1%}; it takes more than {red:.0%} to tell a "
        "worthless set by",
        fresh > red,
        more_people(),
    )
