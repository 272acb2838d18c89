"""Parquet files in the image layout of Hugging Face `datasets`.

An image is a struct of `bytes` (a PNG file) and `path`; the names of the classes and the kinds of
the columns stand in the schema's metadata, under the key `huggingface`, so that
`load_dataset("parquet", ...)` gives pictures and class names without being told.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any

from latentpath.core import require_extra
from latentpath.data.writers.batch import Batch
from latentpath.data.writers.set_form import SetForm
from latentpath.data.writers.writer import FileWriter

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
