"""Green, amber and red: the interval decides, and what is missing is never green."""

from __future__ import annotations

import itertools

import pytest

from latentpath.audit.statistics.intervals import Interval
from latentpath.audit.verdict import SEVERITY, Finding, QuestionVerdict, decide, grade, overall
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
