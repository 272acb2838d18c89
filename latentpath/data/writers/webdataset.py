"""WebDataset shards: tar files that training code reads from the front to the end.

https://github.com/webdataset/webdataset: the files of one sample follow one another and share their
name up to the first dot. Here they are `000123.png`, `000123.cls` (the label as text) and
`000123.json` (label, class name and extra columns), which `.decode("pil")` or `.decode("torchrgb")`
turn into an image, an integer and a dictionary.
"""

from __future__ import annotations

import io
import json
import tarfile

from latentpath.data.writers.batch import Batch
from latentpath.data.writers.writer import FileWriter


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
