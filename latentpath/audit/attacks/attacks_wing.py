"""Can one tell who is behind the set?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from latentpath.audit.attacks.attacks_findings import ATTACKS, OTHERS_TO_ACQUIT, attacks_findings
from latentpath.audit.attacks.attacks_section import OVERVIEW, attacks_methods, attacks_sections
from latentpath.audit.audit_setup import AuditSetup, Subject
from latentpath.audit.instrument_check import FEWEST_PEOPLE
from latentpath.audit.registry import Figure, Measure, Wing
from latentpath.audit.verdict import NEEDS_HOLDOUT

if TYPE_CHECKING:
    from latentpath.audit.attacks.group_attack import GroupAttack
    from latentpath.audit.attacks.membership import Membership, MembershipReference


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
    from latentpath.audit.attacks.source_attack import attack_sources

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
