"""A folder with one folder of images per class, and what other levels of folders mean.

The level of classes is the top one unless the user says otherwise; where the names give another
reading, it is refused with both readings and the options that choose each.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from latentpath.core import DataError
from latentpath.data.identifier_names import are_labels, identifier_evidence
from latentpath.data.sources.file_search import (
    FoundFiles,
    is_dicom,
    is_image,
    kinds_text,
    left_out_note,
    subfolders,
)
from latentpath.data.sources.listing import IMAGE_KINDS, number_names
from latentpath.data.sources.name_disclosure import and_first, named

_SPLIT_WORDS = frozenset((
    "train", "training", "val", "valid", "validation", "test", "testing", "holdout", "fold",
    "split",
))  # fmt: skip
_BESIDE_SPLITS = frozenset(("set", "sets", "data", "dataset", "images", "imgs", "new", "cv", "x"))
# Sides, views, planes and sequences: folders of these below others are no classes.
VIEW_NAMES = frozenset((
    "left", "right", "l", "r", "od", "os", "ou", "ap", "pa", "lat", "lateral", "frontal",
    "cc", "mlo", "view", "axial", "coronal", "sagittal", "pre", "post", "flair", "t1", "t2",
    "t1w", "t2w", "t1ce", "t1c", "t1gd", "dwi", "adc", "swi", "mra", "bold", "pd",
    "ct", "mr", "mri", "pet", "before", "after", "baseline", "followup", "follow-up",
))  # fmt: skip
_SCALE = re.compile(r"[0-9.]+[ _]?x|x[ _]?[0-9.]+", re.IGNORECASE)
# Folders of such names are places to keep files.
_PLACE_WORDS = frozenset((
    "image", "images", "img", "imgs", "picture", "pictures", "photo", "photos", "png", "jpg",
    "jpeg", "tif", "tiff", "bmp", "dcm", "dicom", "dicoms", "data", "dataset", "datasets",
    "raw", "original", "originals", "scans", "files", "frames", "input", "inputs", "folder",
    "archive", "thumbnail", "thumbnails", "thumb", "thumbs", "preview", "previews",
))  # fmt: skip
# images_part_1 is one of them, too.
_PORTION_WORDS = frozenset(("part", "parts", "batch", "chunk", "shard"))
# More folders than this with the same names below each are people rather than classes.
_FEW_BELOW = 12

_SAY_CLASSES = "--class-folder 1"
_SAY_PUBLIC = "--public-class-names"
_TURNED = "--class-folder 2 --identity-folder 1"
_CLASSES_ABOVE = (
    "if the top folders are classes and those below them people, say --class-folder 1 "
    f"--identity-folder 2, and {_SAY_CLASSES} alone if those below them are neither; if the top "
    "folders are neither and those below them classes, say --class-folder 2"
)


def folders_at(files: Sequence[str], depth: int, option: str) -> list[str]:
    """Return the name of the folder that each file lies in, at a depth below the data folder.

    Args:
        files: paths.
        depth: 1 for the top folders.
        option: what asked for them, for the message.

    Raises:
        DataError: files that lie less deep.
    """
    folders = [file.split("/")[:-1] for file in files]
    flat = [file for file, own in zip(files, folders, strict=True) if len(own) < depth]
    if flat:
        raise DataError(
            expected=f"every image at least {depth} folders deep, as {option} {depth} says",
            got=f"{len(flat)} of {len(files)} less deep{and_first(flat[0])}",
            fix="choose another depth, or give the folder above or below as --data",
        )
    return [own[depth - 1] for own in folders]


def refuse_doubtful_levels(files: Sequence[str], public_names: bool) -> None:
    """Refuse to take the top folders for classes where their names give another reading.

    Args:
        files: paths of the images, each in a folder at least.
        public_names: whether names of classes may look like identifiers.

    Raises:
        DataError: top folders that look like splits, places to keep files, people, or a wrapping
            of the folders that matter.
    """
    tops = list(dict.fromkeys(file.split("/")[0] for file in files))
    _refuse_splits(tops)
    _refuse_places(files, tops)
    below = _below(files)
    reason = "" if public_names else identifier_evidence(tops, len(files))
    same = _same_below(below, len(tops), len(files))
    if reason and same:
        raise _two_readings(len(tops), f", whose names look like people's: {reason},", same,
                            f"if the top folders are classes, say {_SAY_PUBLIC}")  # fmt: skip
    if reason:
        raise DataError(
            expected="classes in the top folders",
            got=f"{len(tops)} top folders whose names look like people's: {reason}",
            fix="if they are people, name a table of labels and say --csv FILE --identity-folder "
            "1, or say at which depth the classes are with --class-folder; if they are classes "
            f"whose names may be published, say {_SAY_PUBLIC}",
        )
    # Few classes above folders of numbers alone: these are rather people, which is said later.
    counted = len(tops) <= same and all(map(str.isdecimal, below))
    if same and not counted and not public_names:
        raise _two_readings(len(tops), "", same, _CLASSES_ABOVE)


def _two_readings(tops: int, looks: str, same: int, otherwise: str) -> DataError:
    return DataError(
        expected="folders of which it is clear what they mean",
        got=f"{tops} top folders{looks} with the same {same} names of folders below them",
        fix=f"if the top folders are people and those below them classes, say {_TURNED}; "
        f"{otherwise}",
    )


def _refuse_splits(tops: Sequence[str]) -> None:
    splits = sorted(filter(is_split, tops))
    if len(splits) == len(tops):
        raise DataError(
            expected="one folder per class",
            got=f"folders that look like splits: {', '.join(splits)}",
            fix=f"give the path of one of them, such as {splits[0]!r}, or say --class-folder 2 for "
            "the images of all of them",
        )
    if splits:
        raise DataError(
            expected="one folder per class",
            got=f"{len(splits)} folders that look like splits ({', '.join(splits)}) beside "
            f"{len(tops) - len(splits)} others",
            fix="give the path of the folder that holds the classes, or say --class-folder 1 if "
            "all of them are classes",
        )


def _refuse_places(files: Sequence[str], tops: Sequence[str]) -> None:
    places = sum(map(is_place, tops))
    if places < len(tops):  # `tumor photos` may be a class beside others
        places = sum(is_place(name) and not are_labels([name]) for name in tops)
    if len(tops) == 1 and all(file.count("/") > 1 for file in files):
        _refuse_wrapping(files, bool(places))
    if places and len(tops) > 1:
        raise DataError(
            expected="one folder per class",
            got=f"{places} of {len(tops)} top folders with names of places to keep files (images, "
            "png, data and the like)",
            fix="name a table of labels with --csv, or say at which depth the classes are with "
            f"--class-folder ({_SAY_CLASSES} if the top folders are)",
        )


def _refuse_wrapping(files: Sequence[str], place: bool) -> None:
    """Refuse one top folder around several, at whatever depth: data/images/ill, data/images/well.

    Splits on the way are none of them: data/train/ill, data/test/ill.
    """
    folders = [file.split("/")[:-1] for file in files]
    for depth in range(2, min(map(len, folders)) + 1):
        inner = {own[depth - 1] for own in folders}
        if all(map(is_split, inner)) or (
            len(inner) == 1 and not (place and depth == min(map(len, folders)))
        ):
            continue
        where = "" if depth == 2 else f" at depth {depth}"
        raise DataError(
            expected="one folder per class",
            got=f"one top folder around {len(inner)} others{where}",
            fix=f"if these are the classes, say --class-folder {depth} or give the folder around "
            f"them as --data; if all images are of one class, say {_SAY_CLASSES}",
        )


def is_split(name: str) -> bool:
    """Say whether a folder of this name is a split: train, Test Set, fold_3."""
    words = set(re.findall(r"[a-z]+", name.lower())) - _BESIDE_SPLITS
    return bool(words) and words <= _SPLIT_WORDS


def is_place(name: str) -> bool:
    """Say whether a folder of this name is a place to keep files: images_001, png, raw data."""
    words = [word for word in re.split(r"[\W_0-9]+", name.lower()) if word]
    if len(words) > 1 and words[-1] in _PORTION_WORDS:
        words.pop()
    return bool(words) and (words[-1] in _PLACE_WORDS or set(words) <= _PLACE_WORDS)


def is_no_class(name: str) -> bool:
    """Say whether a folder of this name holds a split, a side, a view or a scale."""
    return is_split(name) or name.lower() in VIEW_NAMES or bool(_SCALE.fullmatch(name))


def _below(files: Sequence[str]) -> dict[str, set[str]]:
    """Return the top folders below which each name of a second folder occurs."""
    below: dict[str, set[str]] = defaultdict(set)
    for file in files:
        parts = file.split("/")
        if len(parts) > 2:
            below[parts[1]].add(parts[0])
    return below


def _same_below(below: dict[str, set[str]], tops: int, images: int) -> int:
    """Return how many names of folders repeat below the top folders, 0 if they are other ones."""
    names = [name for name in below if not is_no_class(name)]
    if not 2 <= len(names) <= _FEW_BELOW or tops < 2:
        return 0
    least = tops if tops <= len(names) else tops / 2
    repeats = all(len(below[name]) >= least for name in names)
    return len(names) if repeats and not identifier_evidence(names, images) else 0


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
    doubt: DataError | None = None
    """Why these are no classes, perhaps: what is raised before they are used."""


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

    Returns:
        What they say, with doubt where they look like splits, places or people instead of classes.

    Raises:
        DataError: no images, a class without images, or images outside of class folders.
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
    doubt = None
    if depth is None:
        _check_folders(root, images, others, found.masks)
        try:
            refuse_doubtful_levels(images, public_names)
        except DataError as error:
            doubt = error
    names, labels = number_names(folders_at(images, depth or 1, "--class-folder"))
    return ClassFolders(tuple(images), labels, names, left_out_note(others, kinds), doubt)


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
