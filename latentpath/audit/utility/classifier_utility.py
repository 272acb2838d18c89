"""Is the set any good? Train a classifier on it, test it on real images it has not seen.

Accuracy, balanced accuracy and the area under the ROC curve come with intervals that cover the
chance of the test images (by person) and, with two seeds or more, that of the training; see
`latentpath.audit.statistics.sampling_error`. They are about classifiers trained on this very set:
what another set made in the same way would give is not in them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from latentpath.audit.statistics.intervals import Interval
from latentpath.audit.utility.classifier_calibration import (
    ClassifierCalibration,
    measure_calibration,
)
from latentpath.audit.utility.predictions import (
    Predictions,
    accuracy_score,
    auc_score,
    balanced_accuracy_score,
    class_auc,
    recall_score,
)
from latentpath.core import DataError, InputError, Progress, silent
from latentpath.data import ImageSet, to_tensor
from latentpath.models import Classifier, predict
from latentpath.similarity import check_same_size
from latentpath.training import ClassifierConfig, train_classifiers

_BATCH = 1024


@dataclass(frozen=True)
class Accuracy:
    """One classifier on one test set.

    Attributes:
        accuracy: share of the test images that are classified rightly.
        balanced_accuracy: mean over the classes in the test set of that share.
        recall: that share per class; None for a class without test images.
        auc: area under the ROC curve, the mean of each class against the others where there are
            more than two; None where the test set holds one class only.
    """

    accuracy: float
    balanced_accuracy: float
    recall: tuple[float | None, ...]
    auc: float | None = None


@dataclass(frozen=True)
class ClassUtility:
    """How one class fares, over all classifiers.

    Attributes:
        name: of the class.
        train_images: images of it in the set that was trained on; 0 where the set lost it.
        test_images: its real test images, its support.
        recall: share of these that are classified rightly; None without any.
        precision: share of the images classified as this class that are; None where none are.
        auc: area under the ROC curve against all other classes, mean over the classifiers; None
            where the test set holds none of it, or nothing else.
    """

    name: str
    train_images: int
    test_images: int
    recall: Interval | None
    precision: float | None
    auc: float | None

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values."""
        return {**vars(self), "recall": self.recall and self.recall.as_dict()}


@dataclass(frozen=True)
class Utility:
    """Classifiers trained on a set with several seeds, tested on real images.

    What is drawn from the predictions is computed when it is asked for; None without them.

    Attributes:
        runs: one result per seed.
        seeds: the seeds.
        test_images: size of the test set.
        predictions: every classifier's logits for every test image: keep them with the data
            holder.
    """

    runs: tuple[Accuracy, ...]
    seeds: tuple[int, ...]
    test_images: int
    predictions: Predictions | None = None

    @property
    def accuracy(self) -> float:
        """Mean over the seeds."""
        return float(np.mean([run.accuracy for run in self.runs]))

    @property
    def accuracy_sd(self) -> float | None:
        """Standard deviation over the seeds (n - 1); None for one seed."""
        return _sd([run.accuracy for run in self.runs])

    @property
    def balanced_accuracy(self) -> float:
        """Mean over the seeds."""
        return float(np.mean([run.balanced_accuracy for run in self.runs]))

    @property
    def balanced_accuracy_sd(self) -> float | None:
        """Standard deviation over the seeds (n - 1); None for one seed."""
        return _sd([run.balanced_accuracy for run in self.runs])

    @property
    def auc(self) -> float | None:
        """Mean over the seeds; None where the test set holds one class only."""
        areas = [run.auc for run in self.runs if run.auc is not None]
        return float(np.mean(areas)) if areas else None

    @property
    def trained_on(self) -> int | None:
        """Images that every classifier was trained on; None without predictions."""
        return None if self.predictions is None else int(self.predictions.train_counts.sum())

    @property
    def test_people(self) -> int | None:
        """People in the test images; None without predictions."""
        return None if self.predictions is None else len(np.unique(self.predictions.people))

    @property
    def covers(self) -> str:
        """Which sources of chance the intervals hold."""
        return "seeds and test images" if len(self.seeds) > 1 else "test images, one seed only"

    @cached_property
    def accuracy_interval(self) -> Interval | None:
        """Accuracy with its interval."""
        return accuracy_score(self.predictions).interval() if self.predictions else None

    @cached_property
    def balanced_accuracy_interval(self) -> Interval | None:
        """Balanced accuracy with its interval."""
        return balanced_accuracy_score(self.predictions).interval() if self.predictions else None

    @cached_property
    def auc_interval(self) -> Interval | None:
        """Area under the ROC curve with its interval; None as for `auc`."""
        score = auc_score(self.predictions) if self.predictions else None
        return score.interval() if score else None

    @cached_property
    def calibration(self) -> ClassifierCalibration | None:
        """Whether the classifiers know how sure they may be."""
        return measure_calibration(self.predictions) if self.predictions else None

    @cached_property
    def per_class(self) -> tuple[ClassUtility, ...]:
        """One row per class, in the order of the labels."""
        if self.predictions is None:
            return ()
        return tuple(
            _class_row(self.predictions, label)
            for label in range(len(self.predictions.class_names))
        )

    @property
    def confusion(self) -> np.ndarray | None:
        """Test images by true (row) and predicted class (column), over all seeds: int64 [K, K]."""
        return None if self.predictions is None else self.predictions.confusion.sum(0)

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values: figures of the test set, nothing about single images."""
        figures: dict[str, object] = {
            "accuracy": self.accuracy,
            "accuracy_sd": self.accuracy_sd,
            "balanced_accuracy": self.balanced_accuracy,
            "balanced_accuracy_sd": self.balanced_accuracy_sd,
            "auc": self.auc,
            "trained_on": self.trained_on,
            "test_images": self.test_images,
            "seeds": list(self.seeds),
            "runs": [vars(run) | {"recall": list(run.recall)} for run in self.runs],
        }
        if self.predictions is None:
            return figures
        intervals = {
            "accuracy": self.accuracy_interval,
            "balanced_accuracy": self.balanced_accuracy_interval,
            "auc": self.auc_interval,
        }
        return figures | {
            "intervals": {
                name: interval and interval.as_dict() for name, interval in intervals.items()
            },
            "intervals_cover": self.covers,
            "classes": [row.as_dict() for row in self.per_class],
            "confusion": self.predictions.confusion.sum(0).tolist(),
            "calibration": self.calibration and self.calibration.as_dict(),
        }


def measure_utility(
    train: ImageSet,
    test: ImageSet,
    *,
    config: ClassifierConfig | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> Utility:
    """Train one class classifier per seed on `train`, test each on `test`.

    Args:
        train: the synthetic set (or the real one, as the yardstick). A class without images is
            never learnt, which the figures show.
        test: real images of other people than those behind `train`.
        config: network and schedule; its seed is replaced by each of `seeds`.
        seeds: at least one; the intervals need two or more to cover the chance of training.
        device: where to train.
        progress: told during training.

    Raises:
        InputError: no seed, or one twice.
        ShapeError: the sets' image sizes differ.
        DataError: the sets' classes differ.
    """
    _check(train, test, seeds)
    config = config or ClassifierConfig()
    images = to_tensor(train.images).to(device)
    labels = torch.from_numpy(train.labels).to(device)
    models = train_classifiers(
        images,
        labels,
        num_classes=train.num_classes,
        config=config,
        seeds=seeds,
        progress=_of_utility(progress),
    )
    logits = [_logits(model, test.images, images.device) for model in models]
    counts = np.bincount(train.labels, minlength=train.num_classes)
    predictions = Predictions(
        np.stack(logits), test.labels, test.identities, test.class_names, counts
    )
    return from_predictions(predictions, seeds)


def from_predictions(predictions: Predictions, seeds: Sequence[int]) -> Utility:
    """The figures of classifiers whose logits are known, one per seed.

    For classifiers that were trained elsewhere: only their answers are needed.
    """
    if len(seeds) != len(predictions.logits):
        raise InputError(
            expected=f"a seed for each of the {len(predictions.logits)} classifiers",
            got=f"{len(seeds)}",
            fix="give one seed per classifier",
        )
    accuracy, balanced = accuracy_score(predictions), balanced_accuracy_score(predictions)
    area = auc_score(predictions)
    labels = range(len(predictions.class_names))
    recalls = [recall_score(predictions, label) for label in labels]
    runs = tuple(
        Accuracy(
            float(accuracy.values[run]),
            float(balanced.values[run]),
            tuple(float(recall.values[run]) if recall else None for recall in recalls),
            float(area.values[run]) if area else None,
        )
        for run in range(len(seeds))
    )
    return Utility(runs, tuple(seeds), len(predictions.labels), predictions)


def _class_row(predictions: Predictions, label: int) -> ClassUtility:
    confusion = predictions.confusion.sum(0)  # [K, K]
    named = int(confusion[:, label].sum())
    recall, area = recall_score(predictions, label), class_auc(predictions, label)
    return ClassUtility(
        name=predictions.class_names[label],
        train_images=int(predictions.train_counts[label]),
        test_images=int((predictions.labels == label).sum()),
        recall=recall.interval() if recall else None,
        precision=int(confusion[label, label]) / named if named else None,
        auc=float(area.values.mean()) if area else None,
    )


def _logits(model: Classifier, images: np.ndarray, device: torch.device) -> np.ndarray:
    """Logits [n, K] of images [n, H, W, C], which become floats one batch at a time."""
    parts: list[Tensor] = [
        predict(model, to_tensor(images[start : start + _BATCH]).to(device)).cpu()
        for start in range(0, len(images), _BATCH)
    ]
    return torch.cat(parts).numpy()


def _check(train: ImageSet, test: ImageSet, seeds: Sequence[int]) -> None:
    if not seeds or len(set(seeds)) != len(seeds):
        raise InputError(
            expected="at least one seed, all different",
            got=", ".join(map(str, seeds)) or "none",
            fix="give for example seeds=(0, 1, 2)",
        )
    check_same_size(train.images, test.images)
    if train.class_names != test.class_names:
        raise DataError(
            expected="the same class names in the same order in both sets",
            got=f"{len(train.class_names)} and {len(test.class_names)} classes that differ",
            fix="rename or reorder the classes of one set",
        )


def _sd(values: list[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _of_utility(progress: Progress) -> Progress:
    """Show trainings as this measure's stage."""

    def tell(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        progress("utility", done, total, figures)

    return tell
