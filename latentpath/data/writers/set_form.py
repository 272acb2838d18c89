"""What a writer is told before the first image: the form of a set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from latentpath.core import InputError
from latentpath.data.images import check_class_names, is_text

OWN_COLUMNS = ("file", "label", "class_name")
"""Columns that every table of ours has."""
_TAKEN = frozenset({*OWN_COLUMNS, "image", ""})

_COLUMN_TYPES = (int, float, str)

SPLIT_OF_DIGIT = (*("train",) * 4, "val", *("train",) * 4, "test")
"""Split of a walk by the last digit of its number: of ten walks eight are for training. Images of
one walk look alike, so that a walk is whole in one split."""


@dataclass(frozen=True)
class SetForm:
    """What is known of a set before its first image.

    Raises:
        InputError: an impossible size, or columns of other names or types than a table can have.
        DataError: class names that clash.
    """

    height: int
    """Pixels."""
    width: int
    """Pixels."""
    channels: int
    """1 for grey, 3 for colour."""
    class_names: tuple[str, ...]
    """K names, all different; label c means the c-th."""
    count: int
    """Images of the whole set, all its files together: it decides how many digits the numbers in
    file names have, so that they sort."""
    columns: Mapping[str, type] = field(default_factory=dict)
    """Extra columns of the set's tables, such as the number of the walk: name and int, float or
    str."""

    def __post_init__(self) -> None:
        check_class_names(tuple(self.class_names))
        if min(self.height, self.width, self.count) < 1 or self.channels not in (1, 3):
            raise InputError(
                expected="at least one image of at least one pixel and 1 or 3 channels",
                got=f"{self.count} images of {self.width}x{self.height}x{self.channels}",
                fix="check the arrays",
            )
        for name, kind in self.columns.items():
            if name in _TAKEN or kind not in _COLUMN_TYPES or not is_text(name):
                raise InputError(
                    expected="extra columns of int, float or str, with names other than "
                    "file, image, label and class_name",
                    got=f"{name!a} of {getattr(kind, '__name__', kind)}",
                    fix="rename or convert it",
                )

    @property
    def digits(self) -> int:
        """How many digits the number of an image has in file names."""
        return max(6, len(str(self.count - 1)))

    @property
    def has_walks(self) -> bool:
        """Whether a column says which walk each image lies on."""
        return self.columns.get("path") is int


def splits_of_walks(path: np.ndarray | Sequence[int]) -> np.ndarray:  # [n] -> texts [n]
    """Return the split of each image by the number of its walk, whole numbers [n].

    >>> splits_of_walks([0, 4, 14, 19]).tolist()
    ['train', 'val', 'val', 'test']
    """
    return np.array(SPLIT_OF_DIGIT)[np.asarray(path, np.int64) % len(SPLIT_OF_DIGIT)]
