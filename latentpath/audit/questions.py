"""The questions of an audit, and which figures answer them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from latentpath.audit.limits import Limits
from latentpath.audit.recognition.identity_answers import CalibratedNaming
from latentpath.audit.recognition.reidentification import Reidentification
from latentpath.audit.set_audit import NEEDS_HOLDOUT, SetAudit
from latentpath.audit.statistics.intervals import Interval, wilson
from latentpath.audit.utility.utility_difference import compare_utility
from latentpath.audit.verdict import Finding, Verdict, decide


class Context(NamedTuple):
    """What a question is answered from."""

    own: SetAudit
    yardstick: SetAudit
    outsiders: SetAudit | None
    limits: Limits


class Question(NamedTuple):
    """A question and where its answer comes from.

    `measures` are those whose absence leaves the question open.
    """

    key: str
    text: str
    measures: tuple[str, ...]
    findings: Callable[[Context], Iterator[Finding]]


def answer(
    own: SetAudit, yardstick: SetAudit, outsiders: SetAudit | None, limits: Limits | None = None
) -> tuple[Verdict, ...]:
    """Answer every question about a set.

    Args:
        own: the set's measures.
        yardstick: those of the real set.
        outsiders: those of real images of other people, taken as if they were the set.
        limits: of green and red; those that it was measured with if None.
    """
    context = Context(own, yardstick, outsiders, limits or own.config.limits)
    return tuple(
        decide(
            question.key,
            question.text,
            tuple(question.findings(context)),
            missing=_reason(own, yardstick, question.measures),
        )
        for question in QUESTIONS
    )


def _reason(own: SetAudit, yardstick: SetAudit, measures: tuple[str, ...]) -> str:
    """Why none of a question's measures was taken."""
    for audit in (own, yardstick):
        for name in measures:
            if name in audit.not_measured:
                return audit.not_measured[name]
    return NEEDS_HOLDOUT


def _copies(context: Context) -> Iterator[Finding]:
    found, limits, images = context.own.copies, context.limits, context.own.images
    if found is None:
        return
    for count, whose in ((found.equal, "a real one"), (found.equal_others, "one of the holdout")):
        if count is not None:
            yield Finding(
                "copies",
                f"{count:,} of its {images:,} images equal {whose} in every pixel, as they are, "
                "mirrored or turned",
                # Every image was looked at: this is no sample, and there is no other side to it.
                Interval(count / images, count / images, count / images),
                0.0,
                0.0,
            )
    blind: dict[str, Any] = {}
    if not found.calibrated:
        blind = {
            "at_best": "amber",
            "caveat": "Three real people at least are needed to tell how alike people are.",
        }
    yield Finding(
        "copies",
        f"{found.share.value:.1%} of its images are suspiciously similar to one real person "
        "(copied, turned, moved, blurred, noisy); of people who took no part it is "
        f"{found.expected_share.value:.1%}",
        found.excess,
        limits.copies_green,
        limits.copies_red,
        **blind,
    )
    yield Finding(
        "copies",
        f"{found.certain.value:.1%} of its images are as similar to one real person as hardly "
        "anybody is who took no part, beyond what chance explains",
        found.certain,
        limits.certain_green,
        limits.certain_red,
        **blind,
    )


def _closeness(context: Context) -> Iterator[Finding]:
    own, limits = context.own, context.limits
    for name, found, how in (
        ("record_ratio", own.record_ratio, "LPIPS"),
        ("second_ratio", own.second_ratio, "a second measure without learnt weights"),
    ):
        if found is not None:
            yield Finding(
                name,
                f"{found.share.value:.1%} of its images are nearer to a person behind the set "
                f"than to somebody else, by {how}; without any leak it is half of them",
                found.share,
                limits.closer_green,
                limits.closer_red,
                **_mixed_up(context),
            )


def _identity(context: Context) -> Iterator[Finding]:
    own, real, limits = (
        context.own.reidentification,
        context.yardstick.reidentification,
        context.limits,
    )
    if own is None:
        return
    # What is not independent is the walk's own classifier, which the walk was optimised against.
    asked = [(own, real, "The identity classifier")]
    if own.independent is not None:
        asked.append((own.independent, real and real.independent, "An independent classifier"))
    for found, known, who in asked:
        if found.naming is None:
            continue
        weak = _mixed_up(context) or _sight(known, limits)
        yield Finding(
            "reidentification",
            f"{who} names one real person for {found.naming.named.value:.1%} of its images, at a "
            f"threshold that names {found.naming.false_naming:.0%} of strangers",
            _beyond_strangers(found.naming),
            limits.named_green,
            limits.named_red,
            **weak,
        )


def _sight(known: Reidentification | None, limits: Limits) -> dict[str, Any]:
    """What holds for a classifier that names few of the real people themselves."""
    if known is None or known.naming is None:
        return {"at_best": "amber", "caveat": "Whether it recognises anybody is not known."}
    named = known.naming.named.value
    if named >= limits.witness_sees:
        return {}
    return {
        "at_best": "amber",
        "caveat": f"It is a weak witness: of the real images themselves it names {named:.1%}.",
    }


def _beyond_strangers(naming: CalibratedNaming) -> Interval:
    """The share that is named, its lower end lowered by what the threshold is uncertain.

    The highest of a few strangers is no 1% threshold: by luck it names far more of a set in which
    there is nobody to be named. How many more shows in the strangers, each half of whom is asked
    at the threshold of the other.
    """
    named, strangers = naming.named, naming.strangers
    down = ((named.value - named.low) ** 2 + (strangers.high - strangers.value) ** 2) ** 0.5
    return Interval(named.value, max(0.0, named.value - down), named.high, named.level)


def _membership(context: Context) -> Iterator[Finding]:
    yield from _attacks(context)
    yield from _group_attack(context)


def _attacks(context: Context) -> Iterator[Finding]:
    found, limits = context.own.membership, context.limits
    if found is None:
        return
    weak = _weakness(context)
    name, strongest = found.strongest
    yield Finding(
        "membership",
        f"The strongest attack ({ATTACKS[name]}) tells a member from somebody else in "
        f"{strongest.auc.value:.1%} of the cases; guessing does in half of them",
        strongest.auc,
        limits.auc_green,
        limits.auc_red,
        **weak,
    )
    name, attack = max(found.attacks.items(), key=lambda one: one[1].tpr_at_1_percent.value)
    yield Finding(
        "membership",
        f"At 1% false alarms an attack ({ATTACKS[name]}) finds "
        f"{attack.tpr_at_1_percent.value:.1%} of the members; guessing finds 1%",
        attack.tpr_at_1_percent,
        limits.found_green,
        limits.found_red,
        **weak,
    )


def _mixed_up(context: Context) -> dict[str, Any]:
    """What holds for every figure that needs other people where the holdout has the real ones."""
    found, limits = context.outsiders and context.outsiders.copies, context.limits
    if not found:
        return {}
    if found.excess.low <= limits.copies_red and found.certain.low <= limits.certain_red:
        return {}
    return {
        "at_best": "amber",
        "caveat": f"The holdout is no set of other people: {found.share.value:.1%} of its images "
        "are suspiciously similar to a real person themselves, so this figure says little.",
    }


def _weakness(context: Context) -> dict[str, Any]:
    """What holds for every attack where members differ from the holdout in themselves."""
    mixed = _mixed_up(context)
    if mixed:
        return mixed
    found = context.own.membership
    if found is None or found.blind.auc.low <= context.limits.auc_green:
        return {}
    return {
        "at_best": "amber",
        "caveat": "Members and other people differ in themselves: no model is needed to tell "
        f"them apart (area under the curve {found.blind.auc.value:.2f}), so this figure says "
        "little. The holdout should be chosen at random from the same people.",
    }


def _group_attack(context: Context) -> Iterator[Finding]:
    """Its people against the holdout: of those nothing can have leaked, so half is no leak.

    The limits are those of other attacks on membership, as it is one. Averages are nearer to
    whoever is in them, so a set of bare centroids is red by nature, and so it should be: one of k
    people cannot be told from the others, but the k can be told from everybody else.
    """
    attack, limits = context.own.group_attack, context.limits
    found = attack and attack.scores.get("images_holdout")
    if not found:
        return
    reading = {"caveat": _OF_GROUPS} | _weakness(context)
    if context.own.membership is None:
        # One attack of many: it may accuse a set, and not acquit it.
        reading = {"at_best": "amber", "caveat": f"{_OF_GROUPS} No other attack was tried."}
    yield Finding(
        "group_attack",
        f"In {found.auc.value:.1%} of the cases an image is nearer to a person behind it than to "
        "somebody of the same class who took no part; it is half of them where images tell "
        "nothing",
        found.auc,
        limits.auc_green,
        limits.auc_red,
        **reading,
    )
    yield Finding(
        "group_attack",
        f"At 1% false alarms distance finds {found.tpr_at_1_percent.value:.1%} of the people "
        "behind an image; guessing finds 1%",
        found.tpr_at_1_percent,
        limits.found_green,
        limits.found_red,
        **reading,
    )


_OF_GROUPS = (
    "Averages of people look like them, and like others who resemble them: k-anonymity hides which "
    "of the k it was, and not what they have in common."
)


def _utility(context: Context) -> Iterator[Finding]:
    own, real, limits = context.own.utility, context.yardstick.utility, context.limits
    if own is None or real is None:
        return
    gain = compare_utility(own, real).balanced_accuracy
    loss = Interval(-gain.value, -gain.high, -gain.low, gain.level)
    yield Finding(
        "utility",
        f"Models trained on it reach a balanced accuracy of {own.balanced_accuracy:.1%} on real "
        f"images of other people; those trained on the real images, {real.balanced_accuracy:.1%}",
        loss,
        limits.utility_green,
        limits.utility_red,
    )


def _fidelity(context: Context) -> Iterator[Finding]:
    found, limits, people = context.own.fidelity, context.limits, context.yardstick.images
    if found is None or found.matched is None or found.yardstick is None:
        return
    own, fresh, images = found.matched.manifold, found.yardstick.manifold, found.matched.images
    for name, count, words in (
        ("precision", images, "of its images look like real ones"),
        ("coverage", people, "of the variety of the real images is covered"),
    ):
        value, other = getattr(own, name), getattr(fresh, name)
        yield Finding(
            "fidelity",
            f"{value:.1%} {words}; for fresh real images it is {other:.1%} ({name})",
            _difference(wilson(other * count, count), wilson(value * count, count)),
            getattr(limits, f"{name}_green"),
            getattr(limits, f"{name}_red"),
        )


def _difference(first: Interval, second: Interval) -> Interval:
    """First minus second share, of independent samples.

    Newcombe, "Interval estimation for the difference between independent proportions", Statistics
    in Medicine 1998, method 10.
    """
    value = first.value - second.value
    down = ((first.value - first.low) ** 2 + (second.high - second.value) ** 2) ** 0.5
    up = ((first.high - first.value) ** 2 + (second.value - second.low) ** 2) ** 0.5
    return Interval(value, value - down, value + up, first.level)


ATTACKS = {
    "threshold": "a threshold on the loss",
    "lira_offline": "the offline likelihood ratio",
    "lira_online": "the online likelihood ratio",
    "set_distance": "distance to the set",
    "set_density_ratio": "density of the set",
}

QUESTIONS = (
    Question("copies", "Is any image a copy of a real one?", ("copies",), _copies),
    Question(
        "closeness",
        "Does the set come closer to the people behind it than to others?",
        ("record_ratio", "second_ratio"),
        _closeness,
    ),
    Question("identity", "Can a person be recognised?", ("reidentification",), _identity),
    Question("membership", "Can one tell who is behind the set?", ("membership",), _membership),
    Question("utility", "Are models trained on it any good?", ("utility",), _utility),
    Question(
        "fidelity",
        "Does it look like the real data, and cover it?",
        ("fidelity",),
        _fidelity,
    ),
)

# The questions about people; the others are about use.
PRIVACY = {"copies", "closeness", "identity", "membership"}
