"""StyleGAN dataset zips, and the same as a folder: images and `dataset.json` with their labels.

The layout of `dataset_tool.py` of StyleGAN2-ADA and StyleGAN3: `{"labels": [[name, label], ...]}`,
the label a number or a one-hot vector.
"""

from __future__ import annotations

import io
import json
import re
import unicodedata
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from latentpath.core import DataError
from latentpath.data.contrast import OWN_WINDOW, Picture, UndecodableError, Window
from latentpath.data.decode import read_picture
from latentpath.data.sources.archive import (
    UNREADABLE,
    member_names,
    open_archive,
    read_member,
    unreadable,
)
from latentpath.data.sources.file_search import (
    clutter_note,
    is_image,
    left_out_note,
    lies_in_clutter,
)
from latentpath.data.sources.listing import IMAGE_KINDS, Listing
from latentpath.data.sources.name_disclosure import and_first, damaged, detail

LABELS_NAME = "dataset.json"
_WHAT = f"a StyleGAN dataset with {LABELS_NAME}"
_MOST_LABEL_BYTES = 1 << 30
_MOST_CLASSES = 100_000
_PACKED = re.compile(r"(?:.*/)?([0-9]{5})/img([0-9]{8})[.][A-Za-z]+")


def list_stylegan_zip(path: Path, window: Window = OWN_WINDOW) -> Listing:
    """List the images of a dataset zip, sorted by name; each is one identity.

    The whole may lie in a folder inside the zip.

    Raises:
        DataError: no such zip, one with limits exceeded or odd names, images without labels, or
            labels that are no classes.
    """
    archive = open_archive(path, _WHAT)
    members = member_names(archive)
    places = _labels_places(members)
    base = places[0].removesuffix(LABELS_NAME) if len(places) == 1 else ""
    own = {name.removeprefix(base): member for name, member in members.items()
           if name.startswith(base)}  # fmt: skip
    clutter = sum(map(lies_in_clutter, members))
    try:
        raw = read_member(archive, own[LABELS_NAME]) if LABELS_NAME in own else None
    except UNREADABLE as error:
        raise unreadable(_WHAT, error) from error

    def read(row: int) -> Picture:
        try:
            content = read_member(archive, own[listing.files[row]])
        except UNREADABLE as error:
            raise UndecodableError(damaged(error)) from error
        return read_picture(io.BytesIO(content), window)

    listing = _listing([name for name in own if not lies_in_clutter(name)], raw, read)
    return replace(listing, notes=(*listing.notes, *clutter_note(clutter)))


def list_stylegan_folder(
    root: Path, files: tuple[str, ...], window: Window = OWN_WINDOW
) -> Listing:
    """List the images of an unpacked dataset zip; see `list_stylegan_zip`."""
    path = root / LABELS_NAME
    raw = None
    if path.is_file() and path.stat().st_size <= _MOST_LABEL_BYTES:
        raw = path.read_bytes()

    def read(row: int) -> Picture:
        return read_picture(root / listing.files[row], window)

    listing = _listing(list(files), raw, read)
    return listing


def has_labels_file(path: Path) -> bool:
    """Say whether a zip has one `dataset.json`, at its top or in a folder."""
    try:
        with zipfile.ZipFile(path) as archive:
            return len(_labels_places(member_names(archive))) == 1
    except UNREADABLE:
        return False


def is_packed(files: Sequence[str]) -> bool:
    """Say whether folders are those that dataset_tool.py packs images into by the thousand.

    >>> is_packed(["00004/img00004711.png"]), is_packed(["47110/0.png"])
    (True, False)
    """
    return all(
        (found := _PACKED.fullmatch(file)) is not None and found[2].startswith(found[1])
        for file in files
    )


def _labels_places(members: Mapping[str, str]) -> list[str]:
    if LABELS_NAME in members:
        return [LABELS_NAME]
    own = (name for name in members if not lies_in_clutter(name))
    return [name for name in own if name.rsplit("/", 1)[-1] == LABELS_NAME]


def _listing(names: list[str], raw: bytes | None, read: Any) -> Listing:
    images = sorted(name for name in names if is_image(name))
    others = [name for name in names if not is_image(name)]
    if raw is None or not images:
        raise DataError(
            expected=_WHAT,
            got=f"{len(images)} images" + ("" if raw is not None else f" and no {LABELS_NAME}"),
            fix="pack it with dataset_tool.py, with labels",
        )
    labels, absent = _labels(raw, images)
    note = f"{absent} images that {LABELS_NAME} lists are absent"
    classes = tuple(str(label) for label in range(int(labels.max()) + 1))
    return Listing(
        "stylegan",
        tuple(images),
        labels,
        classes,
        np.arange(len(images)),
        read,
        (*left_out_note(others, IMAGE_KINDS), *((note,) if absent else ())),
    )


def _labels(raw: bytes, images: list[str]) -> tuple[np.ndarray, int]:
    """Return the class of each image, int64 [n], and how many labels are those of no image."""
    table = _label_table(raw)
    keys = [unicodedata.normalize("NFC", name) for name in images]
    without = [name for name, key in zip(images, keys, strict=True) if key not in table]
    if without:
        raise _bad_labels(f"{len(without)} images without a label{and_first(without[0])}")
    values = [_class_of(table[key]) for key in keys]
    odd = [name for name, value in zip(images, values, strict=True) if value is None]
    if odd:
        raise _bad_labels(f"{len(odd)} labels that are no class{and_first(odd[0])}")
    return np.array(values, dtype=np.int64), len(table.keys() - set(keys))


def _label_table(raw: bytes) -> dict[str, Any]:
    """Return the label of each name, backslashes and forms of accents made one.

    Raises:
        DataError: another content, or a name with several labels.
    """
    try:
        # Pairs, not dictionaries: of a key that comes twice JSON keeps the last in silence.
        content = dict(json.loads(raw, object_pairs_hook=list))
        pairs = [(str.replace(name, "\\", "/"), label) for name, label in content["labels"] or ()]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _bad_labels(f"another content ({detail(error)})") from error
    if not pairs:
        raise _bad_labels("no labels")
    table: dict[str, Any] = {}
    twice: list[str] = []
    for name, label in pairs:
        key = unicodedata.normalize("NFC", name)
        if key in table:
            twice.append(name)
        table[key] = label
    if twice:
        raise DataError(
            expected=f"each image once in {LABELS_NAME}",
            got=f"{len(set(twice))} images with several labels{and_first(twice[0])}",
            fix="keep one label per image (several labels per image are not supported)",
        )
    return table


def _class_of(label: Any) -> int | None:
    """Return the class that a label names: a whole number, or the place of the one in a vector."""
    if isinstance(label, list):
        ones = [place for place, value in enumerate(label) if value == 1]
        zeros = sum(value == 0 for value in label)
        return ones[0] if len(ones) == 1 and zeros == len(label) - 1 else None
    if isinstance(label, bool) or not isinstance(label, int) or not 0 <= label < _MOST_CLASSES:
        return None
    return label


def _bad_labels(got: str) -> DataError:
    return DataError(
        expected=f"one class for each image in {LABELS_NAME}",
        got=got,
        fix='give "labels": [[name, number], ...] with every image',
    )
