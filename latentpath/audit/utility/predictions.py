"""What classifiers say about the images of a test set, kept for every figure drawn from it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

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
