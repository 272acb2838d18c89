"""Images on their way to the writers, batch by batch, with the PNG files they become."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from functools import cached_property
from typing import Any

import numpy as np

from latentpath.core import DataError, InputError, ShapeError
from latentpath.data.images import check_images, is_text
from latentpath.data.pixel_files import read_plain_png
from latentpath.data.writers.png import encode_pngs
from latentpath.data.writers.set_form import SetForm


class Batch:
    """Some images of a set, in their order, with the PNG files that most layouts are made of.

    The files are packed once, when the first writer asks for `pngs`, and shared by all writers; a
    thread that asks beforehand takes the work away from the one that writes.

    Args:
        images: uint8 [n, H, W, C].
        labels: integers [n], 0 .. K-1.
        columns: n values for each extra column of the form, in its order.
        threads: threads that share the packing.

    Raises:
        ShapeError: arrays of other shapes or dtypes.
        DataError: labels below 0.
    """

    def __init__(
        self,
        images: np.ndarray,  # [n, H, W, C]
        labels: np.ndarray | Sequence[int],  # [n]
        columns: Mapping[str, Sequence[Any] | np.ndarray] | None = None,
        *,
        threads: Executor | None = None,
    ) -> None:
        check_images(images)
        self.shape: tuple[int, ...] = images.shape
        self.labels = _label_column(labels, len(images))
        self.columns = _plain_columns(columns or {}, len(images))
        self._unpacked = images
        self._threads = threads

    @classmethod
    def packed(
        cls,
        pngs: Sequence[bytes],
        shape: tuple[int, int, int],
        labels: np.ndarray | Sequence[int],
        columns: Mapping[str, Sequence[Any] | np.ndarray] | None = None,
    ) -> Batch:
        """Return a batch of PNG files that `encode_pngs` made, of images [H, W, C] = `shape`.

        They are unpacked, and checked, when a writer needs pixels.
        """
        batch = cls.__new__(cls)
        batch.shape = (len(pngs), *shape)
        batch.labels = _label_column(labels, len(pngs))
        batch.columns = _plain_columns(columns or {}, len(pngs))
        batch.pngs = list(pngs)
        return batch

    def __len__(self) -> int:
        return self.shape[0]

    @cached_property
    def pngs(self) -> list[bytes]:
        """The images as PNG files."""
        return encode_pngs(self._unpacked, self._threads)

    @property
    def images(self) -> np.ndarray:
        """The pixels, uint8 [n, H, W, C]."""
        if not hasattr(self, "_unpacked"):
            pixels = [read_plain_png(png, *self.shape[1:]) for png in self.pngs]
            self._unpacked = np.stack(pixels) if pixels else np.zeros(self.shape, np.uint8)
        return self._unpacked

    def check(self, form: SetForm) -> None:
        """Raise unless the batch has this form."""
        shape = (form.height, form.width, form.channels)
        if self.shape[1:] != shape:
            raise ShapeError(
                expected=f"images [n, {form.height}, {form.width}, {form.channels}]",
                got=str(list(self.shape)),
                fix="write images of one form into a set",
            )
        if self.labels.max(initial=0) >= len(form.class_names):
            raise DataError(
                expected=f"labels below {len(form.class_names)}, the number of class names",
                got=f"label {self.labels.max()}",
                fix="name every class, in the order of the labels",
            )
        if list(self.columns) != list(form.columns):
            raise InputError(
                expected=f"the columns {', '.join(map(repr, form.columns)) or 'none'}",
                got=", ".join(map(repr, self.columns)) or "none",
                fix="give every batch the columns that the form names, in that order",
            )
        for name, kind in form.columns.items():
            odd = next((v for v in self.columns[name] if not _fits(v, kind)), None)
            if odd is not None:
                raise InputError(
                    expected=f"finite values of the type {kind.__name__} in the column {name!r}",
                    got=ascii(odd)[:80],
                    fix="convert them",
                )


def _fits(value: Any, kind: type) -> bool:
    # Not isinstance: True is an int.
    if type(value) is not kind:
        return False
    if isinstance(value, str):
        return is_text(value)
    return isinstance(value, int) or (isinstance(value, float) and math.isfinite(value))


def _label_column(labels: np.ndarray | Sequence[int], n: int) -> np.ndarray:
    column = np.asarray(labels)
    if column.shape != (n,) or (n and column.dtype.kind not in "iu"):
        raise ShapeError(
            expected=f"labels as integers [{n}], one per image",
            got=f"{column.dtype} {list(column.shape)}",
            fix="give one whole number per image",
        )
    if column.min(initial=0) < 0:
        raise DataError(
            expected="labels of 0 or more", got=str(column.min()), fix="number them from 0"
        )
    return column.astype(np.int64)


def _plain_columns(
    columns: Mapping[str, Sequence[Any] | np.ndarray], n: int
) -> dict[str, list[Any]]:
    """Return the columns as lists of plain Python values."""
    plain = {}
    for name, values in columns.items():
        array = np.asarray(values)
        if array.shape != (n,):
            raise ShapeError(
                expected=f"{n} values in the extra column {name!r}",
                got=str(list(array.shape)),
                fix="give one value per image",
            )
        plain[name] = array.tolist()
    return plain
