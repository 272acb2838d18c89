"""Can a person be recognised?

The measures of the question, and what the report shows of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentpath.audit.audit_setup import AuditSetup, Subject
from latentpath.audit.closeness.closeness_wing import nearest_of
from latentpath.audit.instrument_check import FALSE_ALARMS, people_to_resolve
from latentpath.audit.recognition.recognition_findings import recognition_findings
from latentpath.audit.registry import Figure, Measure, Wing
from latentpath.audit.report import measure_figures as draw
from latentpath.audit.report.report_model import Report
from latentpath.audit.report.report_sections import Section, figure, limits_of, named, subject_of
from latentpath.audit.report.report_tables import (
    DOWN,
    Column,
    cell_of,
    percent_interval,
    share,
    table,
)
from latentpath.audit.statistics.intervals import Interval
from latentpath.audit.verdict import NEEDS_HOLDOUT

if TYPE_CHECKING:
    from latentpath.audit.recognition.reidentification import Reidentification
    from latentpath.audit.set_audit import SetAudit
    from latentpath.models import Witness

# A classifier that names fewer of the real images than this is too weak for the others to count.
_SEES = 0.8

_CALIBRATED = "Named, at 1% of the holdout"


def _named_share(answers: Reidentification) -> str | None:
    return share(answers.naming.named.value) if answers.naming else None


_KNOWN = {
    "The identity classifier": "was trained on the real people",
    "The witness": "has never met the walk",
}

OVERVIEW = (
    Column(
        "Re-identified" + DOWN,
        cell_of("reidentification", lambda answers: share(answers.rate)),
        "Re-identified: the identity classifier (the witness, where there is none) gives one real "
        "person more probability than the threshold in the settings.",
    ),
    Column(_CALIBRATED + DOWN, cell_of("reidentification", lambda of: _named_share(of))),
)


def _named_by(answers: Any) -> str | None:
    return percent_interval(answers.naming.named) if answers.naming else None


def _agreed(agreement: Any) -> str:
    return f"{share(agreement.rank1.value)} ({share(agreement.chance1)})"


_COLUMNS = (
    Column(_CALIBRATED + DOWN, cell_of("reidentification", _named_by)),
    Column(
        "Named by the witness" + DOWN,
        cell_of("reidentification", lambda of: _named_by(of.witness) if of.witness else None),
    ),
    Column(
        "Mean largest probability" + DOWN,
        cell_of("reidentification", lambda of: f"{of.mean_largest_probability:.3f}"),
    ),
    Column(
        "Linked" + DOWN + " (by chance)",
        cell_of("reidentification", lambda of: f"{share(of.linkage)} ({share(of.linkage_chance)})"),
    ),
    Column(
        "Linked within first five" + DOWN,
        cell_of("reidentification", lambda of: share(of.linkage_top5)),
    ),
    Column(
        "Somebody behind it named" + DOWN + " (by chance)",
        cell_of("reidentification", lambda of: _agreed(of.sources) if of.sources else None),
    ),
    Column(
        "Both classifiers name the same" + DOWN,
        cell_of("reidentification", lambda of: _agreed(of.classifiers) if of.classifiers else None),
    ),
)


def recognition_sections(report: Report) -> Iterator[Section]:
    """How many images each classifier names somebody for."""
    figures = []
    own: Reidentification | None = subject_of(report).audit.reidentification
    asked = [(own.who, _of_identity)] if own else []
    asked += [("The witness", _of_witness)]
    for who, pick in asked:
        words = f"which {_KNOWN[who]}"
        yardstick = report.find(report.yardstick)
        shares = named(report, pick, but=report.yardstick)
        if not shares:
            continue
        limits = limits_of(report).recognition
        of_real = yardstick and pick(yardstick.audit)
        figures.append(
            figure(
                draw.intervals_figure(
                    shares,
                    f"{who} names one real person",
                    marks=[
                        (0.01, "the holdout"),
                        (limits.named_green, "green up to here"),
                        (limits.named_red, "red from here"),
                    ],
                ),
                f"Share of each set for which {who.lower()} names a person",
                f"{who}, {words}: share of the images for which it names one real "
                "person, at a threshold that names 1% of the holdout."
                + (
                    f" Of the real images themselves it names {share(of_real.value)}: so well "
                    "can people be recognised at all."
                    if of_real
                    else ""
                ),
            )
        )
    columns = table(report, _COLUMNS)
    linked = (
        "Linked: the classifier's first answer is the person of the nearest real image; in "
        "brackets, the share expected by chance."
    )
    yield Section.of(
        "Whether a person can be recognised", figures, [columns], [linked] if columns else []
    )


def _of_identity(audit: SetAudit) -> Interval | None:
    answers: Reidentification | None = audit.reidentification
    return answers.naming.named if answers and answers.naming else None


def _of_witness(audit: SetAudit) -> Interval | None:
    answers: Reidentification | None = audit.reidentification and audit.reidentification.witness
    return answers.naming.named if answers and answers.naming else None


def recognition_summary(report: Report) -> Iterator[str]:
    """How many images of the subject, the baseline, the real set and the holdout are named."""
    own: Reidentification | None = subject_of(report).audit.reidentification
    if own is not None:
        sentence = (
            f"{own.who} names one real person with more than {own.threshold:.0%} "
            f"probability for {share(own.rate)} of the images"
        )
        beside = [
            f"{share(row.audit.reidentification.rate)} of “{row.title}”"
            for row in (report.find(report.baseline), report.find(report.yardstick))
            if row is not None and row.audit.reidentification is not None
        ]
        yield sentence + (f", against {' and '.join(beside)}." if beside else ".")
        if own.naming is None and report.verdicts:
            yield (
                "Without real images of other people (a holdout) it is not known how many of them "
                "it would name, so this answers nothing."
            )
    holdout = report.find(report.holdout)
    if holdout is not None and holdout.audit.reidentification is not None:
        yield (
            "Of real images of people who took no part it (wrongly) names one for "
            f"{share(holdout.audit.reidentification.rate)}."
        )


def recognition_cautions(report: Report) -> Iterator[str]:
    """Says so where the identity classifier is too weak to be a witness."""
    yardstick = report.find(report.yardstick)
    of_real = yardstick and yardstick.audit.reidentification
    if of_real and of_real.rate < _SEES:
        yield (
            f"{of_real.who} names only {share(of_real.rate)} of the real images with "
            "confidence. It sees little: low re-identification rates in this report mean little."
        )


def recognition_methods(report: Report) -> Iterator[tuple[str, str]]:
    """How people are named."""
    if not report.has("reidentification"):
        return
    thresholds = [
        row.audit.reidentification.threshold
        for row in report.sets
        if row.audit.reidentification is not None
    ]
    yield (
        "Re-identification rate",
        "Share of the images for which a classifier over all real people, trained on the real "
        f"images, gives its largest probability above the threshold ({thresholds[0]:.0%}). Points "
        "on a walk have no true source person, so every confident answer counts. The real set's "
        "own row shows how well the classifier recognises people at all. Where there are other "
        "people, the threshold is also set so that it names 1% of them.",
    )
    yield (
        "Linkage",
        "Share of the images for which two measures that know nothing of each other agree: the "
        "classifier's first answer and the person of the LPIPS-nearest real image. The chance "
        "level is the agreement expected if the answers were shuffled within each class. For the "
        "real set, it is the person in the image.",
    )


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
