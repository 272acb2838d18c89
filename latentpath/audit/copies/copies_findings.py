"""When copies are green or red."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from latentpath.audit.instrument_check import InstrumentCheck
from latentpath.audit.statistics.intervals import Interval
from latentpath.audit.verdict import Evidence, Finding, check_limits

if TYPE_CHECKING:
    from latentpath.audit.copies.duplicates import Duplicates


# What counts as a copy, in words.
LOOKED_FOR = (
    "equal, mirrored, turned, moved, cropped or tilted a little, blurred, noisy, brighter, "
    "inverted or re-encoded"
)

# Share of planted copies that must be found, so that finding none means something.
_FOUND = 0.5


@dataclass(frozen=True)
class CopyLimits:
    """Chosen on planted copies and fresh people of two data sets: digits and chest X-rays."""

    near_green: float = 0.02
    """Largest share of near-copies of real images beyond those that chance explains, 0 to 1, that
    is green. An image that equals a real one is always red."""
    near_red: float = 0.02
    """The share above which it is red."""
    certain_green: float = 0.005
    """Largest share of near-copies that is green, 0 to 1, where hardly anybody who was not copied
    is as similar to a real person."""
    certain_red: float = 0.005
    """The share above which it is red."""

    def __post_init__(self) -> None:
        check_limits(self)


def copies_findings(evidence: Evidence) -> Iterator[Finding]:
    """Equal images, near-copies, and near-copies beyond doubt.

    Of equally bad ones the first is quoted: equal images where there are any, else near-copies,
    which are more than these.
    """
    copies: Duplicates | None = evidence.own.copies
    limits, images = evidence.limits.copies, evidence.own.images
    if copies is None:
        return
    equal = tuple(_equal(copies, images))
    yield from (finding for finding in equal if finding.colour == "red")
    checks = tuple(_near_copies(copies))
    yield Finding(
        "copies",
        f"{copies.share.value:.1%} of its images are suspiciously similar to one real person "
        f"({LOOKED_FOR}); of people who took no part it is {copies.expected_share.value:.1%}",
        copies.excess,
        limits.near_green,
        limits.near_red,
        of="the share beyond chance",
        sample=evidence.sample,
        relies_on=checks,
    )
    yield Finding(
        "copies",
        f"{copies.certain.value:.1%} of its images are as similar to one real person as hardly "
        "anybody is who took no part, beyond what chance explains",
        copies.certain,
        limits.certain_green,
        limits.certain_red,
        sample=evidence.sample,
        relies_on=checks,
    )
    yield from (finding for finding in equal if finding.colour != "red")


def _equal(copies: Duplicates, images: int) -> Iterator[Finding]:
    """Images that equal one of the real set, or of the holdout."""
    for count, whose in (
        (copies.equal, "a real one"),
        (copies.equal_holdout, "one of the holdout"),
    ):
        if count is not None:
            yield Finding(
                "copies",
                f"{count:,} of its {images:,} images equal {whose} in every pixel, as they are, "
                "mirrored or turned",
                # Every image was looked at: this is no sample, and there is no other side to it.
                Interval(count / images, count / images, count / images),
                0.0,
                0.0,
            )


def _near_copies(copies: Duplicates) -> Iterator[InstrumentCheck]:
    """Whether changed copies of real images are found at all."""
    if not copies.calibrated:
        yield InstrumentCheck(
            "The search for changed copies",
            "It takes three real people at least to tell how alike people are",
            False,
        )
    elif copies.planted is not None:
        yield InstrumentCheck(
            "The search for changed copies",
            f"Of real images that were mirrored, moved, blurred or made noisy on purpose it finds "
            f"{copies.planted.value:.1%}; it takes {_FOUND:.0%}",
            copies.planted.value >= _FOUND,
            "These people look too much alike at this size: give larger images (--resolution)",
        )


def other_people(evidence: Evidence) -> Iterator[InstrumentCheck]:
    """Whether the holdout is one of other people, for every figure that needs them."""
    copies: Duplicates | None = evidence.holdout.copies if evidence.holdout else None
    limits = evidence.limits.copies
    if not copies:
        return
    yield InstrumentCheck(
        "The holdout",
        f"Of its images {copies.share.value:.1%} are suspiciously similar to a real person; a set "
        f"of other people has {copies.expected_share.value:.1%}",
        copies.excess.low <= limits.near_red and copies.certain.low <= limits.certain_red,
        "It is no set of other people: some of them seem to be among those behind the set",
    )
