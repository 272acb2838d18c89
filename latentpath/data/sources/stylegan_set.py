"""StyleGAN dataset zips, and the same as a folder: images and `dataset.json` with their labels.

The layout of `dataset_tool.py` of StyleGAN2-ADA and StyleGAN3: `{"labels": [[name, label], ...]}`,
the label a number or a one-hot vector.
"""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from latentpath.core import DataError
from latentpath.data.decode import UndecodableError, decode_image
from latentpath.data.sources.archive import UNREADABLE, open_archive, read_member, unreadable
from latentpath.data.sources.file_search import is_image, left_out_note
from latentpath.data.sources.listing import IMAGE_KINDS, Listing
from latentpath.data.sources.name_disclosure import and_first, detail

LABELS_NAME = "dataset.json"
_WHAT = f"a StyleGAN dataset with {LABELS_NAME}"
_MOST_LABEL_BYTES = 1 << 30
_MOST_CLASSES = 100_000


def list_stylegan_zip(path: Path) -> Listing:
    """List the images of a dataset zip, sorted by name; each is one identity.

    Raises:
        DataError: no such zip, one with limits exceeded or odd names, images without labels, or
            labels that are no classes.
    """
    archive = open_archive(path, _WHAT)
    members = [info.filename for info in archive.infolist() if not info.is_dir()]
    try:
        raw = read_member(archive, LABELS_NAME) if LABELS_NAME in members else None
    except UNREADABLE as error:
        raise unreadable(_WHAT, error) from error

    def read(row: int, channels: int | None) -> np.ndarray:
        try:
            content = read_member(archive, listing.files[row])
        except UNREADABLE as error:
            raise UndecodableError(f"damaged ({detail(error)})") from error
        return decode_image(io.BytesIO(content), channels)

    listing = _listing(members, raw, read)
    return listing


def list_stylegan_folder(root: Path, files: tuple[str, ...]) -> Listing:
    """List the images of an unpacked dataset zip; see `list_stylegan_zip`."""
    path = root / LABELS_NAME
    raw = None
    if path.is_file() and path.stat().st_size <= _MOST_LABEL_BYTES:
        raw = path.read_bytes()

    def read(row: int, channels: int | None) -> np.ndarray:
        return decode_image(root / listing.files[row], channels)

    listing = _listing(list(files), raw, read)
    return listing


def has_labels_file(path: Path) -> bool:
    """Say whether a zip has a `dataset.json`."""
    try:
        with zipfile.ZipFile(path) as archive:
            return LABELS_NAME in archive.namelist()
    except UNREADABLE:
        return False


def _listing(names: list[str], raw: bytes | None, read: Any) -> Listing:
    images = sorted(name for name in names if is_image(name))
    others = [name for name in names if not is_image(name)]
    if raw is None or not images:
        raise DataError(
            expected=_WHAT,
            got=f"{len(images)} images" + ("" if raw is not None else f" and no {LABELS_NAME}"),
            fix="pack it with dataset_tool.py, with labels",
        )
    labels = _labels(raw, images)
    classes = tuple(str(label) for label in range(int(labels.max()) + 1))
    return Listing(
        "stylegan",
        tuple(images),
        labels,
        classes,
        np.arange(len(images)),
        read,
        left_out_note(others, IMAGE_KINDS),
    )


def _labels(raw: bytes, images: list[str]) -> np.ndarray:  # int64 [n]
    try:
        content = json.loads(raw)
        pairs = content["labels"]
        table = {name.replace("\\", "/"): label for name, label in dict(pairs or ()).items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _bad_labels(f"another content ({detail(error)})") from error
    if not table:
        raise _bad_labels("no labels")
    without = [name for name in images if name not in table]
    if without:
        raise _bad_labels(f"{len(without)} images without a label{and_first(without[0])}")
    values = [_class_of(table[name]) for name in images]
    odd = [name for name, value in zip(images, values, strict=True) if value is None]
    if odd:
        raise _bad_labels(f"{len(odd)} labels that are no class{and_first(odd[0])}")
    return np.array(values, dtype=np.int64)


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
