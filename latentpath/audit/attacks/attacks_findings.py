"""When attacks on membership are green or red."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from latentpath.audit.copies.copies_findings import mixed_holdout
from latentpath.audit.verdict import Evidence, Finding, check_limits, counted

if TYPE_CHECKING:
    from latentpath.audit.attacks.group_attack import GroupAttack
    from latentpath.audit.attacks.membership import Membership

# The attacks on membership in the order of the tables, in words; those on the set itself come last.
ATTACKS = {
    "threshold": "a threshold on the loss",
    "lira_offline": "the offline likelihood ratio",
    "lira_online": "the online likelihood ratio",
    "set_distance": "distance to the set",
    "set_density_ratio": "density of the set",
}

_OF_GROUPS = (
    "Averages of people look like them, and like others who resemble them: k-anonymity hides which "
    "of the k it was, and not what they have in common."
)


@dataclass(frozen=True)
class AttackLimits:
    """Conventions: how well an attack may do."""

    auc_green: float = 0.55
    """Largest area under an attack's ROC curve, 0 to 1, that is green; half is guessing. It is the
    limit, too, of how well images tell the people behind them from others."""
    auc_red: float = 0.6
    """The area above which it is red."""
    tpr_green: float = 0.03
    """Largest share of the members that an attack finds at 1% false alarms, 0 to 1, that is green;
    0.01 is guessing."""
    tpr_red: float = 0.05
    """The share above which it is red."""

    def __post_init__(self) -> None:
        check_limits(self)


def attacks_findings(evidence: Evidence) -> Iterator[Finding]:
    """Attacks on models and on the set, and the attack on the people behind each image."""
    yield from _of_membership(evidence)
    yield from _of_groups(evidence)


def _of_membership(evidence: Evidence) -> Iterator[Finding]:
    membership: Membership | None = evidence.own.membership
    limits = evidence.limits.attacks
    if membership is None:
        return
    weak = _weakness(evidence)
    name, strongest = membership.strongest
    yield Finding(
        "membership",
        "Of one person behind the set and one who took no part, the strongest attack "
        f"({ATTACKS[name]}) picks the right one {in_hundred(strongest.auc.value)}; guessing does "
        "50 times",
        strongest.auc,
        limits.auc_green,
        limits.auc_red,
        sample=f"{strongest.members:,} people behind the set and {strongest.holdout:,} others",
        **weak,
    )
    name, attack = max(
        membership.attacks.items(), key=lambda named: named[1].tpr_at_1_percent.value
    )
    yield Finding(
        "membership",
        f"At 1% false alarms an attack ({ATTACKS[name]}) finds "
        f"{attack.tpr_at_1_percent.value:.1%} of the members; guessing finds 1%",
        attack.tpr_at_1_percent,
        limits.tpr_green,
        limits.tpr_red,
        sample=f"{attack.members:,} people behind the set and {attack.holdout:,} others",
        **weak,
    )


def in_hundred(auc: float) -> str:
    """An area under the ROC curve in words: how often of two people the right one is picked."""
    return f"{100 * auc:.1f} times in 100 (AUC {auc:.3f})"


def _weakness(evidence: Evidence) -> dict[str, Any]:
    """What holds for every attack where members differ from the holdout in themselves."""
    mixed = mixed_holdout(evidence)
    if mixed:
        return mixed
    membership: Membership | None = evidence.own.membership
    if membership is None or membership.blind.auc.low <= evidence.limits.attacks.auc_green:
        return {}
    return {
        "at_best": "amber",
        "caveat": "Members and other people differ in themselves: no model is needed to tell "
        f"them apart (area under the curve {membership.blind.auc.value:.2f}), so this figure says "
        "little. The holdout should be chosen at random from the same people.",
    }


def _of_groups(evidence: Evidence) -> Iterator[Finding]:
    """Its people against the holdout: of those nothing can have leaked, so half is no leak.

    The limits are those of other attacks on membership, as it is one. Averages are nearer to
    whoever is in them, so a set of bare centroids is red by nature, and so it should be: one of k
    people cannot be told from the others, but the k can be told from everybody else.
    """
    attack: GroupAttack | None = evidence.own.group_attack
    limits = evidence.limits.attacks
    score = attack and attack.scores.get("images_holdout")
    if not score:
        return
    reading = {"caveat": _OF_GROUPS} | _weakness(evidence)
    if evidence.own.membership is None:
        # One attack of many: it may accuse a set, and not acquit it.
        reading = {"at_best": "amber", "caveat": f"{_OF_GROUPS} No other attack was tried."}
    yield Finding(
        "group_attack",
        "Of one person behind an image and one of the same class who took no part, the one behind "
        f"it is the nearer one {in_hundred(score.auc.value)}; where images tell nothing it is 50 "
        "times",
        score.auc,
        limits.auc_green,
        limits.auc_red,
        sample=counted(score.clusters, "walk or group", "walks or groups"),
        **reading,
    )
    yield Finding(
        "group_attack",
        f"At 1% false alarms distance finds {score.tpr_at_1_percent.value:.1%} of the people "
        "behind an image; guessing finds 1%",
        score.tpr_at_1_percent,
        limits.tpr_green,
        limits.tpr_red,
        sample=counted(score.clusters, "walk or group", "walks or groups"),
        **reading,
    )
