"""What classifiers say about the images of a test set, kept for every figure, and test scores.

Each score comes with what every test image contributes to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from latentpath.audit.statistics.sampling_error import (
    Part,
    SampledScore,
    count_people,
    mean_of,
    placement,
    scaled_influence,
    share_of,
)
from latentpath.core import DataError, ShapeError


@dataclass(frozen=True, eq=False)
class Predictions:
    """Logits of S classifiers, one per seed, for the same n test images.

    Everything here is about single images: keep it with the data holder.

    Attributes:
        logits: float32 [S, n, K].
        labels: int64 [n], true class of each image.
        people: int64 [n], person of each image.
        class_names: the K class names.
        train_counts: int64 [K], training images per class.

    Raises:
        ShapeError: the arrays do not fit each other.
        DataError: a logit is NaN or infinite.
    """

    logits: np.ndarray  # [S, n, K]
    labels: np.ndarray  # [n]
    people: np.ndarray  # [n]
    class_names: tuple[str, ...]
    train_counts: np.ndarray  # [K]

    def __post_init__(self) -> None:
        shape, classes = self.logits.shape, len(self.class_names)
        fits = self.logits.ndim == 3 and 0 not in shape and shape[2] == classes
        columns = (self.labels.shape, self.people.shape)
        if not fits or columns != (shape[1:2],) * 2 or self.train_counts.shape != (classes,):
            raise ShapeError(
                expected=f"logits [S, n, {classes}], labels and people [n], one count per class",
                got=f"{list(shape)}, {list(columns[0])} and {list(columns[1])}, "
                f"{list(self.train_counts.shape)}",
                fix="give the predictions of classifiers over the test set's classes",
            )
        if not np.isfinite(self.logits).all():
            raise DataError(
                expected="finite class logits",
                got="NaN or infinity",
                fix="check the training images, or lower the classifier's learning rate",
            )

    @cached_property
    def predicted(self) -> np.ndarray:
        """The most likely class, int64 [S, n]."""
        return self.logits.argmax(2)

    @cached_property
    def correct(self) -> np.ndarray:
        """Whether it is the true one, bool [S, n]."""
        return self.predicted == self.labels

    @cached_property
    def probabilities(self) -> np.ndarray:
        """Softmax of the logits, float64 [S, n, K]."""
        return softmax(self.logits)

    def log_odds(self, label: int) -> np.ndarray:
        """Log-odds of one class against all others, float64 [S, n].

        They order images as the class's probability does, but do not run into 1.
        """
        logits = self.logits.astype(np.float64)
        others = np.delete(logits, label, axis=2)  # [S, n, K - 1]
        top = others.max(2, keepdims=True)
        rest = np.log(np.exp(others - top).sum(2)) + top[:, :, 0]
        # What differs by rounding alone is tied.
        odds: np.ndarray = np.round(logits[:, :, label] - rest, 9)
        return odds

    @cached_property
    def confusion(self) -> np.ndarray:
        """Test images by true class (row) and predicted class (column), int64 [S, K, K]."""
        classes = len(self.class_names)
        cells = self.labels * classes + self.predicted  # [S, n]
        counts = [np.bincount(row, minlength=classes**2) for row in cells]
        return np.stack(counts).reshape(-1, classes, classes)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis, in float64."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(-1, keepdims=True)
    np.exp(shifted, out=shifted)
    shifted /= shifted.sum(-1, keepdims=True)
    return shifted


def accuracy_score(predictions: Predictions) -> SampledScore:
    """Share of the test images that are classified rightly."""
    everything = np.ones(len(predictions.labels), dtype=bool)
    return mean_of(
        [share_of(predictions.correct, everything, predictions.people)], predictions.people
    )


def balanced_accuracy_score(predictions: Predictions) -> SampledScore:
    """Mean over the classes in the test set of their recalls."""
    labels = np.unique(predictions.labels)
    return mean_of([_recall(predictions, label) for label in labels], predictions.people)


def recall_score(predictions: Predictions, label: int) -> SampledScore | None:
    """Share of a class's test images that are classified rightly; None without any."""
    if not (predictions.labels == label).any():
        return None
    return mean_of([_recall(predictions, label)], predictions.people)


def auc_score(predictions: Predictions) -> SampledScore | None:
    """Area under the ROC curve: of two classes, or the mean of each class against the others.

    Classes without test images, or without test images of any other class, are left out; None
    where none is left. Ties count half.
    """
    classes = len(predictions.class_names)
    areas = [class_auc(predictions, label) for label in (range(classes) if classes > 2 else [1])]
    parts = [area for area in areas if area is not None] if classes > 1 else []
    return mean_of(parts, predictions.people) if parts else None


def class_auc(predictions: Predictions, label: int) -> Part | None:
    """Area under the ROC curve of one class against all others; None where one side is empty."""
    positive = predictions.labels == label
    if positive.all() or not positive.any():
        return None
    scores = predictions.log_odds(label)  # [S, n]
    values, influence = np.empty(len(scores)), np.empty(scores.shape)
    people = predictions.people
    for seed, row in enumerate(scores):
        above = placement(row[positive], row[~positive])  # share of the negatives below
        below = 1 - placement(row[~positive], row[positive])  # share of the positives above
        values[seed] = area = above.mean()
        influence[seed, positive] = scaled_influence(above - area, people[positive])
        influence[seed, ~positive] = scaled_influence(below - area, people[~positive])
    return Part(
        values, influence, min(count_people(people[positive]), count_people(people[~positive]))
    )


def _recall(predictions: Predictions, label: int) -> Part:
    return share_of(predictions.correct, predictions.labels == label, predictions.people)
