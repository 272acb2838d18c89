"""StyleGAN dataset zips: uncompressed PNG files and their labels in `dataset.json`.

The layout of `dataset_tool.py` of StyleGAN2-ADA and StyleGAN3, which train on such a file as it is:
images `00000/img00000000.png`, a thousand to a folder, and `{"labels": [[name, label], ...]}`.
"""

from __future__ import annotations

import json
import zipfile

from latentpath.core import InputError
from latentpath.data.writers.batch import Batch
from latentpath.data.writers.set_form import SetForm
from latentpath.data.writers.writer import FileWriter

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
