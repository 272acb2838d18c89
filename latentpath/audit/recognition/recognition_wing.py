"""Can a person be recognised?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from latentpath.audit.audit_setup import AuditSetup, Subject
from latentpath.audit.closeness.closeness_wing import nearest_of
from latentpath.audit.instrument_check import FALSE_ALARMS, people_to_resolve
from latentpath.audit.recognition.recognition_findings import recognition_findings
from latentpath.audit.recognition.recognition_section import (
    OVERVIEW,
    recognition_cautions,
    recognition_methods,
    recognition_sections,
    recognition_summary,
)
from latentpath.audit.registry import Figure, Measure, Wing
from latentpath.audit.verdict import NEEDS_HOLDOUT

if TYPE_CHECKING:
    from latentpath.audit.recognition.reidentification import Reidentification
    from latentpath.models import Witness


def _reidentification(subject: Subject) -> Reidentification:
    """By the walk's classifier, and by the witness where there are others to hold against."""
    from latentpath.audit.recognition.reidentification import reidentify

    setup, images = subject.setup, subject.images
    classifiers = [] if setup.identity is None else [setup.identity]
    few = _few_others(setup)
    if setup.config.use_witness and not few:
        classifiers.append(_witness(setup))
    nearest = images.identities
    if not subject.is_real:
        nearest = setup.real.identities[nearest_of(subject).index]
    found = reidentify(
        images,
        nearest,
        classifiers[0],
        witness=classifiers[1] if len(classifiers) > 1 else None,
        people=setup.real.num_identities,
        threshold=setup.config.threshold,
        # The holdout is not told from itself.
        holdout=None if few or images is setup.holdout else setup.holdout,
        sources=subject.sources,
        groups=images.identities,
        progress=subject.progress,
    )
    return found if setup.identity is not None else replace(found, classifier="witness")


def _few_others(setup: AuditSetup) -> bool:
    """Whether there are too few other people to set a threshold on."""
    return setup.holdout is None or setup.holdout.num_identities < 2


def _witness(setup: AuditSetup) -> Witness:
    """An identity classifier that no walk has ever met, trained on the real set."""
    import torch

    from latentpath.data import to_tensor
    from latentpath.training import train_witness

    return setup.once(
        "witness",
        lambda: train_witness(
            to_tensor(setup.real.images).to(setup.device),
            torch.from_numpy(setup.real.identities).to(setup.device),
            num_people=setup.real.num_identities,
            config=setup.config.witness,
            checkpoint=setup.witness_checkpoint,
            progress=setup.progress,
        ),
    )


def _nobody_to_ask(subject: Subject) -> str:
    setup = subject.setup
    if setup.identity is None and not setup.config.use_witness:
        return "It needs an identity classifier or a witness."
    if setup.real.num_identities < 2:
        return "There is one person only."
    if setup.identity is None and _few_others(setup):
        # A table of one classifier's answers is not worth its training.
        return NEEDS_HOLDOUT if setup.holdout is None else "It needs two other people at least."
    return ""


def _named(name: str, words: str, *below: str) -> list[Figure]:
    figures = (
        ("named", "Names one person", ("rate",)),
        ("calibrated", "Names more surely than\n99% of the holdout", ("naming", "named", "value")),
        ("rank1", "Names the person of the\nnearest image", ("linkage",)),
        ("rank1_chance", "The same by chance", ("linkage_chance",)),
        ("source1", "Names somebody behind it", ("sources", "rank_1", "value")),
        ("source1_chance", "The same by chance", ("sources", "rank_1", "chance")),
    )
    return [
        Figure(f"{name}_{short}", f"{title},\n{words}", ("reidentification", *below, *path), True)
        for short, title, path in figures
    ]


WING = Wing(
    name="recognition",
    question="Can a person be recognised?",
    measures=(
        Measure(
            "reidentification",
            _reidentification,
            _nobody_to_ask,
            of_real=True,
            of_holdout=True,
            trains=True,
            figures=(
                *_named("identity", "walk's classifier"),
                *_named("witness", "witness", "witness"),
            ),
        ),
    ),
    findings=recognition_findings,
    answered_by=("reidentification",),
    others=("holdout",),
    people_held_out=people_to_resolve(FALSE_ALARMS),
    overview=OVERVIEW,
    sections=recognition_sections,
    summary=recognition_summary,
    cautions=recognition_cautions,
    methods=recognition_methods,
    schema=Path(__file__).with_name("recognition.schema.json"),
)
