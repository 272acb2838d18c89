"""A written set as a dataset for training, split by walks."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from latentpath.core import DataError, InputError, UnsupportedError
from latentpath.data.contrast import UndecodableError
from latentpath.data.images import ImageSet, to_tensor
from latentpath.data.manifest import read_manifest
from latentpath.data.pixel_files import NotPlainError, read_plain_npz, read_plain_png
from latentpath.data.sources.archive import SPLITS
from latentpath.data.sources.csv_table import Table
from latentpath.data.sources.stylegan_set import list_stylegan_zip
from latentpath.data.writers import splits_of_walks
from latentpath.data.writers.folder import TABLE_NAME
from latentpath.data.written_samples import (
    PLACE_COLUMNS,
    UNREADABLE_SAMPLES,
    PngFiles,
    WrittenSamples,
    files_of_layout,
    read_shards,
    read_tables,
)

# The first that a set has is read: those that say where images lie on walks, then the rest.
_LAYOUTS = ("folder", "webdataset", "parquet", "npz", "stylegan")
UNKNOWN = -1
"""Walk and place of an image whose layout does not tell them."""

Transform = Callable[[Tensor], Any]


class SetItem(NamedTuple):
    """One image of a set; a `DataLoader` makes a batch of the same names."""

    image: Any
    """float32 [C, H, W] in [-1, 1], or what the transform made of it."""
    label: int
    """Class, 0 .. K-1."""
    path: int
    """Number of the walk that it lies on, -1 where the layout does not tell."""
    step: int
    """Point of the walk, 0 .. T-1, likewise."""


class SetDataset(Dataset[SetItem]):
    """Images of a written set with their classes and their places on walks; see `load_set`.

    Attributes:
        labels: int64 [n], 0 .. K-1.
        path: int64 [n], number of the walk of each image, -1 where the layout does not tell.
        step: int64 [n], point of the walk, likewise.
        class_names: the K names.
        layout: the layout that is read.
        manifest: the set's manifest.
    """

    def __init__(
        self,
        pictures: Callable[[int], np.ndarray],
        rows: np.ndarray,  # [n]
        columns: Mapping[str, np.ndarray],
        manifest: Mapping[str, Any],
        layout: str,
        transform: Transform | None,
    ) -> None:
        self._pictures, self._rows, self._transform = pictures, rows, transform
        self.labels, self.path, self.step = (
            torch.from_numpy(columns[name][rows]) for name in ("label", *PLACE_COLUMNS)
        )
        self.class_names = tuple(entry["name"] for entry in manifest["classes"])
        self.layout, self.manifest = layout, manifest

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> SetItem:
        picture = self._pictures(int(self._rows[index]))
        image = to_tensor(np.array(picture)[None])[0]  # Pillow's own may not be written to
        return SetItem(
            image if self._transform is None else self._transform(image),
            int(self.labels[index]),
            int(self.path[index]),
            int(self.step[index]),
        )

    def __repr__(self) -> str:
        size = self.manifest["images"]
        return (
            f"SetDataset({len(self)} images {size['height']}x{size['width']}x{size['channels']}, "
            f"{len(self.class_names)} classes, {self.layout!r})"
        )

    def image_set(self) -> ImageSet:
        """Return the images in memory, uint8, as `latentpath.audit_set` takes them.

        The images of one walk count as one person's, because they look alike; where walks are not
        known each is its own.
        """
        images = np.stack([self._pictures(row) for row in self._rows.tolist()])
        walks = self.path.numpy()
        known = len(walks) > 0 and walks.min() >= 0
        people = np.unique(walks, return_inverse=True)[1] if known else np.arange(len(self))
        return ImageSet(images, self.labels.numpy(), people, self.class_names)


def load_set(
    folder: str | Path,
    split: str = "all",
    *,
    layout: str | None = None,
    transform: Transform | None = None,
) -> SetDataset:
    """Return a set that `latentpath produce` wrote as a dataset for PyTorch.

    ```
    train, val = (latentpath.load_set("run/set", split) for split in ("train", "val"))
    for images, labels, path, step in torch.utils.data.DataLoader(train, 64, shuffle=True):
        ...
    ```

    Neighbours on a walk look alike, the more the longer it is, so that splits are of whole walks:
    those whose number ends in 4 are for validation, those in 9 for testing, the others for
    training.
    Walks that share an endpoint are alike near it, also across splits.

    Args:
        folder: the set, such as `run/set`.
        split: "train", "val", "test", or "all" of them.
        layout: which of the set's layouts to read; None takes the first it has of "folder",
            "webdataset", "parquet", "npz" and "stylegan". "npz" knows splits and no walks,
            "stylegan" neither. Of "npz" and "stylegan" all images are in memory, of "parquet"
            their PNG files; the others read each image when it is asked for, in any number of
            workers.
        transform: applied to each image, float32 [C, H, W] in [-1, 1].

    Raises:
        DataError: no set of ours, a damaged one, or no image in the split.
        InputError: another split or layout than there are.
        MissingExtraError: Pillow, or for Parquet files pyarrow, is not installed.
    """
    if split not in (*SPLITS, "all"):
        raise InputError(
            expected="the split train, val, test or all", got=repr(split), fix="choose one of them"
        )
    root, manifest = Path(folder), read_manifest(folder)
    has = [name for name in _LAYOUTS if name in manifest["layouts"]]
    chosen = layout or next(iter(has), "none")
    if chosen not in has:
        raise InputError(
            expected=f"one of the set's layouts, {', '.join(has) or 'of which it has none'}",
            got=repr(layout),
            fix="choose one of them, or None",
        )
    try:
        pictures, columns, splits = _READERS[chosen](root, manifest)
    except (NotPlainError, *UNREADABLE_SAMPLES) as error:
        if isinstance(error, DataError):
            raise
        raise _damaged(f"{chosen} files that cannot be read ({type(error).__name__})") from error
    _check(columns, manifest)
    rows = np.arange(len(columns["label"]))
    if split != "all":
        if splits is None:
            raise UnsupportedError(
                expected="a set that says which walk each image lies on",
                got=f"one without, as the layout {chosen!r} gives it",
                fix="load all of it, or write the set with the layout folder, webdataset, parquet "
                "or npz",
            )
        rows = rows[splits == split]
        if not len(rows):
            raise DataError(
                expected=f"images in the split {split!r}",
                got="none: of ten walks the fifth is for validation, the tenth for testing",
                fix="make a set of more walks, or load all of it",
            )
    return SetDataset(pictures, rows, columns, manifest, chosen, transform)


_Read = tuple[Callable[[int], np.ndarray], dict[str, np.ndarray], np.ndarray | None]
"""What gives pictures by row, the columns label, path and step, and the split of each row."""


class _Decoded:
    """Decodes the PNG files of samples."""

    def __init__(self, samples: WrittenSamples, manifest: Mapping[str, Any]) -> None:
        size = manifest["images"]
        self._samples = samples
        self._shape = (size["height"], size["width"], size["channels"])

    def __call__(self, row: int) -> np.ndarray:
        try:
            return read_plain_png(self._samples.png(row), *self._shape)
        except (NotPlainError, OSError) as error:
            raise _damaged(f"{self._samples.name(row)} that cannot be read ({error})") from error


def _of_samples(samples: WrittenSamples, manifest: Mapping[str, Any]) -> _Read:
    labels = np.array(samples.labels, np.int64)
    if samples.path is None or samples.step is None:
        nowhere = np.full(len(labels), UNKNOWN)
        return _Decoded(samples, manifest), _columns(labels, nowhere, nowhere), None
    path, step = np.array(samples.path, np.int64), np.array(samples.step, np.int64)
    return _Decoded(samples, manifest), _columns(labels, path, step), splits_of_walks(path)


def _columns(labels: np.ndarray, path: np.ndarray, step: np.ndarray) -> dict[str, np.ndarray]:
    return {"label": labels, "path": path, "step": step}


def _read_folder(root: Path, manifest: Mapping[str, Any]) -> _Read:
    own = ("file", "label")
    with (root / TABLE_NAME).open(newline="", encoding="utf-8") as stream:
        names = next(csv.reader(stream), [])
    walks = all(column in names for column in PLACE_COLUMNS)
    table = Table(root / TABLE_NAME, (*own, *PLACE_COLUMNS) if walks else own)
    files = table.column(0)
    # So that no name leads out of the folder.
    if not set(files) <= set(manifest["files"]):
        raise _damaged(f"other images in {TABLE_NAME} than the manifest lists")
    labels, path, step = (
        [int(cell) for cell in table.column(column)] if column == 1 or walks else None
        for column in (1, 2, 3)
    )
    assert labels is not None
    samples = WrittenSamples(labels, path, step, PngFiles(root, files), files.__getitem__)
    return _of_samples(samples, manifest)


def _read_shards(root: Path, manifest: Mapping[str, Any]) -> _Read:
    return _of_samples(read_shards(root, files_of_layout("webdataset", manifest)), manifest)


def _read_tables(root: Path, manifest: Mapping[str, Any]) -> _Read:
    return _of_samples(read_tables(root, files_of_layout("parquet", manifest)), manifest)


def _read_npz(root: Path, manifest: Mapping[str, Any]) -> _Read:
    size = manifest["images"]
    shape = (size["height"], size["width"], size["channels"])
    (name,) = files_of_layout("npz", manifest)
    arrays = read_plain_npz(root / name, size["count"] * int(np.prod(shape)))
    images = np.concatenate([arrays[f"{split}_images"].reshape(-1, *shape) for split in SPLITS])
    parts = [arrays[f"{split}_labels"].reshape(-1) for split in SPLITS]
    labels = np.concatenate(parts).astype(np.int64)
    splits = np.repeat(SPLITS, [len(part) for part in parts])
    nowhere = np.full(len(labels), UNKNOWN)
    # A set without walks has all images in the split of training, which is then no split.
    told = splits if len(set(splits.tolist())) > 1 else None
    return _Rows(images), _columns(labels, nowhere, nowhere), told


class _Rows:
    def __init__(self, images: np.ndarray) -> None:  # [n, H, W, C]
        self._images = images

    def __call__(self, row: int) -> np.ndarray:
        return self._images[row]


def _read_stylegan(root: Path, manifest: Mapping[str, Any]) -> _Read:
    (name,) = files_of_layout("stylegan", manifest)
    listing = list_stylegan_zip(root / name)
    try:
        images = np.stack([listing.read(row).pixels for row in range(len(listing.files))])
    except UndecodableError as error:
        raise _damaged(f"an image in {name} that cannot be read") from error
    nowhere = np.full(len(images), UNKNOWN)
    return _Rows(images), _columns(listing.labels, nowhere, nowhere), None


_READERS: dict[str, Callable[[Path, Mapping[str, Any]], _Read]] = {
    "folder": _read_folder,
    "webdataset": _read_shards,
    "parquet": _read_tables,
    "npz": _read_npz,
    "stylegan": _read_stylegan,
}


def _check(columns: Mapping[str, np.ndarray], manifest: Mapping[str, Any]) -> None:
    labels, count = columns["label"], manifest["images"]["count"]
    if len(labels) != count:
        raise _damaged(f"{len(labels)} samples, {count} in the manifest")
    if len(labels) and not 0 <= labels.min() <= labels.max() < len(manifest["classes"]):
        raise _damaged("labels of classes that the manifest does not name")


def _damaged(got: str) -> DataError:
    return DataError(
        expected="a set as latentpath writes it",
        got=got,
        fix="check it with `latentpath verify`, or restore it from a copy",
    )
