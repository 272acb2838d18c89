"""Calibration of classifiers: hand values, ties, temperatures."""

from __future__ import annotations

import json

import numpy as np
import pytest

from latentpath.audit.utility.classifier_calibration import (
    expected_calibration_error,
    fit_temperature,
    measure_calibration,
    reliability_curve,
)
from latentpath.audit.utility.predictions import Predictions, softmax
from latentpath.core.errors import InputError, ShapeError


def _predictions(logits: np.ndarray, labels: np.ndarray, people: np.ndarray | None = None):
    classes = logits.shape[-1]
    people = np.arange(len(labels)) if people is None else people
    names = tuple("abcdefgh"[:classes])
    return Predictions(logits.astype(np.float32), labels, people, names, np.ones(classes, int))


def _drawn(n: int, classes: int, scale: float, seed: int = 0, seeds: int = 1):
    """Logits whose softmax at `scale` 1 is the truth; `scale` 2 is twice too sure."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(0, 2, (n, classes))
    labels = (softmax(honest).cumsum(1) > rng.random((n, 1))).argmax(1)
    return _predictions(np.repeat(honest[None] * scale, seeds, 0), labels)


def test_error_by_hand():
    confidence = np.array([0.95, 0.55, 0.85, 0.65])
    correct = np.array([True, False, True, True])
    # Sorted: 0.55 no, 0.65 yes | 0.85 yes, 0.95 yes.
    assert expected_calibration_error(confidence, correct, 2) == pytest.approx(
        0.5 * abs(0.60 - 0.5) + 0.5 * abs(0.90 - 1.0)
    )
    assert expected_calibration_error(confidence, correct, 1) == pytest.approx(0.0)
    # One image per bin, and more bins than images: the mean of |confidence - correct|.
    alone = np.mean([0.05, 0.55, 0.15, 0.35])
    assert expected_calibration_error(confidence, correct, 4) == pytest.approx(alone)
    assert expected_calibration_error(confidence, correct, 40) == pytest.approx(alone)


def test_curve_by_hand():
    curve = reliability_curve(np.array([0.9, 0.5, 0.7]), np.array([True, False, True]), 3)
    assert [(point.confidence, point.accuracy, point.predictions) for point in curve] == [
        (0.5, 0.0, 1),
        (0.7, 1.0, 1),
        (0.9, 1.0, 1),
    ]


def test_equal_confidences_share_a_bin_whatever_their_order():
    confidence = np.full(10, 0.8)
    correct = np.arange(10) < 8
    for order in (np.arange(10), np.arange(10)[::-1]):
        assert expected_calibration_error(confidence, correct[order], 5) == pytest.approx(0)
        assert len(reliability_curve(confidence, correct[order], 5)) == 1


def test_bins_hold_equally_many():
    rng = np.random.default_rng(0)
    curve = reliability_curve(rng.random(103), rng.random(103) < 0.5, 10)
    assert {point.predictions for point in curve} <= {10, 11}
    assert sum(point.predictions for point in curve) == 103


def test_an_honest_classifier_shows_only_the_floor():
    found = measure_calibration(_drawn(3000, 4, 1.0))
    assert found.ece < 1.5 * found.ece_if_calibrated < 0.04
    assert abs(found.overconfidence) < 0.02
    assert found.temperature == pytest.approx(1, abs=0.05)


def test_an_overconfident_classifier_is_found_and_mended():
    found = measure_calibration(_drawn(3000, 4, 3.0, seeds=2))
    assert found.ece > 5 * found.ece_if_calibrated
    assert found.overconfidence == pytest.approx(found.ece, abs=0.01)
    assert found.temperature == pytest.approx(3, rel=0.05)
    assert found.ece_after_scaling is not None
    assert found.ece_after_scaling < found.ece / 3


def test_the_floor_is_that_of_few_images():
    few, many = (measure_calibration(_drawn(n, 3, 1.0)).ece_if_calibrated for n in (40, 4000))
    assert few > 3 * many


def test_temperature_against_a_fine_grid():
    predictions = _drawn(400, 3, 0.4, seed=5)
    logits, labels = predictions.logits[0].astype(np.float64), predictions.labels
    grid = np.exp(np.linspace(np.log(0.05), np.log(20), 2001))
    losses = [-np.log(softmax(logits / t)[np.arange(400), labels]).mean() for t in grid]
    assert fit_temperature(logits, labels) == pytest.approx(grid[np.argmin(losses)], rel=0.01)


def test_brier_by_hand():
    logits = np.log(np.array([[[0.7, 0.2, 0.1], [0.5, 0.25, 0.25]]]))
    found = measure_calibration(_predictions(logits, np.array([0, 2])))
    expected = (0.09 + 0.04 + 0.01 + 0.25 + 0.0625 + 0.5625) / 2
    assert found.brier.value == pytest.approx(expected, abs=1e-6)
    assert 0 <= found.brier.low < expected < found.brier.high <= 2


@pytest.mark.parametrize("n", [1, 2, 3])
def test_tiny_test_sets(n):
    logits = np.tile(np.array([2.0, 0.0]), (2, n, 1))
    found = measure_calibration(_predictions(logits, np.zeros(n, int)))
    assert (found.temperature is None) == (n == 1)
    assert found.brier.low < found.brier.high
    json.dumps(found.as_dict(), allow_nan=False)


def test_bins_and_shapes_are_checked():
    with pytest.raises(InputError, match="bins of at least 1"):
        expected_calibration_error(np.array([0.5]), np.array([True]), 0)
    with pytest.raises(ShapeError):
        expected_calibration_error(np.zeros(0), np.zeros(0, bool))
    with pytest.raises(ShapeError):
        reliability_curve(np.zeros(3), np.zeros(2, bool))
