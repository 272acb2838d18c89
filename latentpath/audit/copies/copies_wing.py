"""Is any image a copy of a real one?

The measures of the question, and what the report shows of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from latentpath.audit.audit_setup import AuditSetup, Subject
from latentpath.audit.copies.copies_findings import LOOKED_FOR, copies_findings
from latentpath.audit.registry import Measure, Wing
from latentpath.audit.report.report_model import Report
from latentpath.audit.report.report_sections import Section, subject_of
from latentpath.audit.report.report_tables import (
    DOWN,
    Column,
    cell_of,
    percent_interval,
    share,
    table,
)

if TYPE_CHECKING:
    from latentpath.audit.copies.duplicates import DuplicateReference, Duplicates

# Kinds of copies, as their counts are read.
KINDS = {
    "exact": "equal in every pixel",
    "flipped": "mirrored or turned",
    "shifted": "moved",
    "near": "blurred, noisy, rescaled or alike",
}

OVERVIEW = (
    Column(
        "Copies" + DOWN,
        cell_of("copies", lambda copies: share(copies.share.value)),
        "Copies: images that are suspiciously similar to one real person and to that person alone.",
    ),
)

_COLUMNS = (
    Column("Copies" + DOWN, cell_of("copies", lambda copies: share(copies.share.value))),
    Column(
        "Beyond chance" + DOWN, cell_of("copies", lambda copies: percent_interval(copies.excess))
    ),
    Column(
        "Beyond doubt" + DOWN, cell_of("copies", lambda copies: percent_interval(copies.certain))
    ),
    Column("Exact" + DOWN, cell_of("copies", lambda copies: f"{copies.counts['exact']:,}")),
)


def copies_sections(report: Report) -> Iterator[Section]:
    """Shares of copies of every set, and the kinds of those in the subject."""
    copies: Duplicates | None = subject_of(report).audit.copies
    notes = []
    if copies:
        notes.append(
            f"A copy is an image that is suspiciously similar to one real person: {LOOKED_FOR}. "
            "Every image was looked at, so their share has no interval. Beyond chance: what is "
            "left when as many as chance may give are taken off; beyond doubt: the same of those "
            "as similar as hardly anybody is who took no part. The answer rests on these two and "
            "on exact copies."
        )
        kinds = ", ".join(
            f"{count:,} {KINDS[kind]}" for kind, count in copies.counts.items() if count
        )
        notes.append(
            f"Suspected copies in the set: {kinds or 'none'}. Among people who took no part "
            f"{share(copies.expected_share.value)} count as copies, too: so similar people are."
        )
    yield Section.of("Whether any image is a copy", tables=[table(report, _COLUMNS)], notes=notes)


def copies_methods(report: Report) -> Iterator[tuple[str, str]]:
    """How copies are told."""
    if report.has("copies"):
        yield (
            "Copies",
            "Every image is compared, in eight orientations, as a negative too, and shifted, "
            "tilted, blurred and rescaled, with the real ones by normalised correlation. It counts "
            "as a copy if it is close to one person and to that person alone (ratio test: D. G. "
            "Lowe, IJCV 60, 2004), closer than 99% of real people (of the set's mix of classes) "
            "are to each other, and it is beyond doubt where it is closer than 99.9% (split "
            "conformal test: V. Vovk, A. Gammerman, G. Shafer, Algorithmic Learning in a Random "
            "World, 2005). As many as chance may give are taken off before the limits are applied "
            "(S. S. Wilks, Annals of Mathematical Statistics 12, 1941).",
        )


def _copies(subject: Subject) -> Duplicates:
    from latentpath.audit.copies.duplicates import find_duplicates

    return find_duplicates(
        subject.images.images,
        _people_apart(subject.setup),
        labels=subject.images.labels,
        groups=subject.images.identities,
        progress=subject.progress,
    )


def _people_apart(setup: AuditSetup) -> DuplicateReference:
    """How similar different real people are."""
    from latentpath.audit.copies.duplicates import prepare_duplicates

    return setup.once(
        "copies", lambda: prepare_duplicates(setup.real, setup.holdout, progress=setup.progress)
    )


WING = Wing(
    name="copies",
    question="Is any image a copy of a real one?",
    measures=(Measure("copies", _copies, of_holdout=True),),
    findings=copies_findings,
    answered_by=("copies",),
    overview=OVERVIEW,
    sections=copies_sections,
    methods=copies_methods,
    schema=Path(__file__).with_name("copies.schema.json"),
)
