"""What all writers share: they are given the form of a set, then its images, batch by batch.

Images are added in their order, and files appear complete or not at all. A file is written under a
temporary name beside its own, forced to the disk, and renamed. The bytes depend on the images,
labels, columns and options (and the versions of the libraries that pack them), not on how the
images were cut into batches, when or where.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import IO, Any, ClassVar

import numpy as np

from latentpath.core import DataError, InputError, ShapeError, hash_file, partial_path, put_in_place
from latentpath.data.images import check_class_names, check_images, is_text
from latentpath.data.pixel_files import encode_pngs, read_plain_png

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
    return {name: checked_column(name, values, n).tolist() for name, values in columns.items()}


def checked_column(name: str, values: Sequence[Any] | np.ndarray, n: int) -> np.ndarray:
    """Return an extra column as an array, one value for each of `n` images.

    Raises:
        ShapeError: more values or fewer, or rows of several.
    """
    array = np.asarray(values)
    if array.shape != (n,):
        raise ShapeError(
            expected=f"{n} values in the extra column {name!r}",
            got=str(list(array.shape)),
            fix="give one value per image",
        )
    return array


class Writer(ABC):
    """Writes images in one layout, below a folder.

    ```
    with writer_class(root, form) as writer:
        for batch in batches:
            writer.add(batch)
    writer.files    # {"shard-000000.tar": {"bytes": ..., "sha256": ...}}
    ```

    When the block ends in an exception, nothing of it stays. A killed process leaves a file
    `.<name>.partial-<random>`.

    Args:
        root: the folder; made if absent.
        form: of the whole set.
        file: name of the file to write, relative to `root`, with forward slashes; `default_file`
            if None. Layouts that are no single file take none.
        first: number that the first image has in the whole set.

    Raises:
        InputError: the layout cannot hold images of this form.
    """

    layout: ClassVar[str]
    """Name of the layout."""
    suffix: ClassVar[str]
    """How its file's name ends; "" where it is a tree of files."""
    default_file: ClassVar[str]
    """Where the file goes, relative to the set's folder."""
    sharded: ClassVar[bool] = False
    """Whether a set may be written as several files of this layout, each by a writer of its own."""

    files: dict[str, dict[str, Any]]
    """Once closed: bytes and SHA-256 of each file written, by its name relative to `root`."""

    def __init__(
        self, root: str | Path, form: SetForm, *, file: str | None = None, first: int = 0
    ) -> None:
        self.root, self.form = Path(root), form
        self.first, self.count = first, 0
        self.files = {}
        self.check_form(form)
        if first < 0:
            raise InputError(expected="a first number of 0 or more", got=str(first), fix="raise it")

    @classmethod
    def check_form(cls, form: SetForm) -> None:
        """Raise InputError if the layout cannot hold a set of this form; most hold any.

        MissingExtraError where a package that writes it is not installed.
        """
        return

    @classmethod
    def file_of(cls, shard: int, shards: int) -> str:
        """Return the usual name of one of the files of a set, relative to the set's folder."""
        return cls.default_file

    @abstractmethod
    def add(self, batch: Batch) -> None:
        """Write the next images.

        Raises:
            InputError: the batch has another form (ShapeError, DataError).
            OSError: the disk is full or gone; call `abort`, or leave the `with` block.
        """

    @abstractmethod
    def close(self) -> None:
        """Complete the file and put it in its place."""

    @abstractmethod
    def abort(self) -> None:
        """Remove what was written; does nothing once closed."""

    def numbers(self, batch: Batch) -> range:
        """Check a batch and return the numbers of its images in the set."""
        batch.check(self.form)
        start = self.first + self.count
        self.count += len(batch)
        return range(start, start + len(batch))

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.abort()
            return
        try:
            self.close()
        except BaseException:
            self.abort()
            raise


class FileWriter(Writer):
    """A writer of one file."""

    def __init__(
        self, root: str | Path, form: SetForm, *, file: str | None = None, first: int = 0
    ) -> None:
        super().__init__(root, form, first=first)
        self.file = file or self.default_file
        self.path = self.root / self.file
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.partial = partial_path(self.path)
        self.stream: IO[bytes] = self.partial.open("wb")
        try:
            self.begin()
        except BaseException:
            self.stream.close()
            self.partial.unlink(missing_ok=True)
            raise

    @abstractmethod
    def begin(self) -> None:
        """Open the archive on `self.stream`."""

    @abstractmethod
    def end(self) -> None:
        """Complete the archive; the stream is closed afterwards."""

    def discard(self) -> None:
        """Let go of whatever `begin` opened beside the stream; called by `abort`."""

    def close(self) -> None:
        self.end()
        self.stream.close()
        entry = describe_file(self.partial)
        put_in_place(self.partial, self.path)
        self.files[self.file] = entry

    def abort(self) -> None:
        if self.file in self.files:
            return
        self.discard()
        self.stream.close()
        self.partial.unlink(missing_ok=True)


def describe_file(path: Path) -> dict[str, Any]:
    """Return size and checksum of a file, as manifests list them."""
    return {"bytes": path.stat().st_size, "sha256": hash_file(path)}
