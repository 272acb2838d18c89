"""The MedMNIST `.npz` layout, streamed.

Where images lie on walks, its three splits are of different walks (`splits_of_walks`), so that
nothing of what a model is tested on looks like what it was trained on; of other sets all images are
the training split.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from latentpath.core import InputError, partial_path
from latentpath.data.sources.medmnist import MAX_CLASSES
from latentpath.data.sources.npz_arrays import SPLITS
from latentpath.data.writers.batch import Batch
from latentpath.data.writers.set_form import SetForm, splits_of_walks
from latentpath.data.writers.stylegan import UNDATED
from latentpath.data.writers.writer import FileWriter

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
