"""Does a classifier know how sure it may be? Of the images it gives 90%, are 90% right?

Expected calibration error: sort the images by the probability of the predicted class, cut them
into bins of equally many, and average the gap between mean probability and share right over the
bins. Bins of few images show a gap even where there is none, so the error that a perfectly
calibrated classifier with the same probabilities would show stands beside it. The Brier score is
the squared distance between the probabilities of all classes and the truth: 0 to 2, lower is
better; it rewards accuracy and calibration at once.

One number can mend most miscalibration: dividing all logits by a temperature. The error after
that is measured on people whom the temperature was not fitted on.

Sources: Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017; for
bins of equal mass Nguyen and O'Connor, EMNLP 2015, and Nixon et al., CVPR workshops 2019; Brier,
Monthly Weather Review 1950.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from latentpath.audit.statistics.intervals import Interval
from latentpath.audit.statistics.sampling_error import mean_interval
from latentpath.audit.utility.predictions import Predictions, softmax
from latentpath.core import ShapeError, check_at_least

MOST_BINS = 15

# Images per bin that the number of bins is chosen for, where there are few.
LEAST_PER_BIN = 20

# Draws of labels from the probabilities themselves, for the error of a calibrated classifier.
_DRAWS = 100

# Temperatures are sought between these, on a logarithmic scale, to within a thousandth.
_TEMPERATURES = (0.05, 20.0)


@dataclass(frozen=True)
class ReliabilityBin:
    """One point of a reliability curve.

    Attributes:
        confidence: mean probability of the predicted class.
        accuracy: share of the predictions that are right.
        predictions: how many; over all classifiers.
    """

    confidence: float
    accuracy: float
    predictions: int


@dataclass(frozen=True)
class ClassifierCalibration:
    """Calibration of the classifiers that were trained on a set.

    Attributes:
        ece: expected calibration error, mean over the classifiers, 0 .. 1.
        ece_if_calibrated: what it would be, on average, for perfectly calibrated classifiers
            with the same probabilities and as many test images: the floor of the measure.
        ece_after_scaling: after temperature scaling, on people that the temperature was not
            fitted on; None for fewer than two people.
        temperature: mean of the fitted temperatures, above 1 where classifiers are too sure;
            None likewise.
        overconfidence: mean probability of the predicted class minus accuracy, -1 .. 1.
        brier: Brier score over all classes, 0 .. 2, with its interval.
        bins: the reliability curve of all classifiers together.
    """

    ece: float
    ece_if_calibrated: float
    ece_after_scaling: float | None
    temperature: float | None
    overconfidence: float
    brier: Interval
    bins: tuple[ReliabilityBin, ...]

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values."""
        return {
            **vars(self),
            "brier": self.brier.as_dict(),
            "bins": [dict(vars(bin)) for bin in self.bins],
        }


def measure_calibration(
    predictions: Predictions, *, bins: int | None = None, seed: int = 0
) -> ClassifierCalibration:
    """Measure how well classifiers know their own accuracy.

    Args:
        predictions: of one or more classifiers on one test set.
        bins: number of bins; if None, at most 15 and about 20 images per bin or more.
        seed: of the drawn labels and of the halves for temperature scaling.

    Raises:
        InputError: fewer than one bin.
    """
    seeds, n, _ = predictions.logits.shape
    bins = max(1, min(MOST_BINS, n // LEAST_PER_BIN)) if bins is None else bins
    check_at_least(1, bins=bins)
    generator = np.random.default_rng(seed)
    probability = predictions.probabilities
    confidence, correct = probability.max(2), predictions.correct  # [S, n]
    drawn = [
        expected_calibration_error(row, generator.random(n) < row, bins)
        for row in confidence
        for _ in range(max(1, _DRAWS // seeds))
    ]
    missed = probability.copy()
    missed[:, np.arange(n), predictions.labels] -= 1
    scaled, temperature = _after_scaling(predictions, bins, generator)
    return ClassifierCalibration(
        ece=_mean_error(confidence, correct, bins),
        ece_if_calibrated=float(np.mean(drawn)),
        ece_after_scaling=scaled,
        temperature=temperature,
        overconfidence=float(confidence.mean() - correct.mean()),
        brier=mean_interval(np.square(missed).sum(2), predictions.people, low=0.0, high=2.0),
        bins=reliability_curve(confidence.ravel(), correct.ravel(), bins),
    )


def expected_calibration_error(
    confidence: np.ndarray,  # float [n], probability of the predicted class
    correct: np.ndarray,  # bool [n]
    bins: int = MOST_BINS,
) -> float:
    """Mean over the images of |mean probability - share right| of their bin.

    Example:
        >>> confidence = np.array([0.6, 0.6, 0.9, 0.9])
        >>> round(expected_calibration_error(confidence, np.array([1, 0, 1, 1]), bins=2), 3)
        0.1
    """
    chosen = _bin_of(confidence, correct, bins)
    gaps = np.bincount(chosen, confidence - correct)  # sum of the gaps in each bin
    return float(np.abs(gaps).sum() / len(confidence))


def reliability_curve(
    confidence: np.ndarray,  # float [n]
    correct: np.ndarray,  # bool [n]
    bins: int = MOST_BINS,
) -> tuple[ReliabilityBin, ...]:
    """Mean probability and share right per bin, from unsure to sure; empty bins are left out."""
    chosen = _bin_of(confidence, correct, bins)
    counts = np.bincount(chosen)
    used = counts > 0
    means = [np.bincount(chosen, values)[used] / counts[used] for values in (confidence, correct)]
    rows = zip(*means, counts[used], strict=True)
    return tuple(ReliabilityBin(float(p), float(share), int(count)) for p, share, count in rows)


def fit_temperature(
    logits: np.ndarray,  # [n, K]
    labels: np.ndarray,  # [n]
) -> float:
    """The temperature, 0.05 to 20, with the least cross-entropy of `logits / temperature`.

    The cross-entropy is convex in 1 / temperature, so it has a single valley in its logarithm,
    which a golden-section search finds.
    """
    logits = logits.astype(np.float64)
    truth = logits[np.arange(len(labels)), labels]
    top = logits.max(1)

    def loss(log_temperature: float) -> float:
        scale = np.exp(-log_temperature)
        total = np.log(np.exp((logits - top[:, None]) * scale).sum(1)) + (top - truth) * scale
        return float(total.mean())

    golden = (5**0.5 - 1) / 2
    low, high = (float(np.log(end)) for end in _TEMPERATURES)
    while high - low > 1e-3:
        left, right = high - golden * (high - low), low + golden * (high - low)
        if loss(left) <= loss(right):
            high = right
        else:
            low = left
    return float(np.exp((low + high) / 2))


def _after_scaling(
    predictions: Predictions, bins: int, generator: np.random.Generator
) -> tuple[float | None, float | None]:
    """Error with temperatures fitted on the other half of the people, and their mean."""
    people, person = np.unique(predictions.people, return_inverse=True)
    if len(people) < 2:
        return None, None
    half = generator.permutation(len(people)) % 2 == 0
    first = half[person]  # [n]
    confidence = np.empty(predictions.correct.shape)
    temperatures = []
    for row, logits in enumerate(predictions.logits):
        for fit, use in ((first, ~first), (~first, first)):
            temperature = fit_temperature(logits[fit], predictions.labels[fit])
            confidence[row, use] = softmax(logits[use] / temperature).max(1)
            temperatures.append(temperature)
    return _mean_error(confidence, predictions.correct, bins), float(np.mean(temperatures))


def _mean_error(confidence: np.ndarray, correct: np.ndarray, bins: int) -> float:
    rows = zip(confidence, correct, strict=True)
    return float(np.mean([expected_calibration_error(*row, bins) for row in rows]))


def _bin_of(confidence: np.ndarray, correct: np.ndarray, bins: int) -> np.ndarray:
    """Bin of each image, by rank; equal probabilities share one, that of their middle rank."""
    check_at_least(1, bins=bins)
    if confidence.ndim != 1 or confidence.shape != correct.shape or len(confidence) == 0:
        raise ShapeError(
            expected="a probability and a right or wrong [n] for at least one image",
            got=f"{list(confidence.shape)} and {list(correct.shape)}",
            fix="give the probability of the predicted class of each image",
        )
    _, place, counts = np.unique(confidence, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts + 1) / 2  # [values], rank from 0
    chosen: np.ndarray = (middle * bins / len(confidence)).astype(np.int64)[place]
    return chosen
