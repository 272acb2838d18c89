"""Any `.npz` file of arrays: images, labels, and perhaps people, names of labels, and splits.

Arrays are named by the options that name the columns of tables, or are recognised by the names that
they usually have; where that leaves a doubt, the set is refused with the arrays that there are.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from latentpath.core import DataError, joined
from latentpath.data.contrast import (
    Picture,
    UndecodableError,
    Window,
    picture_of,
    to_eight_bits,
)
from latentpath.data.sources.archive import (
    LIMITS,
    UNREADABLE,
    USUAL_NAMES,
    array_kind,
    array_names,
    open_archive,
    read_array,
    shown_name,
    unreadable,
)
from latentpath.data.sources.listing import Listing, number_names, rows_of_split
from latentpath.data.sources.people_columns import (
    cells,
    chosen_people,
    columns_of,
    people_of_arrays,
    unreadable_people,
)

if TYPE_CHECKING:
    from latentpath.data.sources.data_source import DataSource


@dataclass(frozen=True, eq=False)
class EightBitImages:
    """An array of images, and what became of the contrast of each."""

    pixels: np.ndarray
    """uint8 [n, H, W, C]."""
    views: tuple[tuple[int, str], ...] = ()
    """`values` and `view` of each image's `Picture`; nothing where 8 bits say it."""

    @classmethod
    def of(cls, array: np.ndarray, window: Window) -> EightBitImages:
        """Return images [n, H, W, C] of any number type in 8 bits.

        Raises:
            UndecodableError: values that have no clear 8-bit form.
        """
        if array.dtype in (np.uint8, np.bool_):
            return cls(to_eight_bits(array), ((0, window.shallow_view),) * len(array))
        pixels, views = np.empty(array.shape, np.uint8), []
        for image, place in zip(array, pixels, strict=True):
            picture = picture_of(image[..., 0] if image.shape[2] == 1 else image, window)
            place[...] = picture.pixels
            views.append((picture.values, picture.view))
        return cls(pixels, tuple(views))

    @classmethod
    def joined(cls, parts: Sequence[EightBitImages]) -> EightBitImages:
        """Return all images of arrays of one size."""
        nothing = (0, "")
        views = [view for part in parts for view in part.views or (nothing,) * len(part.pixels)]
        return cls(np.concatenate([part.pixels for part in parts]), tuple(views))

    def picture(self, row: int) -> Picture:
        """Return one image."""
        return Picture(self.pixels[row], *(self.views[row] if self.views else ()))


def read_images(
    archive: zipfile.ZipFile, key: str, window: Window, rows: np.ndarray | None = None
) -> EightBitImages:
    """Read an array of images [n, H, W] or [n, H, W, C], C 1 or 3.

    Args:
        archive: the `.npz` file.
        key: the array's name.
        window: what of grey values of more than 8 bits becomes black and white.
        rows: bool [n], which images to read; None for all.

    Raises:
        DataError: another shape, or values that have no clear 8-bit form.
    """
    array = read_array(archive, key, rows)
    shape = array.shape
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or array.shape[3] not in (1, 3) or 0 in array.shape[1:]:
        first = array.ndim == 4 and array.shape[1] in (1, 3)
        raise DataError(
            expected=f"{key} [n, H, W] or [n, H, W, 3] in the .npz file",
            got=str(list(shape)),
            fix="put the channels last"
            if first
            else "volumes and other channel numbers are not supported",
        )
    try:
        return EightBitImages.of(array, window)
    except UndecodableError as error:
        raise DataError(
            expected=f"{key} in 8 or 16 bits, or floats in [0, 1], in the .npz file",
            got=str(error),
            fix="where no --window helps, scale them to 0 .. 255 and store them as uint8",
        ) from error


_WHAT = "an .npz file of arrays"
_OPTIONS = {
    "images": "--image-column",
    "labels": "--label-column",
    "people": "--identity-column",
    "label names": "--label-names",
    "split": "--split-column",
}
_REQUIRED = ("images", "labels")


def list_arrays(source: DataSource) -> Listing:
    """List the images of one split, or of all; the pixels are in memory.

    Without an array of people each image is one identity. A label is a number from 0 whose name
    another array may hold, or a text.

    Raises:
        DataError: no such file, arrays absent or several that may be meant, sizes that do not
            match, pickled objects, labels without a name, a split that has to be chosen.
    """
    with open_archive(source.path, _WHAT, LIMITS) as archive:
        try:
            return _listing(archive, source)
        except DataError:
            raise
        except UNREADABLE as error:
            raise unreadable(_WHAT, error) from error


def _listing(archive: zipfile.ZipFile, source: DataSource) -> Listing:
    arrays, doubts = _chosen_arrays(archive, source)
    count = array_kind(archive, arrays["images"])[0][0]
    if count == 0:
        raise DataError(
            expected="images in the .npz file", got="none", fix="check how the file was made"
        )
    columns = {
        what: _column(archive, arrays[what], what, count)
        for what in ("labels", "people", "split")
        if what in arrays
    }
    texts = None
    if "label names" in arrays:
        texts = _texts(read_array(archive, arrays["label names"]).reshape(-1))
    names, labels = _classes(columns["labels"], texts)
    splits = [str(value) for value in columns["split"].tolist()] if "split" in columns else None
    rows, unsettled = None, tuple(doubts.values())
    try:
        rows = None if "split" in doubts else rows_of_split(splits, source.split, "the array")
    except DataError as error:
        unsettled += (error,)
    images = read_images(archive, arrays["images"], source.contrast, rows)
    kept = np.flatnonzero(np.ones(count, bool) if rows is None else rows)
    others = columns_of(archive, set(array_names(archive)) - set(arrays.values()), count)
    told = people_of_arrays(
        cells(columns["people"][kept]) if "people" in columns else None,
        {name: cells(column[kept]) for name, column in sorted(others.items())},
        labels[kept],
        unreadable_people(archive, array_names(archive)),
        asked=source.identity_column is not None,
    )
    return Listing(
        "npz",
        tuple(map(str, range(len(kept)))),
        labels[kept],
        names,
        told.people,
        images.picture,
        told.notes,
        pixels=images.pixels,
        counted_by=told.counted_by,
        person_names=told.names,
        doubt=None if "people" in doubts else told.doubt,
        unsettled=unsettled,
        classes_known=doubts.keys().isdisjoint(("labels", "label names")),
    )


def _chosen_arrays(
    archive: zipfile.ZipFile, source: DataSource
) -> tuple[dict[str, str], dict[str, DataError]]:
    """Return the array of each kind; kinds that are not needed may be absent.

    Of several that may be meant it is the first where one is needed, and the error says so.

    Raises:
        DataError: one that is needed is absent; it says of the others, too.
    """
    present = array_names(archive)
    # What nobody changed names columns of tables; an array may be called so too.
    unnamed = {field.name: field.default for field in fields(source)}
    given = {
        "images": _given(source.image_column, unnamed["image_column"]),
        "labels": _given(source.label_column, unnamed["label_column"]),
        "people": source.identity_column if source.identities is None else None,
        "label names": source.label_names,
        "split": source.split_column,
    }
    chosen: dict[str, str] = {}
    doubts: dict[str, DataError] = {}

    def doubt(what: str, got: str) -> None:
        among = "" if doubts else f", among the arrays {_described(archive)}"  # once
        doubts[what] = _doubt(what, got + among)

    for what, usual in USUAL_NAMES.items():
        name = given[what]
        known = [n for n in present if n.lower() in usual]
        if what == "people" and "images" in chosen:
            count = (array_kind(archive, chosen["images"])[0] or (0,))[0]
            readable = columns_of(archive, set(present) - set(chosen.values()), count)
            known = known or chosen_people(sorted(readable))
        if name in present:
            chosen[what] = name
        elif name:
            doubt(what, "none of the name that was given")
        elif len(known) == 1:
            chosen[what] = known[0]
        elif known:
            doubt(what, f"{len(known)} that may be it")
            chosen |= {what: known[0]} if what in _REQUIRED else {}
        elif what in _REQUIRED:
            doubt(what, "none that is called so")
    if "images" in chosen and len(array_kind(archive, chosen["images"])[0]) < 3:
        chosen.pop("images")
        doubt("images", "one without rows and columns")
    if not chosen.keys() >= set(_REQUIRED):
        raise joined(list(doubts.values()))
    return chosen, doubts


def _given(name: str, default: object) -> str | None:
    return None if name == default else name


def _described(archive: zipfile.ZipFile) -> str:
    """All arrays, with what they hold."""
    described = []
    for name in array_names(archive):
        shape, dtype = array_kind(archive, name)
        described.append(f"{shown_name(name)} {dtype.name} {list(shape)}")
    return ", ".join(described) or "-"


def _doubt(what: str, got: str) -> DataError:
    others = ", ".join(option for other, option in _OPTIONS.items() if other != what)
    return DataError(
        expected=f"an array of {what} in the .npz file",
        got=got,
        fix=f"name it with {_OPTIONS[what]}, others with {others} (--verbose shows their names)",
    )


def _column(archive: zipfile.ZipFile, key: str, what: str, count: int) -> np.ndarray:
    """Return whole numbers [n] or texts [n]."""
    shape, dtype = array_kind(archive, key)
    one = len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)
    if what == "labels" and len(shape) == 2 and shape[1] > 1 and dtype.kind in "iubf":
        return _of_one_hot(read_array(archive, key), count)
    if not one or dtype.kind not in "iubfUS":
        raise DataError(
            expected=f"one whole number or text per image as {what} in the .npz file",
            got=f"{dtype.name} {list(shape)}",
            fix=f"name another array with {_OPTIONS[what]}, or store it as [n]",
        )
    if shape[0] != count:
        raise DataError(
            expected=f"one of the {what} per image in the .npz file",
            got=f"{count} images and {shape[0]} {what}",
            fix="check how the file was made",
        )
    column = read_array(archive, key).reshape(-1)
    if dtype.kind in "US":
        return np.array(_texts(column))
    if dtype.kind == "f" and not (np.isfinite(column) & (column == np.floor(column))).all():
        raise DataError(
            expected=f"whole numbers or texts as {what} in the .npz file",
            got="numbers with fractions, or NaN where one is absent",
            fix=f"name another array with {_OPTIONS[what]}, or store whole numbers",
        )
    return column.astype(np.int64)


def _of_one_hot(columns: np.ndarray, count: int) -> np.ndarray:
    """Return the class, int64 [n], of rows with a one in the class's column and zeros else."""
    if len(columns) != count or not (
        np.isin(columns, (0, 1)).all() and (columns.sum(1) == 1).all()
    ):
        raise DataError(
            expected=f"one label for each of {count} images in the .npz file, or a column per "
            "class with a single one in each row",
            got=f"{columns.dtype.name} {list(columns.shape)} of other content",
            fix=f"name another array with {_OPTIONS['labels']}, or choose one label per image",
        )
    return columns.argmax(1).astype(np.int64)


def _texts(column: np.ndarray) -> list[str]:
    if column.dtype.kind not in "US":
        raise DataError(
            expected="texts as label names in the .npz file",
            got=column.dtype.name,
            fix=f"name another array with {_OPTIONS['label names']}",
        )
    try:
        return [v.decode() if isinstance(v, bytes) else str(v) for v in column.tolist()]
    except UnicodeDecodeError as error:
        raise DataError(
            expected="texts in UTF-8 in the .npz file", got="others", fix="store them as UTF-8"
        ) from error


def _classes(labels: np.ndarray, texts: list[str] | None) -> tuple[tuple[str, ...], np.ndarray]:
    """Return class names, those of all splits, and int64 [n]."""
    if labels.dtype.kind == "U" or texts is None:
        if labels.dtype.kind != "U" and labels.min(initial=0) < 0:
            raise _odd_labels("labels from 0", labels)
        return number_names([str(label) for label in labels.tolist()])
    if len(labels) and not (labels.min() >= 0 and labels.max() < len(texts)):
        raise _odd_labels(f"labels from 0 to {len(texts) - 1}, one for each label name", labels)
    return tuple(texts), labels


def _odd_labels(expected: str, labels: np.ndarray) -> DataError:
    return DataError(
        expected=f"{expected}, in the .npz file",
        got=f"labels from {labels.min()} to {labels.max()}",
        fix="number the classes from 0",
    )
