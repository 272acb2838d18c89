"""Masks beside images: outlines of organs and lesions that some sets keep as pictures.

Taken for images they are people counted again, and their folder is a class of its own. A mask is
known by its name or that of its folder, and by the image of the same name elsewhere; where the
folder or a number alone says so, the pictures must look like masks, too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from latentpath.core import DataError
from latentpath.data.contrast import UndecodableError
from latentpath.data.decode import read_picture
from latentpath.data.sources.file_search import is_image
from latentpath.data.sources.name_disclosure import and_first

_MASK_WORDS = frozenset((
    "mask", "masks", "segmentation", "segmentations", "segmented", "seg", "segs", "groundtruth",
    "gt", "annotation", "annotations", "contour", "contours", "overlay", "overlays", "labelmap",
    "roi", "rois", "outline", "outlines", "labelstr", "labelsts",
))  # fmt: skip
# People with and without a mask on their faces are classes.
_NOT_OF_PICTURES = frozenset(("with", "without", "no", "non", "wearing", "correct", "incorrect"))
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
# At least this share of what is called a mask has an image of its name.
_PAIRED = 0.5
_LOOKED_AT, _LEVELS, _NEAR_END, _SHARE = 3, 16, 12, 0.9


class MaskedFiles(NamedTuple):
    """The files of a set without its masks."""

    files: tuple[str, ...]
    """All other files."""
    masks: tuple[str, ...] = ()
    """Those that were left out."""

    @property
    def notes(self) -> tuple[str, ...]:
        """The sentence on them, none for none."""
        if not self.masks:
            return ()
        return (
            f"{len(self.masks)} files are masks of other images, as their names say, and are left "
            "out",
        )


def without_masks(root: Path, files: Sequence[str]) -> MaskedFiles:
    """Leave out the pictures that are masks of others.

    Args:
        root: the data folder.
        files: its files.

    Raises:
        DataError: pictures in folders named as those of masks, with an image of the same name each,
            which do not look like masks.
    """
    images = [file for file in files if is_image(file)]
    called = [file for file in images if _mask_folder(file) or _cut(file) is not None]
    others = {_key(file) for file in set(images) - set(called)}
    numbers = {tuple(word for word in key if word.isdigit()) for key in others}
    paired = [file for file in called if _has_image(file, others, numbers)]
    if not paired or len(paired) < _PAIRED * len(called):
        return MaskedFiles(tuple(files))
    by_folder = [file for file in called if not any(map(str.isalpha, _cut(file) or ()))]
    if by_folder and not _look_like_masks(root, by_folder):
        raise DataError(
            expected="images alone in the data folder",
            got=f"{len(by_folder)} pictures in folders named as those of masks or overlays, for "
            f"images of the same names, that do not look like masks{and_first(by_folder[0])}",
            fix="move them out of the data folder if they show the same people once more, or "
            "rename the folder if it is a class",
        )
    left_out = set(called)
    return MaskedFiles(tuple(f for f in files if f not in left_out), tuple(called))


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)]


def _place_of_mask(words: Sequence[str]) -> int | None:
    """Return the place of the word that says mask."""
    if _NOT_OF_PICTURES & set(words):
        return None
    for place, word in enumerate(words):
        if word in _MASK_WORDS:
            return place
        if word == "truth" and place and words[place - 1] == "ground":
            return place - 1
    return None


def _mask_folder(file: str) -> bool:
    folders = PurePosixPath(file).parts[:-1]
    return any(_place_of_mask(_words(folder)) is not None for folder in folders)


def _cut(file: str) -> tuple[str, ...] | None:
    """Return the words before the one that says mask in a file's own name, if any does."""
    words = _words(PurePosixPath(file).stem)
    place = _place_of_mask(words)
    if place is None:
        return None
    return tuple(words[:place] or words[place + 1 :])


def _key(file: str) -> tuple[str, ...]:
    return tuple(_words(PurePosixPath(file).stem))


def _has_image(file: str, others: set[tuple[str, ...]], numbers: set[tuple[str, ...]]) -> bool:
    """Say whether an image has the name of a mask, or, of mask_07 and img_07, its number."""
    key = _cut(file)
    if key is None:
        return _key(file) in others
    return key in others or (all(word.isdigit() for word in key) and key in numbers)


def _look_like_masks(root: Path, files: Sequence[str]) -> bool:
    places = np.unique(np.linspace(0, len(files) - 1, _LOOKED_AT).astype(int))
    found = []
    for place in places:
        try:
            picture = read_picture(root / files[place])
        except UndecodableError:
            continue  # reading the set would not be refused for a mask
        pixels = picture.pixels
        ends = np.minimum(pixels, 255 - pixels) <= _NEAR_END
        few = len(np.unique(pixels)) <= _LEVELS or ends.mean() >= _SHARE
        found.append(few and not picture.values)  # a flattened scan is no mask
    return bool(found) and all(found)
