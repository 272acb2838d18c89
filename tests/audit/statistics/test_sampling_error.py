"""Scores and their intervals: brute force, closed forms, coverage in simulation."""

from __future__ import annotations

import numpy as np
import pytest

from latentpath.audit.statistics.intervals import wilson
from latentpath.audit.statistics.sampling_error import (
    difference,
    mean_interval,
    t_quantile,
)
from latentpath.audit.utility.predictions import (
    Predictions,
    accuracy_score,
    auc_score,
    balanced_accuracy_score,
    class_auc,
    recall_score,
)
from latentpath.core.errors import DataError, ShapeError


def make(logits, labels, people=None) -> Predictions:
    logits = np.asarray(logits, dtype=np.float32)
    labels = np.asarray(labels)
    people = np.arange(len(labels)) if people is None else np.asarray(people)
    classes = logits.shape[2]
    return Predictions(logits, labels, people, tuple("abcdefghij"[:classes]), np.ones(classes, int))


def answers(predicted, labels, classes=2, people=None) -> Predictions:
    """Classifiers [S] that are sure of `predicted` [S, n]."""
    return make(np.eye(classes)[np.asarray(predicted)], labels, people)


def brute_force_auc(scores, positive) -> float:
    pairs = [
        1.0 if p > q else 0.5 if p == q else 0.0
        for p in scores[positive]
        for q in scores[~positive]
    ]
    return float(np.mean(pairs))


def test_auc_of_two_classes_by_hand():
    # Scores for class 1: positives 0.8, 0.4, negatives 0.4, 0.1. Pairs: 1, 1, half, 1.
    scores = np.array([0.8, 0.4, 0.4, 0.1])
    logits = np.stack([np.zeros(4), scores], 1)[None]
    assert auc_score(make(logits, [1, 1, 0, 0])).value == pytest.approx(3.5 / 4)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_auc_against_every_pair_with_ties(classes):
    rng = np.random.default_rng(classes)
    logits = rng.integers(-2, 3, (2, 60, classes)).astype(float)  # many ties
    labels = rng.integers(0, classes, 60)
    found = auc_score(make(logits, labels))
    for seed in range(2):
        share = np.exp(logits[seed]) / np.exp(logits[seed]).sum(1, keepdims=True)
        # Rounded, so that equal probabilities stay equal.
        areas = [brute_force_auc(share[:, k].round(9), labels == k) for k in range(classes)]
        assert found.values[seed] == pytest.approx(np.mean(areas))


def test_auc_does_not_saturate():
    # As float32 probabilities, all four are 1.
    logits = np.zeros((1, 4, 2))
    logits[0, :, 1] = [40, 50, 60, 70]
    assert auc_score(make(logits, [0, 0, 1, 1])).value == 1.0


def test_classes_without_test_images_are_left_out():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(1, 30, 4)), rng.integers(0, 2, 30)
    predictions = make(logits, labels)
    assert class_auc(predictions, 3) is None
    areas = [class_auc(predictions, k).values[0] for k in (0, 1)]
    assert auc_score(predictions).value == pytest.approx(np.mean(areas))
    assert balanced_accuracy_score(predictions).value == pytest.approx(
        np.mean([recall_score(predictions, k).value for k in (0, 1)])
    )
    assert recall_score(predictions, 2) is None


def test_one_class_has_no_auc():
    assert auc_score(make(np.zeros((1, 5, 3)), np.ones(5, int))) is None
    assert auc_score(make(np.zeros((1, 5, 1)), np.zeros(5, int))) is None


def test_accuracy_of_one_seed_has_wilsons_interval():
    labels = np.zeros(100, int)
    predicted = (np.arange(100) < 20).astype(int)
    found = accuracy_score(answers(predicted[None], labels)).interval()
    # One degree of freedom less, and t instead of the normal quantile: a little wider.
    expected = wilson(80, 100)
    assert found.value == pytest.approx(0.8)
    assert found.low == pytest.approx(expected.low, abs=0.004)
    assert found.high == pytest.approx(expected.high, abs=0.004)
    assert found.low < expected.low < expected.high < found.high


@pytest.mark.parametrize("n", [1, 2, 10, 1000])
def test_all_right_is_no_certainty(n):
    labels = np.arange(n) % 2
    predictions = answers(np.stack([labels] * 3), labels)
    for score in (accuracy_score, balanced_accuracy_score, auc_score):
        found = score(predictions)
        if found is None:
            assert n == 1
            continue
        found = found.interval()
        assert found.value == found.high == 1.0
        assert 0 <= found.low < 1 - 1 / (n + 1)


def test_images_of_one_person_count_once():
    rng = np.random.default_rng(0)
    labels, wrong = np.zeros(50, int), (rng.random(50) < 0.3).astype(int)
    people = np.arange(50)
    once = accuracy_score(answers(wrong[None], labels, people=people)).interval()
    again = [np.repeat(column, 8) for column in (wrong, labels, people)]
    eight = accuracy_score(answers(again[0][None], again[1], people=again[2])).interval()
    assert (eight.low, eight.high) == pytest.approx((once.low, once.high))


def test_seeds_that_disagree_widen_the_interval():
    labels = np.zeros(400, int)
    wrong = [(np.arange(400) < count).astype(int) for count in (40, 80, 120)]
    alone = accuracy_score(answers([wrong[1]], labels)).interval()
    together = accuracy_score(answers(wrong, labels)).interval()
    assert together.value == pytest.approx(0.8)
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_difference_of_a_set_to_itself_is_zero_but_not_sure():
    labels = np.arange(40) % 2
    predicted = np.where(np.arange(40) < 10, 1 - labels, labels)
    score = accuracy_score(answers(predicted[None], labels))
    found = difference(score, score)
    assert found.value == 0
    assert 0.02 < found.high == -found.low < 0.12


def test_pairing_narrows_the_difference():
    rng = np.random.default_rng(0)
    labels, hard = np.zeros(500, int), rng.random(500) < 0.4
    predicted = [hard.astype(int), hard.astype(int)]
    predicted[1][:10] = 0
    scores = [accuracy_score(answers([row], labels)) for row in predicted]
    paired = difference(*scores)
    alone = scores[0].interval()
    assert paired.value == pytest.approx(scores[0].value - scores[1].value)
    assert paired.high - paired.low < 0.4 * (alone.high - alone.low)


def _draw(rng, *, people, per, shift, classes=3, common=None):
    """Three classifiers with luck of their own, on people who are hard or easy for all."""
    n = people * per
    if common is None:
        person = np.repeat(np.arange(people), per)
        common = person, rng.integers(0, classes, people)[person], _ease(rng, person)
    person, labels, ease = common
    logits = rng.normal(0, 0.6, (3, n, classes))
    logits[:, np.arange(n), labels] += shift + ease + rng.normal(0, 0.1, (3, 1))
    return make(logits, labels, person), common


def _ease(rng, person):
    return rng.normal(0, 0.7, person.max() + 1)[person] + rng.normal(0, 0.7, len(person))


@pytest.mark.parametrize("score", [accuracy_score, balanced_accuracy_score, auc_score])
@pytest.mark.parametrize(("people", "per"), [(150, 1), (50, 3)])
def test_intervals_cover_the_truth(score, people, per):
    rng = np.random.default_rng(5)
    large = [score(_draw(rng, people=3000, per=1, shift=1.5)[0]).value for _ in range(40)]
    truth, hits = np.mean(large), 0
    for _ in range(200):
        hits += score(_draw(rng, people=people, per=per, shift=1.5)[0]).interval().holds(truth)
    # 95% of 200 is 190, with a standard deviation of 3; wider than need be is allowed.
    assert hits >= 181


def test_paired_intervals_cover_the_truth():
    rng = np.random.default_rng(6)
    truths = []
    for _ in range(40):
        first, common = _draw(rng, people=3000, per=1, shift=1.5)
        second, _ = _draw(rng, people=3000, per=1, shift=1.2, common=common)
        truths.append(accuracy_score(first).value - accuracy_score(second).value)
    truth, hits = np.mean(truths), 0
    assert truth > 0.03
    for _ in range(200):
        first, common = _draw(rng, people=60, per=2, shift=1.5)
        second, _ = _draw(rng, people=60, per=2, shift=1.2, common=common)
        hits += difference(accuracy_score(first), accuracy_score(second)).holds(truth)
    assert hits >= 181


def test_intervals_are_not_wide_without_reason():
    rng = np.random.default_rng(7)
    found = accuracy_score(_draw(rng, people=900, per=1, shift=1.5)[0]).interval()
    plain = wilson(900 * found.value, 900)
    assert found.high - found.low < 2 * (plain.high - plain.low)


def test_mean_interval_of_figures_on_any_scale():
    rng = np.random.default_rng(0)
    figures = rng.uniform(0, 2, (1, 400))
    found = mean_interval(figures, np.arange(400), low=0, high=2)
    half = 1.96 * figures.std(ddof=1) / 20
    assert found.value == pytest.approx(figures.mean())
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.02)


@pytest.mark.parametrize(
    ("freedom", "expected"),
    [(1, 12.7062), (2, 4.30265), (2.5, 3.57465), (5, 2.57058), (30, 2.04227), (999, 1.96234)],
)
def test_quantiles_of_t(freedom, expected):
    assert t_quantile(0.975, freedom) == pytest.approx(expected, rel=2e-4)


def test_predictions_check_themselves():
    with pytest.raises(DataError, match="finite"):
        make(np.full((1, 2, 2), np.nan), [0, 1])
    with pytest.raises(ShapeError):
        make(np.zeros((1, 3, 2)), [0, 1])
    with pytest.raises(ShapeError):
        make(np.zeros((0, 2, 2)), [0, 1])
