"""All measures of one set."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from latentpath.audit.audit_config import AuditConfig
from latentpath.audit.audit_setup import AuditSetup, Sources, Subject
from latentpath.audit.registry import Measure, Result, all_measures, measure_names
from latentpath.core import return_freed_memory
from latentpath.data import ImageSet

# The stage that tells how many measures of a set were taken.
MEASURES = "measures"


@dataclass(frozen=True, eq=False)
class SetAudit:
    """The measures of one set.

    Every measure is an attribute of its name, None where it was not taken: `audit.copies`,
    `audit.nearest`, `audit.utility`.

    Attributes:
        images: number of images.
        people: number of people in them; of a set of walks, that of the walks.
        class_counts: images per class name.
        config: what it was measured with.
        results: what every measure that was taken returned, by its name.
        not_measured: why a measure was not taken, in plain words.
    """

    images: int
    people: int
    class_counts: dict[str, int]
    config: AuditConfig
    results: Mapping[str, Result]
    not_measured: Mapping[str, str] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in measure_names():
            raise AttributeError(f"{type(self).__name__} has no attribute or measure {name!r}")
        return self.results.get(name)

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values: figures of the set, nothing about single images."""
        return {
            "images": self.images,
            "people": self.people,
            "class_counts": self.class_counts,
            **{
                name: self.results[name].as_dict() if name in self.results else None
                for name in measure_names()
            },
            "not_measured": dict(self.not_measured),
        }


def measure_set(
    images: ImageSet,
    setup: AuditSetup,
    *,
    only: Collection[str] | None = None,
    name: str = "",
    sources: Sources | None = None,  # n x int64, the people behind each image
) -> SetAudit:
    """Take the setup's measures of a synthetic set (or of real images of other people).

    Args:
        images: the set.
        setup: what it is held against.
        only: of the setup's measures; all of them if None.
        name: of the set, told with the progress where there are several.
        sources: for every image the people of the real set behind it, as its identities number
            them; None where they are not known.

    Raises:
        ShapeError: image sizes differ, the identity classifier is not one over N people, or there
            are not as many sources as images.
        DataError: the sets' classes differ.
        InputError: sources who are none of the N.
    """
    return _taken(Subject.of(images, setup, name, sources), only)


def measure_real(
    setup: AuditSetup, *, only: Collection[str] | None = None, name: str = ""
) -> SetAudit:
    """Take the measures of the real set itself: the yardstick that sets are read against.

    Its distances are to the nearest image of another person: how close people are to each other.
    Its re-identification rate and linkage (to the person in the image) say how well the classifier
    recognises people at all. Models trained on it show what membership inference and utility are
    without any protection.
    """
    return _taken(Subject.of_real(setup, name), only)


def _taken(subject: Subject, only: Collection[str] | None) -> SetAudit:
    images, missing, known = subject.images, {}, all_measures()
    results: dict[str, Result] = {}
    for name, measure in known.items():
        asked = only is None or name in only
        reason = _why_not(measure, subject) if asked else "It is not asked of these images."
        if reason:
            missing[name] = reason
    for name, measure in known.items():
        if name not in missing:
            return_freed_memory()  # what another measure does not need any more
            results[name] = measure.compute(subject)
            subject.progress(MEASURES, len(results), len(known) - len(missing), {})
    return SetAudit(
        images=len(images),
        people=len(np.unique(images.identities)),
        class_counts=images.class_counts(),
        config=subject.setup.config,
        results=results,
        not_measured=missing,
    )


def _why_not(measure: Measure, subject: Subject) -> str:
    """Why a measure cannot be taken or is not wanted; nothing if it can."""
    if subject.is_real and not measure.of_real:
        return "It compares a set with the real one, which is this set itself."
    if measure.name not in subject.setup.measures:
        return "Left out on request."
    return measure.needs(subject)
