"""ROC figures: hand-computed with and without ties, resampling, coverage, thresholds."""

from __future__ import annotations

import json

import numpy as np
import pytest

from latentpath.audit.statistics.intervals import resampled_counts
from latentpath.audit.statistics.roc import (
    CURVE,
    auc,
    best_threshold,
    roc_replicates,
    score_attack,
    threshold_at,
    tpr_at,
)
from latentpath.core.errors import DataError, ShapeError


def array(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


@pytest.mark.parametrize(
    ("members", "holdout", "expected"),
    [
        (array(3, 2), array(1, 0), 1.0),
        (array(0, 1), array(2, 3), 0.0),
        (array(1, 1), array(1, 1, 1), 0.5),
        # Pairs: 3>2, 3>1, 3>1; 1<2, 1=1, 1=1 -> (3 + 2/2) / 6
        (array(3, 1), array(2, 1, 1), 4 / 6),
        (array(np.inf, 0), array(np.inf, -np.inf), (0.5 + 1 + 0 + 1) / 4),
    ],
)
def test_auc_by_hand(members, holdout, expected):
    assert auc(members, holdout) == pytest.approx(expected)


def test_true_positives_by_hand():
    holdout = np.arange(10.0)  # 0 .. 9
    members = array(9.5, 9, 8.5, 8, 1)
    assert threshold_at(holdout, 0.05) == 9  # nobody may be accused
    assert tpr_at(members, holdout, 0.05) == 1 / 5
    assert tpr_at(members, holdout, 0.1) == 3 / 5  # one may: all above 8
    assert tpr_at(members, holdout, 1.0) == 1
    # A tie of two is accused whole or not at all.
    tied = array(0, 1, 2, 3, 4, 5, 6, 7, 9, 9)
    assert tpr_at(members, tied, 0.1) == 1 / 5
    assert tpr_at(members, tied, 0.2) == 4 / 5
    assert tpr_at(np.ones(5), np.ones(100), 0.01) == 0
    # 0.01 * 300 is 3.0000000000000004 or 2.99..., never two accused.
    assert threshold_at(np.arange(300.0), 0.01) == 296


@pytest.mark.parametrize("seed", range(5))
def test_true_positives_against_all_thresholds(seed):
    rng = np.random.default_rng(seed)
    members, others = rng.integers(0, 12, 31) + 1.0, rng.integers(0, 11, 47) + 0.0
    for rate in (0.01, 0.1, 0.33):
        best = max(
            (members > t).mean()
            for t in [-np.inf, *np.unique(np.concatenate([members, others]))]
            if (others > t).mean() <= rate
        )
        assert tpr_at(members, others, rate) == pytest.approx(best)


@pytest.mark.parametrize("seed", range(5))
def test_the_best_threshold_is_the_best(seed):
    rng = np.random.default_rng(seed)
    members, others = rng.integers(0, 9, 13) + 1.0, rng.integers(0, 9, 22) + 0.0
    everything = [-np.inf, *np.unique(np.concatenate([members, others]))]
    best = max((members > t).mean() + (others <= t).mean() for t in everything)
    found = best_threshold(members, others)
    assert (members > found).mean() + (others <= found).mean() == pytest.approx(best)


def test_thresholds_at_the_edges():
    assert best_threshold(array(1, 1), array(1, 1)) == -np.inf
    assert best_threshold(array(0), array(5)) == -np.inf
    assert best_threshold(array(4), array(2)) == 3
    tight = np.nextafter(1.0, 2)
    assert best_threshold(array(tight), array(1.0)) == 1.0
    split = best_threshold(array(np.inf, np.inf), array(-np.inf, 0.0))
    assert 0 <= split < np.inf


def test_replicates_equal_the_figures_of_the_drawn_rows():
    rng = np.random.default_rng(0)
    members, others = rng.integers(0, 30, (2, 23)) + 3.0, rng.integers(0, 30, (2, 150)) + 0.0
    drawn_in = resampled_counts(23, generator=rng, resamples=20)
    drawn_out = resampled_counts(150, generator=rng, resamples=20)
    found = roc_replicates(members, others, drawn_in, drawn_out)
    for row in range(20):
        for column, figure in enumerate(
            (auc, lambda a, b: tpr_at(a, b, 0.01), lambda a, b: tpr_at(a, b, 0.001))
        ):
            expected = np.mean(
                [
                    figure(
                        np.repeat(a, drawn_in[row].astype(int)),
                        np.repeat(b, drawn_out[row].astype(int)),
                    )
                    for a, b in zip(members, others, strict=True)
                ]
            )
            assert found[row, column] == pytest.approx(expected)


def test_replicates_do_not_depend_on_the_parts_they_are_made_in(monkeypatch):
    rng = np.random.default_rng(0)
    arrays = (rng.normal(size=(1, 9)), rng.normal(size=(1, 14)))
    counts = [resampled_counts(n, generator=rng, resamples=30) for n in (9, 14)]
    whole = roc_replicates(*arrays, *counts)
    monkeypatch.setattr("latentpath.audit.statistics.roc._AT_ONCE", 50)
    np.testing.assert_array_equal(whole, roc_replicates(*arrays, *counts))


def test_a_perfect_attack_and_none():
    perfect = score_attack(np.arange(50) + 1000.0, np.arange(60.0), seed=0, resamples=200)
    assert perfect.auc.value == perfect.balanced_accuracy.value == 1
    assert perfect.tpr_at_01_percent.value == 1
    assert perfect.tpr_at_01_percent.low < 1  # 50 members are no proof of all
    constant = score_attack(np.zeros(50), np.zeros(60), seed=0, resamples=200)
    assert constant.auc.value == constant.balanced_accuracy.value == 0.5
    assert constant.tpr_at_1_percent.value == 0 < constant.tpr_at_1_percent.high


def test_thresholds_are_not_chosen_on_the_rows_they_judge():
    """Tuned on its own rows, noise would seem to tell members from non-members."""
    rng = np.random.default_rng(0)
    found = [
        score_attack(rng.normal(size=12), rng.normal(size=12), seed=i, resamples=1)
        for i in range(200)
    ]
    assert np.mean([f.balanced_accuracy.value for f in found]) == pytest.approx(0.5, abs=0.03)


def test_intervals_cover_the_truth_at_their_level():
    rng = np.random.default_rng(1)
    sets, hits = 200, np.zeros(2)
    for number in range(sets):
        found = score_attack(
            rng.normal(1, 1, 120), rng.normal(size=200), seed=number, resamples=200, level=0.9
        )
        # AUC of two normals a unit apart: Phi(1 / sqrt 2). TPR at 1%: 1 - Phi(2.326 - 1); with
        # 200 non-members two may be accused.
        hits += [found.auc.holds(0.760250), found.tpr_at_1_percent.holds(0.09236)]
    slack = 4 * np.sqrt(0.9 * 0.1 / sets)
    assert abs(hits[0] / sets - 0.9) < slack
    assert hits[1] / sets > 0.9 - slack


def test_people_with_many_images_widen_the_interval():
    rng = np.random.default_rng(2)
    people = np.repeat(np.arange(30), 8)
    members, others = rng.normal(0.3, 1, 30)[people], rng.normal(size=30)[people]
    rows = score_attack(members, others, seed=0, resamples=300)
    whole = score_attack(
        members, others, seed=0, member_groups=people, holdout_groups=people, resamples=300
    )
    assert whole.auc.value == rows.auc.value
    assert whole.auc.high - whole.auc.low > 2 * (rows.auc.high - rows.auc.low)
    assert whole.resolved == (False, False)  # 30 people, whatever the number of images
    assert rows.resolved == (True, False)


def test_what_is_resolved():
    few = score_attack(np.arange(9.0), np.arange(99.0), seed=0, resamples=5)
    many = score_attack(np.arange(9.0), np.arange(1000.0), seed=0, resamples=5)
    assert (few.resolved, many.resolved) == ((False, False), (True, True))
    plain = json.loads(json.dumps(few.as_dict()))
    assert plain["tpr_at_0.1_percent"]["resolved"] is False
    assert plain["members"] == 9


def test_several_models_are_averaged():
    good, bad = np.arange(20) + 50.0, np.arange(20.0) - 50
    others = np.arange(20.0)
    both = score_attack(np.stack([good, bad]), np.stack([others, others]), seed=0, resamples=50)
    assert both.auc.value == 0.5
    assert both.tpr_at_1_percent.value == 0.5


def test_unusable_scores_are_refused():
    with pytest.raises(DataError, match="NaN"):
        score_attack(array(1, np.nan), array(1, 2), seed=0)
    with pytest.raises(ShapeError, match="scores"):
        score_attack(np.ones((2, 3)), np.ones((1, 3)), seed=0)
    with pytest.raises(ShapeError, match="groups"):
        score_attack(np.ones(3), np.ones(3), seed=0, member_groups=np.zeros(2))
    with pytest.raises(DataError, match="two members"):
        score_attack(np.ones(3), np.ones(3), seed=0, member_groups=np.zeros(3))


def test_the_curve_passes_through_the_quoted_rates():
    rng = np.random.default_rng(3)
    found = score_attack(rng.normal(1, 1, 900), rng.normal(0, 1, 1100), seed=0, resamples=20)
    curve = dict(zip(CURVE, found.curve, strict=True))
    assert curve[0.01] == pytest.approx(found.tpr_at_1_percent.value)
    assert curve[0.001] == pytest.approx(found.tpr_at_01_percent.value)
    assert found.curve[-1] == 1.0
    assert (np.diff(found.curve) >= 0).all()
    rates = np.array(CURVE)
    assert float(
        np.diff(rates) @ (np.array(found.curve)[1:] + np.array(found.curve)[:-1]) / 2
    ) == pytest.approx(found.auc.value, abs=0.02)
