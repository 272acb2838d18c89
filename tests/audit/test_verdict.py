"""Green, amber and red: the interval decides, and what is missing is never green."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from latentpath.audit.instrument_check import InstrumentCheck
from latentpath.audit.statistics.intervals import Interval
from latentpath.audit.verdict import (
    SEVERITY,
    WEAK_INSTRUMENT,
    Finding,
    QuestionVerdict,
    decide,
    grade,
    headline,
    overall,
)
from latentpath.core.errors import InputError

NAN = float("nan")


@pytest.mark.parametrize(
    ("low", "high", "colour"),
    [
        (0.40, 0.50, "green"),  # ends that equal a limit are within it
        (0.40, 0.51, "amber"),
        (0.55, 0.60, "amber"),
        (0.60, 0.70, "amber"),
        (0.60001, 0.70, "red"),
        (0.10, 0.90, "amber"),  # so few images that anything is possible
        (0.50, 0.50, "green"),
        (0.61, 0.61, "red"),
        (NAN, NAN, "amber"),
        (0.40, NAN, "amber"),
        (0.90, float("inf"), "red"),
    ],
)
def test_the_whole_interval_has_to_be_on_one_side(low, high, colour):
    found = Interval((low + high) / 2, low, high)
    assert grade(found, green=0.5, red=0.6) == colour
    mirrored = Interval(-(low + high) / 2, -high, -low)
    assert grade(mirrored, green=-0.5, red=-0.6, lower_is_better=False) == colour


def test_the_figure_itself_does_not_decide():
    assert grade(Interval(0.1, 0.05, 0.55), 0.5, 0.5) == "amber"
    assert grade(Interval(0.9, 0.45, 0.95), 0.5, 0.5) == "amber"


def finding(value: float, reach: float = 0.0, **changes) -> Finding:
    interval = Interval(value, value - reach, value + reach)
    return Finding("copies", f"The figure is {value}", interval, 0.1, 0.2, **changes)


def test_the_worst_finding_decides():
    good, open_, bad = finding(0.05), finding(0.15), finding(0.3)
    for order in itertools.permutations([good, open_, bad]):
        verdict = decide("copies", "Any copies?", order, missing="")
        assert (verdict.colour, verdict.value, verdict.threshold) == ("red", bad.interval, 0.2)
        assert verdict.why == "The figure is 0.3."
        assert verdict.findings == order
    verdict = decide("copies", "Any copies?", [good, open_], missing="")
    assert (verdict.colour, verdict.threshold) == ("amber", 0.1)
    assert decide("copies", "Any copies?", [good], missing="").colour == "green"


def test_a_weak_figure_is_amber_at_best_and_still_red_where_it_is_red():
    weak = {"at_best": "amber", "caveat": "The classifier is weak."}
    verdict = decide("people", "Anyone?", [finding(0.05, **weak)], missing="")
    assert verdict.colour == "amber"
    assert verdict.why == "The figure is 0.05. The classifier is weak."
    assert finding(0.3, **weak).colour == "red"


def test_what_was_not_measured_is_grey_and_says_why():
    verdict = decide("utility", "Any good?", [], missing="There is no holdout.")
    assert verdict.colour == "grey"
    assert verdict.value is None
    assert verdict.threshold is None
    assert verdict.why == "There is no holdout."
    assert verdict.as_dict()["value"] is None


def coloured(colour) -> QuestionVerdict:
    return QuestionVerdict("k", "q", colour, None, None, "")


@pytest.mark.parametrize(
    ("colours", "whole"),
    [
        (["green"] * 3, "green"),
        (["green", "grey"], "amber"),
        (["green", "amber", "grey"], "amber"),
        (["grey", "red", "green"], "red"),
        (["amber", "red"], "red"),
        (["grey", "grey"], "grey"),
        ([], "grey"),
    ],
)
def test_the_whole_is_as_good_as_its_worst_part(colours, whole):
    assert overall(map(coloured, colours)) == whole


def test_no_combination_with_an_open_question_is_green():
    for colours in itertools.product(SEVERITY, repeat=3):
        found = overall(map(coloured, colours))
        assert (found == "green") == (set(colours) == {"green"})


def test_limits_in_the_wrong_order_are_refused():
    interval = Interval(0.5, 0.4, 0.6)
    with pytest.raises(InputError, match="green below that of red"):
        Finding("m", "w", interval, 0.6, 0.5)
    with pytest.raises(InputError, match="green above that of red"):
        Finding("m", "w", interval, 0.5, 0.6, lower_is_better=False)
    with pytest.raises(InputError, match="nan"):
        Finding("m", "w", interval, NAN, 0.6)


def about(aspect, colour, key="k") -> QuestionVerdict:
    return QuestionVerdict(key, "q", colour, None, None, "", about=aspect)


def test_privacy_and_use_are_two_verdicts_and_neither_makes_up_for_the_other():
    found = headline([about("privacy", "green"), about("use", "red"), about("use", "green")])
    assert [(verdict.about, verdict.colour) for verdict in found] == [
        ("privacy", "green"),
        ("use", "red"),
    ]
    assert found[1].tally == "1 green, 1 red"
    assert found[0].answer != found[1].answer
    assert headline([]) == ()


def test_an_open_question_decides_where_all_others_are_green():
    private, use = headline([about("privacy", "green", "a"), about("privacy", "grey", "b")])
    assert (private.colour, [question.key for question in private.decided_by]) == ("amber", ["b"])
    assert (use.colour, use.decided_by) == ("grey", ())


@pytest.mark.parametrize(
    ("low", "high", "reason"),
    [
        (
            0.04,
            0.86,
            "Amber because with 3 walks the 95% interval of the loss is 4.0% to 86.0%, and green "
            "ends at 10.0%",
        ),
        (
            0.12,
            0.18,
            "Amber because with 3 walks the 95% interval of the loss, 12.0% to 18.0%, lies between "
            "10.0%, where green ends, and 20.0%, where red begins",
        ),
        (
            0.15,
            0.25,
            "Amber because with 3 walks the 95% interval of the loss is 15.0% to 25.0%, and red "
            "begins at 20.0%",
        ),
        (
            0.21,
            0.25,
            "Red because with 3 walks the 95% interval of the loss, 21.0% to 25.0%, lies wholly "
            "beyond 20.0%",
        ),
        (0.01, 0.05, ""),
        (0.3, 0.3, ""),  # counted, not estimated: the figure says it
    ],
)
def test_an_amber_answer_says_why_it_is_amber(low, high, reason):
    middle = (low + high) / 2
    found = Finding(
        "m", "The figure", Interval(middle, low, high), 0.1, 0.2, of="the loss", sample="3 walks"
    )
    assert found.reason == reason
    assert found.why == f"The figure. {reason}.".replace(" .", "").strip()
    mirrored = dataclasses.replace(
        found,
        interval=Interval(-middle, -high, -low),
        green=-0.1,
        red=-0.2,
        lower_is_better=False,
    )
    assert mirrored.reason.split(" because")[0] == reason.split(" because")[0]
    assert mirrored.colour == found.colour


def test_a_caveat_is_the_only_reason_where_the_interval_is_good():
    weak = finding(0.05, 0.01, at_best="amber", caveat="The witness is blind.")
    assert (weak.colour, weak.reason) == ("amber", "")
    assert weak.why == "The figure is 0.05. The witness is blind."


@pytest.mark.parametrize(("works", "voids"), [*itertools.product([True, False], repeat=2)])
def test_an_instrument_that_failed_acquits_nobody_and_may_accuse(works, voids):
    check = InstrumentCheck("The witness", "It names nobody", works, "Train it", voids)
    good, open_, bad = (
        finding(value, 0.01, relies_on=(check,)).colour for value in (0.05, 0.1, 0.3)
    )
    expected = ("green", "amber", "red")
    if not works:
        expected = ("grey",) * 3 if voids else ("grey", "grey", "red")
    assert (good, open_, bad) == expected
    found = finding(0.05, 0.01, relies_on=(check,))
    assert ("It names nobody. Train it." in found.why) == (not works)
    verdict = decide("k", "q", [found, found], missing="")
    assert verdict.checks == (check,)
    assert (verdict.value is None, verdict.threshold is None) == (not works,) * 2


@pytest.mark.parametrize("value", [0.05, 0.15, 0.3])
def test_why_a_weak_instrument_acquits_nobody_is_said_and_before_its_figure(value):
    few = InstrumentCheck("People", "There are 13 other people", False, "Give more")
    blunt = InstrumentCheck("A rate", "There are fewer than 100", False, "Give more")
    found = finding(value, 0.01, relies_on=(few, blunt))
    doubts = f"There are 13 other people. There are fewer than 100. Give more. {WEAK_INSTRUMENT}"
    assert doubts in found.why
    if found.colour == "red":
        assert found.why.startswith(f"The figure is {value}. Red because")
    else:
        assert found.colour == "grey"
        assert found.why == (f"{doubts} Measured, but not to be relied on: The figure is {value}.")


def test_a_failed_yardstick_is_not_said_to_condemn():
    lost = InstrumentCheck("The yardstick", "It learnt nothing", False, voids=True)
    assert WEAK_INSTRUMENT not in finding(0.3, 0.01, relies_on=(lost,)).why


def test_losses_below_nothing_have_a_minus_sign():
    assert finding(0.3).written(-0.382) == "\N{MINUS SIGN}38.2%"
    assert finding(0.3, percent=False).written(-0.5) == "\N{MINUS SIGN}0.5"
