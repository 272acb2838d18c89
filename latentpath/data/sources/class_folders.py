"""A folder with one folder of images per class."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from latentpath.core import DataError
from latentpath.data.sources.file_search import (
    is_dicom,
    is_image,
    kinds_text,
    left_out_note,
    subfolders,
)
from latentpath.data.sources.listing import IMAGE_KINDS, number_names
from latentpath.data.sources.name_disclosure import and_first, named

SPLIT_NAMES = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})


@dataclass(frozen=True, eq=False)
class ClassFolders:
    """What the folders say."""

    files: tuple[str, ...]
    """n names, sorted."""
    labels: np.ndarray
    """int64 [n]."""
    class_names: tuple[str, ...]
    """In their order, numbers by value."""
    notes: tuple[str, ...]
    """On files that are left out."""


def list_class_folders(root: Path, all_files: tuple[str, ...], dicom: bool = False) -> ClassFolders:
    """List images by the folder they lie in, at any depth below it.

    Args:
        root: the data folder.
        all_files: its files.
        dicom: take DICOM files instead of images.

    Raises:
        DataError: no images, a class without images, images outside of class folders, or folders
            that look like splits instead of classes.
    """
    kinds = "DICOM files" if dicom else IMAGE_KINDS
    images = [f for f in all_files if (is_dicom(root, f) if dicom else is_image(f))]
    kept = set(images)
    others = [file for file in all_files if file not in kept]
    if not images:
        raise DataError(
            expected=f"{kinds} in one folder per class",
            got=f"files of the kinds {kinds_text(others)}" if others else "no files",
            fix="check the path",
        )
    _check_folders(root, images, others)
    names, labels = number_names([file.split("/")[0] for file in images])
    return ClassFolders(tuple(images), labels, names, left_out_note(others, kinds))


def _check_folders(root: Path, images: list[str], others: list[str]) -> None:
    loose = [file for file in images if "/" not in file]
    if loose:
        raise DataError(
            expected="every image inside the folder of its class",
            got=f"{len(loose)} images directly in the data folder{and_first(loose[0])}",
            fix="move them into class folders, or name a CSV file that holds their labels",
        )
    by_class = Counter(file.split("/")[0] for file in images)
    if {name.lower() for name in by_class} <= SPLIT_NAMES:
        raise DataError(
            expected="one folder per class",
            got=f"folders that look like splits: {', '.join(sorted(by_class))}",
            fix=f"give the path of one of them, such as {sorted(by_class)[0]!r}",
        )
    empty = [name for name in subfolders(root) if name not in by_class]
    if empty:
        raise DataError(
            expected="images in every class folder",
            got=f"{len(empty)} folders without{and_first(empty[0])}",
            fix="remove them or add their images",
        )
    tables = [f for f in others if "/" not in f and PurePosixPath(f).suffix.lower() == ".csv"]
    if len(by_class) == 1 and tables:
        raise DataError(
            expected="one folder per class",
            got=f"one folder beside {named(tables[0], 'a CSV file')}",
            fix="if the labels are in that CSV file, name it",
        )
