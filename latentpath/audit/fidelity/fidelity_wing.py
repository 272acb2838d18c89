"""Does it look like the real data, and cover it?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from latentpath.audit.audit_setup import AuditSetup, Subject
from latentpath.audit.fidelity.fidelity_findings import fidelity_findings
from latentpath.audit.fidelity.fidelity_section import (
    OVERVIEW,
    fidelity_methods,
    fidelity_sections,
)
from latentpath.audit.registry import Figure, Measure, Wing

if TYPE_CHECKING:
    from latentpath.audit.fidelity.set_fidelity import Fidelity, FidelityReference


def _fidelity(subject: Subject) -> Fidelity:
    from latentpath.audit.fidelity.set_fidelity import measure_fidelity

    return measure_fidelity(
        subject.images, _real_features(subject.setup), progress=subject.progress
    )


def _real_features(setup: AuditSetup) -> FidelityReference:
    """Features of the real set and of the holdout."""
    from latentpath.audit.fidelity.set_fidelity import prepare_fidelity

    return setup.once(
        "fidelity",
        lambda: prepare_fidelity(
            setup.reference,
            setup.holdout,
            lpips=setup.distance,
            config=setup.config.fidelity,
            progress=setup.progress,
        ),
    )


def _too_few(subject: Subject) -> str:
    if min(len(subject.images), len(subject.setup.real)) < 2:
        return "It needs at least two images in either set."
    return ""


def _figures() -> tuple[Figure, ...]:
    plain = {"fid": "FID", "kid": "KID", "density": "Density"}
    shares = {"precision": "Precision", "recall": "Recall", "coverage": "Coverage"}
    return tuple(
        Figure(name, title, ("fidelity", name), percent=name in shares)
        for name, title in (plain | shares).items()
    )


WING = Wing(
    name="fidelity",
    question="Does it look like the real data, and cover it?",
    measures=(Measure("fidelity", _fidelity, _too_few, figures=_figures()),),
    findings=fidelity_findings,
    answered_by=("fidelity",),
    others=("holdout",),
    about="use",
    overview=OVERVIEW,
    sections=fidelity_sections,
    methods=fidelity_methods,
    schema=Path(__file__).with_name("fidelity.schema.json"),
)
