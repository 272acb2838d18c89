"""When attacks on membership are green or red, and how they are tried."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from latentpath.audit.copies.copies_findings import other_people
from latentpath.audit.instrument_check import (
    FALSE_ALARMS,
    InstrumentCheck,
    enough_people,
    more_people,
    people_to_resolve,
)
from latentpath.audit.statistics.intervals import RESAMPLES, Interval
from latentpath.audit.verdict import Evidence, Finding, check_limits, counted
from latentpath.core import check_at_least, option
from latentpath.training import ShadowConfig

if TYPE_CHECKING:
    from latentpath.audit.attacks.group_attack import GroupAttack
    from latentpath.audit.attacks.membership import Membership


@dataclass(frozen=True)
class MembershipConfig:
    """How membership inference is tried."""

    shadows: int = 64
    """Shadow models, each trained on half of the people. From 64 on, every person gets a variance
    of their own; time grows with their number."""
    targets: int = 4
    """Classifiers that are trained on the set and attacked; figures are means over them."""
    blind_folds: int = 5
    """Folds of the blind baseline, one small classifier each."""
    training: ShadowConfig = field(default_factory=ShadowConfig)
    """Network and schedule of all of them: targets are trained as the shadow models are."""
    resamples: int = RESAMPLES
    """Bootstrap resamples of people, for the intervals."""
    max_bytes: int = 1 << 30
    """Bound on the memory for image embeddings of the attack on the set, bytes."""
    seed: int = 0
    """Seed of halves, folds, resampling; the models' is that of their training."""

    def __post_init__(self) -> None:
        check_at_least(2, shadows=self.shadows, blind_folds=self.blind_folds)
        check_at_least(1, targets=self.targets, resamples=self.resamples, max_bytes=self.max_bytes)
        check_at_least(0, seed=self.seed)


# The attacks on membership in the order of the tables, in words; those on the set itself come last.
ATTACKS = {
    "threshold": "a threshold on the loss",
    "lira_offline": "the offline likelihood ratio",
    "lira_online": "the online likelihood ratio",
    "set_distance": "distance to the set",
    "set_density_ratio": "density of the set",
}

# Other people whom it takes to tell 1% false alarms from none.
OTHERS_TO_ACQUIT = people_to_resolve(FALSE_ALARMS)

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
    attacks_see: float = 0.55
    """The area that attacks must surely exceed on models that learnt a few people by heart, 0 to 1,
    so that finding nobody can be green."""

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
    checks = tuple(_checks(evidence, membership))
    even = _of_real_models(evidence)
    name, strongest = membership.strongest
    yield Finding(
        "membership",
        "Of one person behind the set and one who took no part, the strongest attack "
        f"({ATTACKS[name]}) picks the right one {in_hundred(strongest.auc.value)}; guessing does "
        "50 times",
        strongest.auc,
        limits.auc_green,
        limits.auc_red,
        sample=f"{strongest.members:,} images of people behind the set and {strongest.holdout:,} "
        "of others",
        relies_on=checks,
        caveat=even,
    )
    name, attack = max(
        membership.attacks.items(), key=lambda named: named[1].tpr_at_1_percent.value
    )
    yield Finding(
        "membership",
        f"At 1% false alarms an attack ({ATTACKS[name]}) finds "
        f"{attack.tpr_at_1_percent.value:.1%} of the members; guessing finds 1%",
        attack.tpr_at_1_percent
        if attack.resolved[0]
        else _beyond_luck(attack.tpr_at_1_percent, _others(evidence, attack.holdout)),
        limits.tpr_green,
        limits.tpr_red,
        of="" if attack.resolved[0] else _BEYOND_LUCK,
        sample=f"{attack.members:,} images of people behind the set and {attack.holdout:,} of "
        "others",
        relies_on=(*checks, *_one_percent(attack.resolved[0])),
        caveat=even,
    )


_BEYOND_LUCK = "what is beyond luck with so few others"


def _others(evidence: Evidence, images: int) -> int:
    """How many people of the holdout there are; as many as images where nobody says."""
    return images if evidence.holdout is None else evidence.holdout.people


def _beyond_luck(found: Interval, others: int) -> Interval:
    """A rate at 1% false alarms, its lower end lowered by what luck finds with so few others.

    The highest score of 20 people is no threshold of 1%: one in 21 of anybody lies above it, and by
    luck 14%. Without this every sixth set without a leak was red by 13 other people (simulated).
    """
    luck = 1 - (1 - found.level) ** (1 / max(others, 1))
    return Interval(found.value, max(0.0, found.low - luck), found.high, found.level)


def in_hundred(auc: float) -> str:
    """An area under the ROC curve in words: how often of two people the right one is picked."""
    return f"{100 * auc:.1f} times in 100 (AUC {auc:.3f})"


def _checks(evidence: Evidence, membership: Membership | None) -> Iterator[InstrumentCheck]:
    """What every attack relies on."""
    yield from other_people(evidence)
    if membership is None:
        return
    blind, limits = membership.blind.auc, evidence.limits.attacks
    yield InstrumentCheck(
        "Members and other people",
        f"Without any model members are told from other people {in_hundred(blind.value)}; where "
        f"this is surely more than {100 * limits.auc_green:.0f} the two differ in themselves",
        blind.low <= limits.auc_green,
        "Choose the holdout at random from the same people",
    )
    yield enough_people(evidence.yardstick.people, "people behind the set")
    if evidence.holdout is not None:
        yield enough_people(evidence.holdout.people, "other people", OTHERS_TO_ACQUIT)
    found = membership.overfitted.auc
    yield InstrumentCheck(
        "Attacks on models",
        "Of models that learnt a few people by heart they pick the right person "
        f"{in_hundred(found.value)}; it takes surely more than {100 * limits.attacks_see:.0f}",
        found.low > limits.attacks_see,
        f"Train more shadow models, or longer ({option('--membership-shadows')}, "
        f"{option('--membership-training-steps')})",
    )


def _one_percent(resolved: bool) -> Iterator[InstrumentCheck]:
    """Whether 1% false alarms can be told from none."""
    yield InstrumentCheck(
        "A rate of 1% false alarms",
        f"It takes {OTHERS_TO_ACQUIT} other people to tell 1% false alarms from none, and there "
        f"are {'as many' if resolved else 'fewer'}",
        resolved,
        more_people(),
    )


def _of_real_models(evidence: Evidence) -> str:
    """What the same attacks make of models trained on the real images, where that is nothing."""
    real: Membership | None = evidence.yardstick.membership
    limit = evidence.limits.attacks.auc_green
    if real is None or real.strongest[1].auc.low > limit:
        return ""
    return (
        "Of models trained on the real images themselves the same attacks do hardly better than "
        f"guessing ({in_hundred(real.strongest[1].auc.value)}): models of this kind forget single "
        "people whatever they are trained on, so look at the other questions, too."
    )


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
    # The overfitted models say nothing of distances to images.
    checks = tuple(
        check
        for check in _checks(evidence, evidence.own.membership)
        if check.instrument != "Attacks on models"
    )
    reading: dict[str, Any] = {"caveat": _OF_GROUPS, "relies_on": checks}
    if evidence.own.membership is None:
        # One attack of many: it may accuse a set, and not acquit it.
        reading |= {"at_best": "amber", "caveat": f"{_OF_GROUPS} No other attack was tried."}
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
    others = _others(evidence, OTHERS_TO_ACQUIT)
    found, few = score.tpr_at_1_percent, others < OTHERS_TO_ACQUIT
    reading["relies_on"] = (*checks, *_one_percent(not few))
    yield Finding(
        "group_attack",
        f"At 1% false alarms distance finds {score.tpr_at_1_percent.value:.1%} of the people "
        "behind an image; guessing finds 1%",
        _beyond_luck(found, others) if few else found,
        limits.tpr_green,
        limits.tpr_red,
        of=_BEYOND_LUCK if few else "",
        sample=counted(score.clusters, "walk or group", "walks or groups"),
        **reading,
    )
