"""The answers at the edges of their limits, and where something is missing."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from latentpath.audit import AuditLimits, measure_names
from latentpath.audit.attacks.attacks_findings import AttackLimits
from latentpath.audit.attacks.group_attack import GroupAttack
from latentpath.audit.closeness.closeness_findings import ClosenessLimits
from latentpath.audit.registry import wings
from latentpath.audit.utility.classifier_utility import from_predictions
from latentpath.audit.verdict import answer, overall
from latentpath.core.errors import InputError
from support import made_reports as made

KEYS = [wing.name for wing in wings()]


def colours(limits=None, **measures):
    found = answer(made.audit(**measures), made.real_audit(), None, limits)
    assert [verdict.key for verdict in found] == KEYS
    return {verdict.key: verdict.colour for verdict in found}


def test_a_good_set_is_green_throughout():
    assert colours() == dict.fromkeys(KEYS, "green")


@pytest.mark.parametrize(
    ("question", "measures", "colour"),
    [
        ("copies", {"copies": made.copies((1, 0, 0, 0))}, "red"),  # one exact copy is enough
        ("copies", {"copies": made.copies((0, 0, 0, 2))}, "green"),  # as many as among others
        ("copies", {"copies": made.copies((0, 20, 5, 5))}, "red"),
        ("copies", {"copies": made.copies((0, 4, 4, 4))}, "amber"),
        ("closeness", {"record_ratio": made.ratio(0.535, 0.03)}, "green"),
        ("closeness", {"record_ratio": made.ratio(0.545, 0.03)}, "amber"),
        ("closeness", {"record_ratio": made.ratio(0.62, 0.03)}, "amber"),
        ("closeness", {"record_ratio": made.ratio(0.64, 0.03)}, "red"),
        ("closeness", {"record_ratio": made.ratio(0.30, 0.03)}, "green"),
        ("closeness", {"gradients_ratio": made.ratio(0.64, 0.03)}, "red"),
        ("closeness", {"record_ratio": None, "gradients_ratio": made.ratio(0.64, 0.03)}, "red"),
        ("recognition", {"reidentification": made.recognition(0.02, 0.01)}, "green"),
        ("recognition", {"reidentification": made.recognition(0.04, 0.02)}, "amber"),
        ("recognition", {"reidentification": made.recognition(0.09, 0.03)}, "red"),
        ("attacks", {"membership": made.membership(0.52)}, "green"),
        ("attacks", {"membership": made.membership(0.56)}, "amber"),
        ("attacks", {"membership": made.membership(0.65)}, "red"),
        # Few people exposed with certainty do not move the average.
        ("attacks", {"membership": made.membership(0.51, 0.08)}, "red"),
        ("attacks", {"membership": made.membership(0.52, blind=0.7)}, "grey"),
        ("attacks", {"membership": made.membership(0.52, overfitted=0.9)}, "green"),
        # Attacks that do not find whom a model learnt by heart acquit nobody.
        ("attacks", {"membership": made.membership(0.52, overfitted=0.55)}, "grey"),
        ("attacks", {"membership": made.membership(0.65, overfitted=0.55)}, "red"),
        ("attacks", {"membership": made.membership(0.65, blind=0.7)}, "red"),
        ("attacks", {"group_attack": made.group_attack(0.52)}, "green"),
        ("attacks", {"group_attack": made.group_attack(0.57)}, "amber"),
        ("attacks", {"group_attack": made.group_attack(0.88)}, "red"),
        ("attacks", {"group_attack": made.group_attack(0.53, 0.1)}, "red"),
        ("attacks", {"group_attack": made.group_attack(0.3, 0.0)}, "green"),
        ("attacks", {"group_attack": GroupAttack({})}, "green"),
        # Without other attacks it may accuse, and not acquit.
        ("attacks", {"membership": None}, "amber"),
        ("attacks", {"membership": None, "group_attack": made.group_attack(0.88)}, "red"),
        ("attacks", {"membership": None, "group_attack": GroupAttack({})}, "grey"),
        ("attacks", {"membership": None, "group_attack": None}, "grey"),
        ("utility", {"utility": made.utility(0.6)}, "red"),
        ("utility", {"utility": made.utility(0.93)}, "green"),
        # So far ahead of the real images that these were not learnt.
        ("utility", {"utility": made.utility(0.99)}, "grey"),
        ("fidelity", {"fidelity": made.fidelity(precision=0.2)}, "red"),
        ("fidelity", {"fidelity": made.fidelity(coverage=0.3)}, "red"),
        ("fidelity", {"fidelity": made.fidelity(coverage=0.6)}, "amber"),
        ("fidelity", {"fidelity": made.fidelity(1.0, 1.0)}, "green"),
    ],
)
def test_one_measure_changes_its_own_question_alone(question, measures, colour):
    assert colours(**measures) == dict.fromkeys(KEYS, "green") | {question: colour}


@pytest.mark.parametrize("name", measure_names())
def test_what_was_left_out_never_counts_as_green(name):
    verdicts = answer(made.audit(**{name: None}), made.real_audit(), None)
    open_ = {verdict.key for verdict in verdicts if verdict.colour != "green"}
    # Distances alone answer nothing, each measure of closeness stands in for the other, and hardly
    # any set is one whose people are known.
    silent = ("nearest", "gradients", "record_ratio", "gradients_ratio", "group_attack")
    assert open_ == (set() if name in silent else {_question_of(name)})
    assert overall(verdicts) == ("green" if name in silent else "amber")
    for verdict in verdicts:
        if verdict.colour == "grey":
            assert verdict.why == "Left out on request."


def _question_of(name):
    return next(wing.name for wing in wings() if name in wing.answered_by)


def test_a_classifier_that_knows_nobody_cannot_acquit():
    blind = made.real_audit(reidentification=made.recognition(0.3))
    verdict = {v.key: v for v in answer(made.audit(), blind, None)}["recognition"]
    assert verdict.colour == "grey"
    assert "names 30.0%" in verdict.why
    assert [check.works for check in verdict.checks] == [True, False, False]


def test_a_holdout_with_the_real_people_cannot_acquit():
    others = made.audit(copies=made.copies((0, 0, 0, 60)))
    found = {v.key: v for v in answer(made.audit(), made.real_audit(), others)}
    for key in ("closeness", "recognition", "attacks"):
        assert found[key].colour == "grey"
        assert "It is no set of other people" in found[key].why
        assert "Of its images 15.0%" in found[key].why
    assert found["copies"].colour == "green"
    leaky = made.audit(record_ratio=made.ratio(0.64, 0.03))
    found = {v.key: v for v in answer(leaky, made.real_audit(), others)}
    assert found["closeness"].colour == "red"


def copies_of(**changes):
    subject = made.audit(copies=dataclasses.replace(made.copies((0, 0, 0, 2)), **changes))
    return {v.key: v for v in answer(subject, made.real_audit(), None)}["copies"]


def test_copies_are_not_only_images_that_are_equal():
    """The card says what was looked for, and the finding that decided, not the weakest one."""
    good = copies_of()
    assert good.why.startswith("0.5% of its images are suspiciously similar to one real person")
    assert all(f" {change}" in good.why for change in ("mirrored", "cropped", "re-encoded"))
    assert len(good.findings) == 4
    assert copies_of(equal=1).why.startswith("1 of its 400 images equal a real one in every pixel")
    assert copies_of(equal_holdout=2).why.startswith("2 of its 400 images equal one of the holdout")
    near = copies_of(excess=made.near(0.2, 0.05))
    assert (near.colour, "95% interval of the share beyond chance" in near.why) == ("red", True)


@pytest.mark.parametrize("name", ["equal", "equal_holdout"])
def test_one_mirrored_image_or_one_of_the_holdout_is_enough(name):
    found = dataclasses.replace(made.copies((0, 0, 0, 1)), **{name: 1})
    assert colours(copies=found)["copies"] == "red"
    assert colours(copies=dataclasses.replace(found, **{name: 0}))["copies"] == "green"


def test_near_copies_without_people_to_compare_with_are_not_denied():
    found = dataclasses.replace(made.copies((0, 0, 0, 0)), calibrated=False)
    assert colours(copies=found)["copies"] == "grey"


def test_a_search_that_finds_no_planted_copies_denies_none():
    found = made.copies((0, 0, 0, 1))
    for share, colour in ((0.9, "green"), (0.3, "grey")):
        planted = dataclasses.replace(found, planted=made.near(share, 0.05))
        assert colours(copies=planted)["copies"] == colour
    equal = dataclasses.replace(planted, equal=1)
    assert colours(copies=equal)["copies"] == "red"


@pytest.mark.parametrize("people", [12, 400])
def test_a_handful_of_other_people_is_no_yardstick(people):
    few = made.audit(record_ratio=dataclasses.replace(made.ratio(), people=people))
    real, others = made.real_audit(), dataclasses.replace(made.audit(), people=people)
    found = {v.key: v for v in answer(few, real, others)}
    colour = "grey" if people < 30 else "green"
    assert found["closeness"].colour == found["attacks"].colour == colour
    if colour == "grey":
        assert "There are 12 other people; it takes 30" in found["closeness"].why


def test_a_threshold_of_one_in_a_hundred_takes_a_hundred_people():
    found = made.recognition()
    blunt = dataclasses.replace(found.naming, resolved=False)
    naming = dataclasses.replace(found, naming=blunt, witness=None)
    assert colours(reidentification=naming)["recognition"] == "grey"
    one = dataclasses.replace(made.attack(), resolved=(False, False))
    attacked = dataclasses.replace(made.membership(), attacks={"threshold": one})
    assert colours(membership=attacked)["attacks"] == "grey"


@pytest.mark.parametrize(("others", "colour"), [(13, "grey"), (150, "red")])
def test_a_handful_of_others_accuses_nobody_of_what_luck_finds(others, colour):
    """A tenth of anybody may lie above the highest score of thirteen."""
    lucky = dataclasses.replace(
        made.attack(),
        auc=made.near(0.5, 0.03),
        tpr_at_1_percent=made.near(0.12, 0.03),
        resolved=(others >= 100, False),
    )
    own = made.audit(
        membership=dataclasses.replace(made.membership(), attacks={"threshold": lucky}),
        group_attack=None,
    )
    holdout = dataclasses.replace(made.audit(), people=others)
    verdict = {v.key: v for v in answer(own, made.real_audit(), holdout)}["attacks"]
    assert verdict.colour == colour
    sure = dataclasses.replace(lucky, tpr_at_1_percent=made.near(0.6, 0.05))
    own = made.audit(
        membership=dataclasses.replace(made.membership(), attacks={"threshold": sure}),
        group_attack=None,
    )
    verdict = {v.key: v for v in answer(own, made.real_audit(), holdout)}["attacks"]
    assert verdict.colour == "red", "three of five are more than luck"


def test_a_yardstick_that_cannot_call_anything_worthless_is_none():
    found = made.fidelity(precision=0.3)
    weak = dataclasses.replace(
        found.yardstick, manifold=dataclasses.replace(found.yardstick.manifold, precision=0.35)
    )
    assert colours(fidelity=dataclasses.replace(found, yardstick=weak))["fidelity"] == "grey"


def test_averages_are_explained_in_words():
    found = answer(made.audit(group_attack=made.group_attack(0.88)), made.real_audit(), None)
    verdict = {v.key: v for v in found}["attacks"]
    assert (verdict.value.value, verdict.threshold) == (0.88, 0.6)
    assert "the one behind it is the nearer one 88.0 times in 100 (AUC 0.880)" in verdict.why
    assert "k-anonymity hides which of the k it was" in verdict.why


def test_a_holdout_of_another_kind_says_nothing_of_groups():
    measures = {"membership": made.membership(blind=0.7), "group_attack": made.group_attack(0.52)}
    found = answer(made.audit(**measures), made.real_audit(), None)
    findings = {v.key: v for v in found}["attacks"].findings
    assert {f.colour for f in findings} == {"grey"}
    assert all("differ in themselves" in f.why for f in findings)


def test_a_classifier_of_unknown_sight_cannot_acquit():
    for known in (None, dataclasses.replace(made.recognition(0.97), naming=None)):
        yardstick = made.real_audit(reidentification=known)
        verdict = {v.key: v for v in answer(made.audit(), yardstick, None)}["recognition"]
        assert verdict.colour == "grey"
        assert "was not asked about the real images" in verdict.why


def test_a_threshold_set_on_a_handful_of_people_accuses_nobody():
    """The highest of twenty names 5% of anybody, and by luck 10%."""
    few = made.near(0.1, 0.15)  # of the twenty themselves, each half at the other's threshold
    found = made.recognition(0.1, 0.02, witness=False)
    for holdout, colour in ((few, "amber"), (made.near(0.01, 0.01), "red")):
        naming = dataclasses.replace(found.naming, holdout=holdout)
        subject = made.audit(reidentification=dataclasses.replace(found, naming=naming))
        verdict = {v.key: v for v in answer(subject, made.real_audit(), None)}["recognition"]
        assert verdict.colour == colour
        assert verdict.value.value == 0.1
        assert verdict.value.high == pytest.approx(0.12)


def test_without_a_holdout_nobody_is_called_safe():
    found = made.recognition(witness=False)
    bare = dataclasses.replace(found, naming=None)
    verdict = {
        v.key: v for v in answer(made.audit(reidentification=bare), made.real_audit(), None)
    }["recognition"]
    assert verdict.colour == "grey"
    assert "holdout" in verdict.why


def test_what_was_measured_without_a_holdout_is_not_said_to_be_left_out():
    alone = GroupAttack({"images_private": made.group_attack().scores["images_private"]})
    own = made.audit(group_attack=alone, membership=None)
    verdict = {v.key: v for v in answer(own, made.real_audit(), None)}["attacks"]
    assert (verdict.colour, "holdout" in verdict.why) == ("grey", True)


@pytest.mark.parametrize("accuracy", [0.3, 0.5, 0.9])
def test_a_yardstick_that_learnt_nothing_answers_nothing(accuracy):
    """Neither green for a set that is as bad as guessing, nor red for one that is worse."""
    real = made.real_audit(utility=made.utility(0.52))
    (verdict,) = [
        verdict
        for verdict in answer(made.audit(utility=made.utility(accuracy)), real)
        if verdict.key == "utility"
    ]
    assert verdict.colour == "grey"
    assert "Guessing gives 50.0%" in verdict.why
    assert overall([verdict]) == "grey"


def use_of(accuracy, yardstick):
    own, real = made.audit(utility=made.utility(accuracy)), made.real_audit(utility=yardstick)
    return {verdict.key: verdict for verdict in answer(own, real)}["utility"]


def test_a_set_that_is_far_ahead_of_the_real_images_has_no_yardstick():
    """Nobody learns more from a set than from the images that it was made from."""
    verdict = use_of(0.93, made.utility(0.75))
    assert verdict.colour == "grey"
    assert "points ahead of those trained on the real images" in verdict.why
    assert "Train them longer (--thorough" in verdict.why
    assert [check.works for check in verdict.checks] == [True, False, True]
    # Ahead, but not surely by more than five points: chance may explain it.
    assert use_of(0.82, made.utility(0.75)).colour == "green"


def shifted(utility, by):
    """The same ranks of test images, with classes parted at another place."""
    found = utility.predictions
    logits = found.logits + np.array([0.0, by])
    return from_predictions(dataclasses.replace(found, logits=logits), utility.seeds)


@pytest.mark.parametrize(("by", "colour"), [(0.0, "green"), (1.8, "grey"), (-1.8, "grey")])
def test_a_yardstick_that_ranks_well_and_parts_badly_is_not_trained_out(by, colour):
    yardstick = shifted(made.utility(0.95), by)
    accuracy = 0.95 if by == 0 else yardstick.balanced_accuracy
    verdict = use_of(accuracy, yardstick)
    assert yardstick.auc == pytest.approx(made.utility(0.95).auc)
    assert verdict.colour == colour
    assert [check.works for check in verdict.checks] == [True, True, colour == "green"]
    assert ("with so large an AUC" in verdict.why) == (colour == "grey")


def test_what_an_auc_promises_is_promised_by_every_roc_curve():
    rng = np.random.default_rng(0)
    for _ in range(200):
        scores, labels = rng.normal(size=60), rng.random(60) < 0.4
        scores += labels * rng.uniform(0, 3)
        area = float((scores[labels][:, None] > scores[~labels]).mean())
        best = max(
            ((scores[labels] > cut).mean() + (scores[~labels] <= cut).mean()) / 2 for cut in scores
        )
        assert best >= 1 - ((1 - area) / 2) ** 0.5 - 1e-9


def test_limits_are_options():
    strict = AuditLimits(closeness=ClosenessLimits(0.5, 0.5))
    assert colours(strict)["closeness"] == "amber"
    lax = AuditLimits(attacks=AttackLimits(0.9, 0.95, 0.9, 0.9))
    assert colours(lax, membership=made.membership(0.65))["attacks"] == "green"


def test_limits_have_to_be_in_order():
    for limits in vars(AuditLimits()).values():
        for field in dataclasses.fields(limits):
            for value in (-0.1, 1.1):
                with pytest.raises(InputError, match=field.name):
                    dataclasses.replace(limits, **{field.name: value})
    with pytest.raises(InputError, match="below that of green"):
        AttackLimits(auc_green=0.7)


def test_every_finding_says_its_figure_in_words():
    for verdict in answer(made.audit(), made.real_audit(), None):
        for finding in verdict.findings:
            assert any(character.isdigit() for character in finding.what)
            assert not finding.what.endswith(".")
        assert verdict.why.endswith(".")


def test_worse_is_never_better():
    order = ["green", "amber", "red"]
    shares = [
        colours(record_ratio=made.ratio(0.4 + 0.01 * step))["closeness"] for step in range(40)
    ]
    for worse, better in itertools.pairwise(reversed(shares)):
        assert order.index(worse) >= order.index(better)
