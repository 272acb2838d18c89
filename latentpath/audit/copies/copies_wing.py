"""Is any image a copy of a real one?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from latentpath.audit.audit_setup import AuditSetup, Subject
from latentpath.audit.copies.copies_findings import copies_findings
from latentpath.audit.copies.copies_section import OVERVIEW, copies_methods, copies_sections
from latentpath.audit.registry import Measure, Wing

if TYPE_CHECKING:
    from latentpath.audit.copies.duplicates import DuplicateReference, Duplicates


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
