"""A folder with one folder of images per class."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from latentpath.core import DataError
from latentpath.data.sources.file_search import (
    FoundFiles,
    is_dicom,
    is_image,
    kinds_text,
    left_out_note,
    subfolders,
)
from latentpath.data.sources.folder_levels import folders_at, refuse_doubtful_levels
from latentpath.data.sources.listing import IMAGE_KINDS, number_names
from latentpath.data.sources.name_disclosure import and_first, named


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


def list_class_folders(
    root: Path,
    found: FoundFiles,
    *,
    dicom: bool = False,
    depth: int | None = None,
    public_names: bool = False,
) -> ClassFolders:
    """List images by a folder they lie in, at any depth below it.

    Args:
        root: the data folder.
        found: its files.
        dicom: take DICOM files instead of images.
        depth: of the folders of classes; None takes the top ones, unless their names give another
            reading.
        public_names: whether names of classes may look like identifiers.

    Raises:
        DataError: no images, a class without images, images outside of class folders, or folders
            that look like splits instead of classes.
    """
    kinds = "DICOM files" if dicom else IMAGE_KINDS
    images = [f for f in found.files if (is_dicom(root, f) if dicom else is_image(f))]
    kept = set(images)
    others = [file for file in found.files if file not in kept]
    if not images:
        raise DataError(
            expected=f"{kinds} in one folder per class",
            got=f"files of the kinds {kinds_text(others)}" if others else "no files",
            fix="check the path, or save images of other kinds as PNG"
            if others
            else "check the path",
        )
    if depth is None:
        _check_folders(root, images, others, found.masks)
        refuse_doubtful_levels(images, public_names)
    names, labels = number_names(folders_at(images, depth or 1, "--class-folder"))
    return ClassFolders(tuple(images), labels, names, left_out_note(others, kinds))


def _check_folders(
    root: Path, images: list[str], others: list[str], masks: tuple[str, ...]
) -> None:
    loose = [file for file in images if "/" not in file]
    if loose:
        raise DataError(
            expected="every image inside the folder of its class",
            got=f"{len(loose)} images directly in the data folder{and_first(loose[0])}",
            fix="move them into class folders, or name a CSV file that holds their labels",
        )
    by_class = Counter(file.split("/")[0] for file in images)
    of_masks = {file.split("/")[0] for file in masks}
    empty = [name for name in subfolders(root) if name not in {*by_class, *of_masks}]
    if empty:
        raise DataError(
            expected="images in every class folder",
            got=f"{len(empty)} folders without{and_first(empty[0])}",
            fix="remove them or add their images",
        )
    every = [file for file in others if PurePosixPath(file).suffix.lower() == ".csv"]
    tables = [file for file in every if "/" not in file]
    if {file.split("/")[0] for file in every if "/" in file} >= {*by_class}:
        raise DataError(
            expected="one folder per class",
            got=f"{len(by_class)} top folders with a CSV file in each",
            fix="if the labels are in these CSV files, give one folder as --data and its file as "
            "--csv, or one file for all of them; if the folders are the classes, say "
            "--class-folder 1",
        )
    if len(by_class) == 1 and tables:
        raise DataError(
            expected="one folder per class",
            got=f"one folder beside {named(tables[0], 'a CSV file')}",
            fix="if the labels are in that CSV file, name it",
        )
