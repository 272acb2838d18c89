"""The images of one split, as an array or a column of a table tells them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from latentpath.core import DataError

_SHOWN = 9


def rows_of_split(
    splits: Sequence[str] | None, wanted: str, what: str
) -> np.ndarray | None:  # bool [n]
    """Return which images are of the split; None for all of them.

    Args:
        splits: n names of splits; None where nothing tells them.
        wanted: one of them, or "all". "train" is all of them where nothing tells them.
        what: what would tell them, "an array" or "a column of the table".

    Raises:
        DataError: no image is of this split.
    """
    if wanted == "all" or (splits is None and wanted == "train"):
        return None
    values = Counter(splits or ())
    if splits is None or wanted not in values:
        there = ", ".join(f"{value} ({n:,} images)" for value, n in values.most_common(_SHOWN))
        raise DataError(
            expected="one of the set's own splits as --split",
            got=f"{wanted!r}, where the splits are {there}"
            if there
            else f"{wanted!r}, and nothing that tells splits",
            fix="choose one of them with --split, or all of them with --split all"
            if there
            else f"name {what} with --split-column, or leave --split out",
        )
    return np.array([value == wanted for value in splits])
