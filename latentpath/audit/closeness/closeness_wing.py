"""Does the set come closer to the people behind it than to others?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from latentpath.audit.audit_setup import AuditSetup, Subject
from latentpath.audit.closeness.closeness_findings import closeness_findings
from latentpath.audit.closeness.closeness_section import (
    OVERVIEW,
    closeness_methods,
    closeness_sections,
    closeness_summary,
)
from latentpath.audit.instrument_check import FEWEST_PEOPLE
from latentpath.audit.registry import Figure, Measure, Wing
from latentpath.audit.verdict import NEEDS_HOLDOUT
from latentpath.data import ImageSet
from latentpath.similarity import (
    NearestReal,
    RealReference,
    nearest_other_person,
    nearest_real,
    prepare_gradients,
)

if TYPE_CHECKING:
    from latentpath.audit.closeness.closest_record import RecordRatio


def nearest_of(subject: Subject) -> NearestReal:
    """LPIPS to the nearest real image; of the real set, to the nearest other person."""
    return subject.once("nearest", lambda: _nearest(subject, subject.setup.reference))


def _gradients(subject: Subject) -> NearestReal:
    return _nearest(subject, _by_gradients(subject.setup, subject.setup.real))


def _nearest(subject: Subject, reference: RealReference) -> NearestReal:
    most, progress = subject.setup.config.max_bytes, subject.progress
    if not subject.is_real:
        images = subject.images.images
        return nearest_real(images, reference, max_bytes=most, progress=progress)
    nearest = nearest_other_person(reference, max_bytes=most, progress=progress)
    assert nearest is not None, "checked by _no_other_person"
    return nearest


def _record_ratio(subject: Subject) -> RecordRatio:
    setup = subject.setup
    return _ratio(subject, setup.reference, setup.holdout_reference)


def _gradients_ratio(subject: Subject) -> RecordRatio:
    setup = subject.setup
    assert setup.holdout is not None, "checked by _not_comparable"
    real, holdout = (_by_gradients(setup, images) for images in (setup.real, setup.holdout))
    return _ratio(subject, real, holdout)


def _ratio(subject: Subject, real: RealReference, holdout: RealReference | None) -> RecordRatio:
    from latentpath.audit.closeness.closest_record import record_ratio

    assert holdout is not None, "checked by _not_comparable"
    return record_ratio(
        subject.images,
        real,
        holdout,
        # Points of one walk are read as images of one person.
        groups=subject.images.identities,
        progress=subject.progress,
    )


def _by_gradients(setup: AuditSetup, images: ImageSet) -> RealReference:
    """The real set or the holdout in an embedding that shares nothing with LPIPS."""
    which = "real" if images is setup.real else "holdout"
    return setup.once(
        f"gradients of the {which} set",
        lambda: prepare_gradients(
            images, max_bytes=setup.config.max_bytes, progress=setup.progress
        ),
    )


def _no_other_person(subject: Subject) -> str:
    if subject.is_real and subject.setup.real.num_identities < 2:
        return "There is no other person."
    return ""


def _not_comparable(subject: Subject) -> str:
    real, holdout = subject.setup.real, subject.setup.holdout
    if holdout is None:
        return NEEDS_HOLDOUT
    if not np.intersect1d(real.labels, holdout.labels).size:
        return "The real set and the holdout have no class in common."
    return ""


def _distances(name: str, measure: str, title: str, mean: str) -> tuple[Figure, ...]:
    rows = (
        ("mean", "mean", (mean,)),
        ("p5", "5th percentile", ("quantiles", "0.05")),
        ("min", "smallest", ("quantiles", "0")),
    )
    return tuple(
        Figure(f"{name}_{short}", f"{title} to the nearest real,\n{words}", (measure, *path))
        for short, words, path in rows
    )


def _closer(name: str, title: str) -> tuple[Figure, ...]:
    return (Figure(name, title, (name, "share_closer_to_training", "value"), True),)


WING = Wing(
    name="closeness",
    question="Does the set come closer to the people behind it than to others?",
    measures=(
        Measure(
            "nearest",
            nearest_of,
            _no_other_person,
            of_real=True,
            of_holdout=True,
            figures=_distances("lpips", "nearest", "LPIPS", "mean_lpips_to_nearest_real"),
        ),
        Measure(
            "record_ratio",
            _record_ratio,
            _not_comparable,
            figures=_closer("record_ratio", "Nearer to training than\nto held-out people"),
        ),
        Measure(
            "gradients",
            _gradients,
            _no_other_person,
            of_real=True,
            of_holdout=True,
            figures=_distances(
                "gradients", "gradients", "Gradients", "mean_gradients_to_nearest_real"
            ),
        ),
        Measure(
            "gradients_ratio",
            _gradients_ratio,
            _not_comparable,
            figures=_closer("gradients_ratio", "Nearer to training than\nto held-out, gradients"),
        ),
    ),
    findings=closeness_findings,
    answered_by=("record_ratio", "gradients_ratio"),
    others=("holdout",),
    people_behind=FEWEST_PEOPLE,
    people_held_out=FEWEST_PEOPLE,
    overview=OVERVIEW,
    sections=closeness_sections,
    summary=closeness_summary,
    methods=closeness_methods,
    schema=Path(__file__).with_name("closeness.schema.json"),
)
