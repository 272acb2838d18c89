"""The MedMNIST `.npz` layout, streamed: all images as the training split."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator

import numpy as np

from latentpath.core import InputError, partial_path
from latentpath.data.sources.medmnist import MAX_CLASSES
from latentpath.data.sources.npz_arrays import SPLITS
from latentpath.data.writers.batch import Batch
from latentpath.data.writers.set_form import SetForm
from latentpath.data.writers.stylegan import UNDATED
from latentpath.data.writers.writer import FileWriter

_BLOCK = 1 << 20


class NpzWriter(FileWriter):
    """One `.npz` with the six arrays of MedMNIST; validation and test hold no images.

    An array's size stands before its content, so the pixels lie in a temporary file beside the
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
        self._spool_path = partial_path(self.path)
        self._spool = self._spool_path.open("w+b")
        self._labels: list[np.ndarray] = []

    def add(self, batch: Batch) -> None:
        self.numbers(batch)
        self._spool.write(np.ascontiguousarray(batch.images).data)
        self._labels.append(batch.labels.astype(np.uint8))

    def end(self) -> None:
        labels = np.concatenate([np.zeros(0, np.uint8), *self._labels])
        form = self.form
        tail = (form.height, form.width) if form.channels == 1 else (form.height, form.width, 3)
        self._spool.seek(0)
        with zipfile.ZipFile(self.stream, "w") as archive:
            for split in SPLITS:
                count = self.count if split == "train" else 0
                pixels = self._spooled() if count else ()
                _write_member(archive, f"{split}_images", (count, *tail), pixels)
                _write_member(archive, f"{split}_labels", (count, 1), [labels[:count].tobytes()])
        self.discard()

    def discard(self) -> None:
        self._spool.close()
        self._spool_path.unlink(missing_ok=True)

    def _spooled(self) -> Iterator[bytes]:
        while block := self._spool.read(_BLOCK):
            yield block


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
