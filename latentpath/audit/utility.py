"""Is the set any good? Train a classifier on it, test it on real images it has not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from latentpath.data import ImageSet, to_tensor
from latentpath.errors import InputError
from latentpath.progress import Progress, silent
from latentpath.training import ClassifierConfig, predict, train_classifier


@dataclass(frozen=True)
class Accuracy:
    """One classifier on one test set.

    Attributes:
        accuracy: share of the test images that are classified rightly.
        balanced_accuracy: mean over the classes in the test set of that share.
        recall: that share per class; None for a class without test images.
    """

    accuracy: float
    balanced_accuracy: float
    recall: tuple[float | None, ...]


@dataclass(frozen=True)
class Utility:
    """Classifiers trained on a set with several seeds, tested on real images.

    Attributes:
        runs: one result per seed.
        seeds: the seeds.
        test_images: size of the test set.
    """

    runs: tuple[Accuracy, ...]
    seeds: tuple[int, ...]
    test_images: int

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

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values."""
        return {
            "accuracy": self.accuracy,
            "accuracy_sd": self.accuracy_sd,
            "balanced_accuracy": self.balanced_accuracy,
            "balanced_accuracy_sd": self.balanced_accuracy_sd,
            "test_images": self.test_images,
            "seeds": list(self.seeds),
            "runs": [vars(run) | {"recall": list(run.recall)} for run in self.runs],
        }


def measure_utility(
    train: ImageSet,
    test: ImageSet,
    *,
    config: ClassifierConfig | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    progress: Progress = silent,
) -> Utility:
    """Train one class classifier per seed on `train`, test each on `test`.

    Args:
        train: the synthetic set (or the real one, as the yardstick).
        test: real images of other people than those behind `train`.
        config: network and schedule; its seed is replaced by each of `seeds`.
        seeds: at least one.
        progress: told during training.

    Raises:
        InputError: no seed.
        DataError: the sets' classes differ.
    """
    if not seeds:
        raise InputError(expected="at least one seed", got="none", fix="give seeds=(0,)")
    config = config or ClassifierConfig()
    runs = []
    images, labels = to_tensor(train.images), Tensor(train.labels).long()
    for number, seed in enumerate(seeds):
        model = train_classifier(
            images,
            labels,
            num_classes=train.num_classes,
            config=replace(config, seed=seed),
            progress=_as_one_stage(progress, number, len(seeds)),
        )
        runs.append(score(predict(model, to_tensor(test.images)).argmax(1).numpy(), test))
    return Utility(tuple(runs), tuple(seeds), len(test))


def score(predicted: np.ndarray, test: ImageSet) -> Accuracy:
    """Compare predicted classes `[n]` with the test set's labels."""
    right = predicted == test.labels
    recall = tuple(
        float(right[test.labels == label].mean()) if (test.labels == label).any() else None
        for label in range(test.num_classes)
    )
    present = [share for share in recall if share is not None]
    return Accuracy(float(right.mean()), float(np.mean(present)), recall)


def _sd(values: list[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _as_one_stage(progress: Progress, number: int, count: int) -> Progress:
    """Show the trainings of several seeds as one stage."""

    def tell(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        progress("utility", number * total + done, count * total, figures)

    return tell
