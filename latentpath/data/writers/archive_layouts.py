"""Layouts that are archives and tables: MedMNIST, StyleGAN, WebDataset and Parquet files.

MedMNIST's `.npz` is streamed. Where images lie on walks, its three splits are of different walks
(`splits_of_walks`), so that nothing of what a model is tested on looks like what it was trained on;
of other sets all images are the training split.

StyleGAN's are zips of uncompressed PNG files, their labels in `dataset.json`. The layout of
`dataset_tool.py` of StyleGAN2-ADA and StyleGAN3, which train on such a file as it is: images
`00000/img00000000.png`, a thousand to a folder, and `{"labels": [[name, label], ...]}`.

WebDataset shards are tar files that training code reads from the front to the end. See
https://github.com/webdataset/webdataset: the files of one sample follow one another and share their
name up to the first dot. Here they are `000123.png`, `000123.cls` (the label as text) and
`000123.json` (label, class name and extra columns), which `.decode("pil")` or `.decode("torchrgb")`
turn into an image, an integer and a dictionary.

Parquet files have the image layout of Hugging Face `datasets`. An image is a struct of `bytes` (a
PNG file) and `path`; the names of the classes and the kinds of the columns stand in the schema's
metadata, under the key `huggingface`, so that `load_dataset("parquet", ...)` gives pictures and
class names without being told.
"""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from latentpath.core import InputError, partial_path, require_extra
from latentpath.data.sources.archive import SPLITS
from latentpath.data.sources.medmnist import MAX_CLASSES
from latentpath.data.writers.writer import Batch, FileWriter, SetForm, splits_of_walks

LABELS_NAME = "dataset.json"
# The only day that says nothing: the first that a zip can name.
UNDATED = (1980, 1, 1, 0, 0, 0)


class StyleGANWriter(FileWriter):
    """A dataset zip."""

    layout = "stylegan"
    suffix = ".zip"
    default_file = "stylegan.zip"

    @classmethod
    def check_form(cls, form: SetForm) -> None:
        side = form.height
        if form.width != side or side & (side - 1):
            raise InputError(
                expected="square images with a power of two as their side for a StyleGAN zip, "
                "which its training code insists on",
                got=f"{form.width}x{form.height}",
                fix="leave the layout 'stylegan' out, or resize the images",
            )

    def begin(self) -> None:
        self._archive = zipfile.ZipFile(self.stream, "w", zipfile.ZIP_STORED)
        self._labels: list[list[str | int]] = []

    def add(self, batch: Batch) -> None:
        for number, png, label in zip(
            self.numbers(batch), batch.pngs, batch.labels.tolist(), strict=True
        ):
            name = f"{number // 1000:05d}/img{number:08d}.png"
            self._member(name, png)
            self._labels.append([name, label])

    def end(self) -> None:
        self._member(LABELS_NAME, json.dumps({"labels": self._labels}).encode("ascii"))
        self._archive.close()

    def discard(self) -> None:
        # Closed later by the garbage collector, the archive would write into a closed file.
        self._archive.fp = None

    def _member(self, name: str, content: bytes) -> None:
        member = zipfile.ZipInfo(name, date_time=UNDATED)
        member.create_system, member.external_attr = 3, 0o644 << 16
        self._archive.writestr(member, content)


_BLOCK = 1 << 20


class NpzWriter(FileWriter):
    """One `.npz` with the six arrays of MedMNIST.

    An array's size stands before its content, so the pixels lie in temporary files beside the
    `.npz` until all are there: the disk must have room for them uncompressed, the memory need not.
    """

    layout = "npz"
    suffix = ".npz"
    default_file = "medmnist.npz"

    @classmethod
    def check_form(cls, form: SetForm) -> None:
        if len(form.class_names) > MAX_CLASSES:
            raise InputError(
                expected=f"at most {MAX_CLASSES} classes for the layout 'npz', whose labels are "
                "uint8",
                got=str(len(form.class_names)),
                fix="leave 'npz' out of the layouts",
            )

    def begin(self) -> None:
        self._splits = {split: _Split(partial_path(self.path)) for split in SPLITS}

    def add(self, batch: Batch) -> None:
        self.numbers(batch)
        labels = batch.labels.astype(np.uint8)
        if not self.form.has_walks:
            self._splits["train"].add(batch.images, labels)
            return
        of_walks = splits_of_walks(batch.columns["path"])
        for name, split in self._splits.items():
            rows = of_walks == name
            split.add(batch.images[rows], labels[rows])

    def end(self) -> None:
        form = self.form
        tail = (form.height, form.width) if form.channels == 1 else (form.height, form.width, 3)
        with zipfile.ZipFile(self.stream, "w") as archive:
            for name, split in self._splits.items():
                labels = split.labels()
                count = len(labels)
                _write_member(archive, f"{name}_images", (count, *tail), split.pixels())
                _write_member(archive, f"{name}_labels", (count, 1), [labels.tobytes()])
        self.discard()

    def discard(self) -> None:
        for split in self._splits.values():
            split.discard()


class _Split:
    """Images of one split on their way into the archive."""

    def __init__(self, path: Path) -> None:
        self._path, self._stream = path, path.open("w+b")
        self._labels: list[np.ndarray] = []

    def add(self, images: np.ndarray, labels: np.ndarray) -> None:
        self._stream.write(np.ascontiguousarray(images).data)
        self._labels.append(labels)

    def labels(self) -> np.ndarray:
        return np.concatenate([np.zeros(0, np.uint8), *self._labels])

    def pixels(self) -> Iterator[bytes]:
        self._stream.seek(0)
        while block := self._stream.read(_BLOCK):
            yield block

    def discard(self) -> None:
        self._stream.close()
        self._path.unlink(missing_ok=True)


def _write_member(
    archive: zipfile.ZipFile, key: str, shape: tuple[int, ...], content: Iterable[bytes]
) -> None:
    """Write one uint8 array, given its bytes."""
    # np.savez stamps members with the time of day.
    member = zipfile.ZipInfo(f"{key}.npy", date_time=UNDATED)
    member.compress_type = zipfile.ZIP_DEFLATED
    member.create_system, member.external_attr = 3, 0o644 << 16
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    with archive.open(member, "w", force_zip64=True) as stream:
        np.lib.format.write_array_header_1_0(stream, header)
        for block in content:
            stream.write(block)


class WebDatasetWriter(FileWriter):
    """A shard."""

    layout = "webdataset"
    suffix = ".tar"
    default_file = "webdataset/shard-000000.tar"
    sharded = True

    @classmethod
    def file_of(cls, shard: int, shards: int) -> str:
        return f"webdataset/shard-{shard:06d}.tar"

    def begin(self) -> None:
        self._archive = tarfile.TarFile(fileobj=self.stream, mode="w", format=tarfile.USTAR_FORMAT)

    def add(self, batch: Batch) -> None:
        numbers, names = self.numbers(batch), list(self.form.columns)
        rows = zip(*(batch.columns[name] for name in names), strict=True) if names else None
        for number, png, label in zip(numbers, batch.pngs, batch.labels.tolist(), strict=True):
            key = f"{number:0{self.form.digits}d}"
            entries = {"label": label, "class_name": self.form.class_names[label]}
            if rows is not None:
                entries |= dict(zip(names, next(rows), strict=True))
            text = json.dumps(entries, ensure_ascii=False, allow_nan=False)
            self._member(f"{key}.png", png)
            self._member(f"{key}.cls", str(label).encode("ascii"))
            self._member(f"{key}.json", text.encode("utf-8"))

    def end(self) -> None:
        self._archive.close()

    def _member(self, name: str, content: bytes) -> None:
        # A new TarInfo has no date and no owner: time, user and group 0, names empty.
        member = tarfile.TarInfo(name)
        member.size = len(content)
        self._archive.addfile(member, io.BytesIO(content))
        # The archive would remember every member, though nobody asks for them.
        self._archive.members.clear()  # type: ignore[attr-defined]


# Rows are gathered to groups of this size, which do not depend on the batches.
_GROUP_ROWS = 1000
_TYPES = {int: "int64", float: "float64", str: "string"}


class ParquetWriter(FileWriter):
    """One Parquet file. It holds a thousand images in memory at a time."""

    layout = "parquet"
    suffix = ".parquet"
    default_file = "data/train-00000-of-00001.parquet"
    sharded = True

    @classmethod
    def file_of(cls, shard: int, shards: int) -> str:
        return f"data/train-{shard:05d}-of-{shards:05d}.parquet"

    @classmethod
    def check_form(cls, form: SetForm) -> None:
        require_extra("pyarrow", "parquet")

    def begin(self) -> None:
        self._arrow = require_extra("pyarrow", "parquet")
        parquet = require_extra("pyarrow.parquet", "parquet")
        self._rows: list[dict[str, Any]] = []
        # Packing PNG files again and indexing their bytes would only cost time.
        self._archive = parquet.ParquetWriter(
            self.stream,
            self._schema(),
            compression="none",
            use_dictionary=False,
            write_statistics=["label"],
        )

    def add(self, batch: Batch) -> None:
        numbers, labels = self.numbers(batch), batch.labels.tolist()
        for row, (number, png, label) in enumerate(zip(numbers, batch.pngs, labels, strict=True)):
            picture = {"bytes": png, "path": f"{number:0{self.form.digits}d}.png"}
            extra = {name: values[row] for name, values in batch.columns.items()}
            self._rows.append({"image": picture, "label": label, **extra})
            if len(self._rows) == _GROUP_ROWS:
                self._write_group()

    def end(self) -> None:
        if self._rows:
            self._write_group()
        self._archive.close()

    def discard(self) -> None:
        # Left to the garbage collector, it would write its end into a closed file.
        with contextlib.suppress(OSError):
            self._archive.close()

    def _write_group(self) -> None:
        self._archive.write_table(self._arrow.Table.from_pylist(self._rows, schema=self._schema()))
        self._rows = []

    def _schema(self) -> Any:
        arrow = self._arrow
        picture = arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())])
        fields = [("image", picture), ("label", arrow.int64())]
        fields += [
            (name, arrow.type_for_alias(_TYPES[kind])) for name, kind in self.form.columns.items()
        ]
        info = json.dumps({"info": {"features": features(self.form)}}, ensure_ascii=False)
        return arrow.schema(fields, metadata={"huggingface": info})


def features(form: SetForm) -> dict[str, Any]:
    """Return the set's columns as `datasets` describes them."""
    columns: dict[str, Any] = {
        "image": {"_type": "Image"},
        "label": {"names": list(form.class_names), "_type": "ClassLabel"},
    }
    for name, kind in form.columns.items():
        columns[name] = {"dtype": _TYPES[kind], "_type": "Value"}
    return columns
