"""The aims on hand-made figures, and the tables that they are taken from."""

from __future__ import annotations

import csv
import io

import pytest

from latentpath.experiments.scoreboard import judge
from latentpath.experiments.table import (
    COLUMNS,
    as_csv,
    figures,
    over_seeds,
    summarise,
    worst_attack,
)


def row(seed, name, **found):
    return {"seed": seed, "set": name, **dict.fromkeys(COLUMNS), **found}


def seed_rows(seed, *, line=None, walk=None, real=None):
    """Figures of one seed that reach every aim by exactly as much as is said below."""
    good = {
        "real": {"accuracy": 0.90, **(real or {})},
        "line": {
            "lpips_mean": 0.10,
            "lpips_p5": 0.04,
            "identity_named": 0.60,
            "witness_rank1": 0.30,
            "witness_calibrated": 0.20,
            **(line or {}),
        },
        "walk": {
            "lpips_mean": 0.17,
            "lpips_p5": 0.07,
            "identity_named": 0.15,
            "witness_rank1": 0.06,
            "witness_calibrated": 0.06,
            "threshold_ba": 0.503,
            "lira_online_ba": 0.495,
            "accuracy": 0.89,
            **(walk or {}),
        },
    }
    return [row(seed, name, **found) for name, found in good.items()]


def by_key(rows):
    return {s.key: s for s in judge(rows)}


# Value and margin of each aim: 0.17 / 0.1 - 1 = 0.7, above 0.6 by 0.1, and so on.
REACHED = {
    "mml": (0.7, 0.1),
    "p5": (0.75, 0.25),
    "named": (0.25, 1 / 3 - 0.25),
    "calibrated": (0.3, 1 / 3 - 0.3),
    "rank1": (0.2, 1 / 3 - 0.2),
    "membership": (0.005, 0.010),
    "utility": (0.01, 0.01),
}


@pytest.mark.parametrize("key", REACHED)
def test_reached(key):
    found = by_key(seed_rows(0))[key]
    value, margin = REACHED[key]
    assert found.value == pytest.approx(value)
    assert found.margin == pytest.approx(margin)
    assert found.reached is True
    assert (found.low, found.high) == (None, None)
    assert found.line().startswith("reached by")


@pytest.mark.parametrize(
    ("key", "changes", "value", "margin"),
    [
        ("mml", {"lpips_mean": 0.15}, 0.5, -0.1),
        ("p5", {"lpips_p5": 0.04}, 0.0, -0.5),
        ("named", {"identity_named": 0.60}, 1.0, 1 / 3 - 1),
        ("calibrated", {"witness_calibrated": 0.20}, 1.0, 1 / 3 - 1),
        ("rank1", {"witness_rank1": 0.15}, 0.5, 1 / 3 - 0.5),
        ("membership", {"lira_online_ba": 0.53}, 0.03, -0.015),
        # Told apart the wrong way round is told apart.
        ("membership", {"lira_online_ba": 0.47}, 0.03, -0.015),
        ("utility", {"accuracy": 0.85}, 0.05, -0.03),
    ],
)
def test_missed_by_how_much(key, changes, value, margin):
    scores = by_key(seed_rows(0, walk=changes))
    found = scores.pop(key)
    assert found.value == pytest.approx(value)
    assert found.margin == pytest.approx(margin)
    assert found.reached is False
    assert found.line().startswith("missed by")
    assert all(other.reached for other in scores.values())


def test_better_than_real_is_reached():
    found = by_key(seed_rows(0, walk={"accuracy": 0.95}))["utility"]
    assert (found.value, found.margin) == pytest.approx((-0.05, 0.07))


def test_means_over_seeds_of_the_seeds_own_ratios():
    rows = seed_rows(0) + seed_rows(1, line={"lpips_mean": 0.17}) + seed_rows(2)
    found = by_key(rows)["mml"]
    assert found.value == pytest.approx((0.7 + 0.0 + 0.7) / 3)
    assert found.reached is False
    # Student with 2 degrees of freedom: 4.303 standard errors.
    sd = (2 * (0.7 - 1.4 / 3) ** 2 + (1.4 / 3) ** 2) ** 0.5 / 2**0.5
    assert found.high - found.value == pytest.approx(4.3027 * sd / 3**0.5, rel=1e-3)


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("named", {"line": {"identity_named": 0.0}}),
        ("rank1", {"line": {"witness_rank1": None}}),
        ("utility", {"real": {"accuracy": None}}),
        ("membership", {"walk": {"threshold_ba": None, "lira_online_ba": None}}),
    ],
)
def test_nothing_to_compare_with_is_not_reached(key, changes):
    # One seed without the figure is enough: the mean of the others would be another experiment's.
    found = by_key(seed_rows(0) + seed_rows(1, **changes))[key]
    assert (found.value, found.reached, found.margin) == (None, None, None)
    assert found.line().startswith("not measured")


def test_style_walks_are_judged_by_style_lines():
    style = [{**r, "set": f"style-{r['set']}"} for r in seed_rows(0, walk={"lpips_mean": 0.1})[1:]]
    scores = [s for s in judge(seed_rows(0) + style) if s.key == "mml"]
    assert [(s.walk, s.reached) for s in scores] == [("walk", True), ("style-walk", False)]


def test_without_walks_there_is_nothing_to_judge():
    assert judge(seed_rows(0)[:2]) == []


def test_figures_of_measures_that_were_not_taken():
    measures = {
        "images": 7,
        "nearest": {"mean_lpips_to_nearest_real": 0.1, "quantiles": {"0.05": 0.05}},
        "gradients": None,
        "membership": {"attacks": {"threshold": {"balanced_accuracy": {"value": 0.48}}}},
    }
    found = figures(measures)
    assert (found["images"], found["lpips_mean"], found["lpips_p5"]) == (7, 0.1, 0.05)
    assert found["threshold_ba"] == 0.48
    assert found["gradients_mean"] is found["accuracy"] is found["lpips_min"] is None
    assert worst_attack(found) == 0.48
    assert worst_attack({**found, "lira_offline_ba": 0.53}) == 0.53


def test_summary_of_hand_made_rows():
    rows = [row(s, "walk", accuracy=v) for s, v in [(0, 0.8), (1, 0.9), (2, 0.85)]]
    rows.append(row(0, "line", accuracy=0.7))
    walk, line = summarise(rows)
    assert (walk["set"], walk["measure"], walk["seeds"]) == ("walk", "accuracy", 3)
    assert walk["mean"] == pytest.approx(0.85)
    assert walk["high"] - walk["mean"] == pytest.approx(4.3027 * 0.05 / 3**0.5, rel=1e-3)
    assert (walk["smallest"], walk["largest"]) == (0.8, 0.9)
    assert (line["mean"], line["low"], line["high"]) == (0.7, None, None)


def test_equal_seeds_have_an_interval_of_no_width():
    assert over_seeds([0.5, 0.5]) == (0.5, 0.5, 0.5)


def test_csv_leaves_what_is_absent_empty():
    text = as_csv([{"set": "walk", "a": None, "b": 1 / 3, "n": 12345678}])
    assert list(csv.DictReader(io.StringIO(text))) == [
        {"set": "walk", "a": "", "b": "0.333333", "n": "12345678"}
    ]
