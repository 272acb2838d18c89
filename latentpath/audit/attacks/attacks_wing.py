"""Can one tell who is behind the set?

The measures of the question, and what the report shows of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from latentpath.audit.attacks.attacks_findings import ATTACKS, OTHERS_TO_ACQUIT, attacks_findings
from latentpath.audit.audit_setup import AuditSetup, Subject
from latentpath.audit.instrument_check import FEWEST_PEOPLE
from latentpath.audit.registry import Figure, Measure, Wing
from latentpath.audit.report import measure_figures as draw
from latentpath.audit.report.report_model import Report
from latentpath.audit.report.report_sections import (
    Section,
    few,
    figure,
    limits_of,
    named,
    subject_of,
)
from latentpath.audit.report.report_tables import (
    DOWN,
    Cell,
    Column,
    cell_of,
    percent_interval,
    plain_interval,
    share,
    table,
)
from latentpath.audit.statistics.intervals import Interval
from latentpath.audit.verdict import NEEDS_HOLDOUT

if TYPE_CHECKING:
    from latentpath.audit.attacks.group_attack import GroupAttack
    from latentpath.audit.attacks.group_score import GroupScore
    from latentpath.audit.attacks.membership import Membership, MembershipReference
    from latentpath.audit.set_audit import SetAudit


def _of_group(write: Callable[[GroupScore], str | None], people: str = "holdout") -> Cell:
    """The cell of what images tell of the people behind them and others: of this set of people."""

    def written(attack: GroupAttack) -> str | None:
        score = attack.scores.get(f"images_{people}")
        return None if score is None else write(score)

    return cell_of("group_attack", written)


OVERVIEW = (
    Column(
        "Strongest attack, AUC" + DOWN,
        cell_of("membership", lambda of: f"{of.strongest[1].auc.value:.3f}"),
        "Strongest attack: area under the ROC curve with which members are told from other people; "
        "one half is guessing.",
    ),
    Column("Tells its people, AUC" + DOWN, _of_group(lambda score: f"{score.auc.value:.3f}")),
)

_MEMBERSHIP = (
    Column(
        "Attack's AUC" + DOWN,
        cell_of("membership", lambda of: plain_interval(of.strongest[1].auc)),
    ),
    Column(
        "Its balanced accuracy" + DOWN,
        cell_of("membership", lambda of: percent_interval(of.strongest[1].balanced_accuracy)),
    ),
    Column(
        "Found at 1% false alarms" + DOWN,
        cell_of("membership", lambda of: percent_interval(of.strongest[1].tpr_at_1_percent)),
    ),
    Column(
        "Found at 0.1%" + DOWN,
        cell_of("membership", lambda of: percent_interval(of.strongest[1].tpr_at_01_percent)),
    ),
)

_GROUPS = (
    Column("AUC" + DOWN, _of_group(lambda score: plain_interval(score.auc))),
    Column(
        "Found at 1% false alarms" + DOWN,
        _of_group(lambda score: percent_interval(score.tpr_at_1_percent)),
    ),
    Column(
        "AUC among private people" + DOWN,
        _of_group(lambda score: plain_interval(score.auc), "private"),
    ),
    Column(
        "Nearest of them is behind it" + DOWN + " (by chance)",
        _of_group(
            lambda score: f"{share(score.hits[1].value)} ({share(score.chance[1])})", "private"
        ),
    ),
)


def attacks_sections(report: Report) -> Iterator[Section]:
    """The strongest attack on each set, every attack on the subject, and those on groups."""
    curves = named(report, _curve)
    if curves:
        yield Section.of(
            "Whether one can tell who is behind it",
            [
                figure(
                    draw.roc_figure(few(curves)),
                    "ROC curves of the strongest attack on each set, on logarithmic axes",
                    "The strongest attack on each set: share of the members found against share of "
                    "other people taken for members. On the dotted line an attack is guessing. The "
                    "left end shows whether a few people are exposed with certainty.",
                )
            ],
            [table(report, _MEMBERSHIP), _every_attack(report)],
            list(_membership_notes(report)),
        )
    yield _groups(report)


def _curve(audit: SetAudit) -> tuple[np.ndarray, np.ndarray] | None:
    membership: Membership | None = audit.membership
    if membership is None:
        return None
    from latentpath.audit.statistics.roc import CURVE

    return np.array(CURVE), np.array(membership.strongest[1].curve)


def _membership_notes(report: Report) -> Iterator[str]:
    strongest = [
        f"“{row.title}”: {ATTACKS[row.audit.membership.strongest[0]]}"
        for row in report.sets
        if row.audit.membership is not None
    ]
    yield (
        f"Strongest attack on each set: {'; '.join(strongest)}. It is the one with the largest "
        "area under its curve; another may find more people at 1% false alarms, and the answer "
        "looks at all of them."
    )
    membership: Membership | None = subject_of(report).audit.membership
    if membership:
        blind = membership.blind.auc
        yield (
            "Without any model, members are told from other people with an area under the curve "
            f"of {blind.value:.3f} ({blind.low:.3f}–{blind.high:.3f}); where this is above one "
            "half the two groups differ in themselves, and attacks mean little up to that height."
        )


def _every_attack(report: Report) -> dict[str, object] | None:
    """A row for every attack on the subject."""
    subject = subject_of(report)
    membership: Membership | None = subject.audit.membership
    if membership is None:
        return None
    rows = []
    for name, attack in membership.attacks.items():
        shares = (attack.balanced_accuracy, attack.tpr_at_1_percent, attack.tpr_at_01_percent)
        cells = [
            ATTACKS[name].capitalize(),
            plain_interval(attack.auc),
            *(percent_interval(interval) for interval in shares),
        ]
        rows.append({"cells": cells, "subject": False})
    return {
        "title": f"Every attack on “{subject.title}”",
        "columns": ["Attack", "AUC", "Balanced accuracy", "Found at 1%", "Found at 0.1%"],
        "rows": rows,
    }


def _groups(report: Report) -> Section:
    areas = named(report, _told_apart)
    figures = []
    if areas:
        limits = limits_of(report).attacks
        figures.append(
            figure(
                draw.intervals_figure(
                    areas,
                    "A person behind the image is nearer than somebody else",
                    marks=[
                        (0.5, "no leak"),
                        (limits.auc_green, "green up to here"),
                        (limits.auc_red, "red from here"),
                    ],
                ),
                "How often a person behind an image is nearer to it than somebody else",
                "How often an image is nearer to a person behind it than to somebody of the same "
                "class who took no part, with its 95% interval. Half is what no leak looks like.",
            )
        )
    columns = table(report, _GROUPS)
    note = (
        "Averages are nearer to the people in them, and to others who resemble them. k-anonymity "
        "promises that nobody of a group can be told from the others of it; it does not promise "
        "that the group cannot be recognised. Compare with other sets made of the same groups."
    )
    return Section.of(
        "Whether an image tells who is behind it", figures, [columns], [note] if columns else []
    )


def _told_apart(audit: SetAudit) -> Interval | None:
    attack: GroupAttack | None = audit.group_attack
    score = attack and attack.scores.get("images_holdout")
    return score.auc if score else None


def attacks_methods(report: Report) -> Iterator[tuple[str, str]]:
    """The attacks and their sources."""
    if report.has("membership"):
        yield (
            "Membership inference",
            "An attacker with images of people, some of them behind the set, wants to know who is "
            "which, from classifiers that were trained on the set or from the set itself. "
            "Threshold on the loss: S. Yeom, I. Giacomelli, M. Fredrikson, S. Jha, CSF 2018. "
            "Likelihood ratio, offline and online, with shadow models: N. Carlini, S. Chien, M. "
            "Nasr, S. Song, A. Terzis, F. Tramèr: Membership Inference Attacks From First "
            "Principles, IEEE S&P 2022. Distance to the set: D. Chen, N. Yu, Y. Zhang, M. Fritz: "
            "GAN-Leaks, CCS 2020. Density of the set against that of other people: B. van Breugel, "
            "H. Sun, Z. Qian, M. van der Schaar, AISTATS 2023. Blind baseline: D. Das, J. Zhang, "
            "F. Tramèr, 2024.",
        )
    if report.has("group_attack"):
        yield (
            "People behind an image",
            "Where it is known which people an image was made of (a group, or the groups at both "
            "ends of a walk), an attacker who has images of people asks by LPIPS which of them are "
            "behind it: against people of the same class who took no part, and against the other "
            "private people. A person with several images is as near as the nearest. k-SALSA: M. "
            "Jeon, H. Park, H. J. Kim, M. Morley, H. Cho: k-SALSA: k-Anonymous Synthetic Averaging "
            "of Retinal Images via Local Style Alignment, ECCV 2022. Intervals count walks and "
            "people, not images: A. C. Cameron, J. B. Gelbach, D. L. Miller, Journal of Business & "
            "Economic Statistics 29, 2011; A. B. Owen, The pigeonhole bootstrap, Annals of Applied "
            "Statistics 1, 2007.",
        )


def _membership(subject: Subject) -> Membership:
    """Of models trained on the set, and of the set itself."""
    from latentpath.audit.attacks.membership import measure_membership

    return measure_membership(subject.images, _candidates(subject.setup), progress=subject.progress)


def _candidates(setup: AuditSetup) -> MembershipReference:
    """Who may or may not be behind a set, and shadow models trained on them."""
    from latentpath.audit.attacks.membership import prepare_membership

    holdout = setup.holdout
    assert holdout is not None, "checked by _no_candidates"
    return setup.once(
        "membership",
        lambda: prepare_membership(
            setup.real, holdout, setup.config.membership, progress=setup.progress
        ),
    )


def _no_candidates(subject: Subject) -> str:
    setup = subject.setup
    if setup.holdout is None:
        return NEEDS_HOLDOUT
    needed = max(4, 2 * setup.config.membership.blind_folds)
    if min(setup.real.num_identities, setup.holdout.num_identities) < needed:
        return f"It needs at least {needed} people behind the set and as many others."
    return subject.one_class


def _group_attack(subject: Subject) -> GroupAttack:
    from latentpath.audit.attacks.group_attack import attack_sources

    assert subject.sources is not None, "checked by _nobody_known"
    setup = subject.setup
    return attack_sources(
        subject.images,
        subject.sources,
        setup.reference,
        setup.holdout_reference,
        walks=subject.images.identities,
        most=setup.config.group_images,
        max_bytes=setup.config.max_bytes,
        progress=subject.progress,
    )


def _nobody_known(subject: Subject) -> str:
    return (
        "" if subject.sources is not None else "It is not known which people are behind each image."
    )


def _attack_figures() -> Iterator[Figure]:
    above: dict[str, tuple[str, ...]] = {name: ("membership", "attacks", name) for name in ATTACKS}
    for name in (*ATTACKS, "blind"):
        path = above.get(name, ("membership", name))
        for key, short in (("balanced_accuracy", "ba"), ("auc", "auc")):
            title = f"Membership: {name.replace('_', ' ')},\n{key.replace('_', ' ')}"
            yield Figure(f"{name}_{short}", title, (*path, key, "value"), True)
    tpr = (*above["lira_online"], "tpr_at_1_percent", "value")
    yield Figure("lira_online_tpr1", "LiRA online, members\nfound at 1% false", tpr, True)


def _group_figures() -> Iterator[Figure]:
    figures = (
        ("auc", "Tells its people from\nheld-out ones, AUC", "holdout", ("auc", "value")),
        ("auc_private", "Tells them from other\nprivate ones, AUC", "private", ("auc", "value")),
        ("tpr1", "Its people found at\n1% false", "holdout", ("tpr_at_1_percent", "value")),
        ("top1", "Nearest private person\nis behind it", "private", ("hits", "top_1", "value")),
        ("top1_chance", "The same by chance", "private", ("hits", "top_1", "chance")),
    )
    for short, title, people, path in figures:
        yield Figure(f"group_{short}", title, ("group_attack", f"images_{people}", *path), True)


WING = Wing(
    name="attacks",
    question="Can one tell who is behind the set?",
    measures=(
        Measure(
            "membership",
            _membership,
            _no_candidates,
            of_real=True,
            trains=True,
            figures=tuple(_attack_figures()),
        ),
        Measure("group_attack", _group_attack, _nobody_known, figures=tuple(_group_figures())),
    ),
    findings=attacks_findings,
    answered_by=("membership",),
    others=("holdout",),
    people_behind=FEWEST_PEOPLE,
    people_held_out=OTHERS_TO_ACQUIT,
    overview=OVERVIEW,
    sections=attacks_sections,
    methods=attacks_methods,
    schema=Path(__file__).with_name("attacks.schema.json"),
)
