"""The samples of a written set, whichever layout they lie in: what its tables say, and PNG files.

Pictures are read one by one when they are asked for, so that a set may be larger than the memory;
those of Parquet files lie in memory as PNG files.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latentpath.core import IntegrityError, require_extra
from latentpath.data.writers import WRITERS

PLACE_COLUMNS = ("path", "step")
"""Columns of a set whose samples lie on walks: the walk's number and the point on it."""
UNREADABLE_SAMPLES = (
    tarfile.TarError,
    EOFError,
    OSError,
    ValueError,
    KeyError,
    TypeError,
    IndexError,
)
"""What a file that is damaged, or no such file, leads to."""

_MOST_BYTES = 1 << 28


@dataclass(frozen=True)
class WrittenSamples:
    """The samples of a set as PNG files, and what its tables say of them."""

    labels: Sequence[int]
    path: Sequence[int] | None
    """None where the set says of no image which walk it lies on."""
    step: Sequence[int] | None
    png: Callable[[int], bytes]
    """Gives the file of a sample."""
    name: Callable[[int], str]
    """Says where that file is."""

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class PngFiles:
    """Gives PNG files of a folder."""

    folder: Path
    names: Sequence[str]

    def __call__(self, row: int) -> bytes:
        return (self.folder / self.names[row]).read_bytes()


@dataclass(frozen=True)
class PackedPngs:
    """Gives PNG files that lie in larger ones, by file, offset and size."""

    folder: Path
    places: Sequence[tuple[str, int, int]]

    def __call__(self, row: int) -> bytes:
        name, offset, size = self.places[row]
        with (self.folder / name).open("rb") as stream:
            stream.seek(offset)
            return stream.read(size)

    def name(self, row: int) -> str:
        return f"image {row} in {self.places[row][0]}"


@dataclass(frozen=True)
class PngsInMemory:
    """Gives PNG files that are in memory."""

    files: Sequence[bytes]

    def __call__(self, row: int) -> bytes:
        return self.files[row]

    def name(self, row: int) -> str:
        return f"image {row}"


def files_of_layout(layout: str, manifest: Mapping[str, Any]) -> list[str]:
    """Return the layout's files in their order; of "folder", which has many, none.

    Raises:
        IntegrityError: they are not numbered as latentpath does it.
    """
    kind = WRITERS[layout]
    if not kind.sharded:
        return [kind.default_file] if kind.default_file else []
    top = kind.default_file.split("/")[0]
    names = sorted(name for name in manifest["files"] if name.startswith(f"{top}/"))
    if names != [kind.file_of(number, len(names)) for number in range(len(names))] or not names:
        raise IntegrityError(
            expected="the same samples in all layouts of the set",
            got=f"{layout} files of other names",
            fix="write the set again",
        )
    return names


def read_shards(folder: Path, names: Sequence[str]) -> WrittenSamples:
    """Return the samples of WebDataset shards, in their order.

    Raises:
        One of UNREADABLE_SAMPLES: other files.
    """
    places: list[tuple[str, int, int]] = []
    rows: list[dict[str, Any]] = []
    for name in names:
        with tarfile.open(folder / name, "r:") as archive:
            for member in archive:
                if member.size > _MOST_BYTES or not member.isreg():
                    raise ValueError("a member that is no sample")
                if member.name.endswith(".png"):
                    places.append((name, member.offset_data, member.size))
                elif member.name.endswith(".json"):
                    content = archive.extractfile(member)
                    rows.append(json.loads(content.read() if content else b""))
    if len(rows) != len(places):
        raise ValueError("samples without a table")
    pngs = PackedPngs(folder, places)
    return _samples(rows, pngs, pngs.name)


def read_tables(folder: Path, names: Sequence[str]) -> WrittenSamples:
    """Return the samples of Parquet files, in their order.

    Raises:
        One of UNREADABLE_SAMPLES: other files.
        MissingExtraError: pyarrow is not installed.
    """
    parquet = require_extra("pyarrow.parquet", "parquet")
    rows: list[dict[str, Any]] = []
    for name in names:
        rows += parquet.read_table(folder / name).to_pylist()
    pngs = PngsInMemory([row["image"]["bytes"] for row in rows])
    return _samples(rows, pngs, pngs.name)


def _samples(
    rows: list[dict[str, Any]], png: Callable[[int], bytes], name: Callable[[int], str]
) -> WrittenSamples:
    walks = bool(rows) and all(column in rows[0] for column in PLACE_COLUMNS)
    path, step = (_whole_numbers(rows, c) if walks else None for c in PLACE_COLUMNS)
    return WrittenSamples(_whole_numbers(rows, "label"), path, step, png, name)


def _whole_numbers(rows: list[dict[str, Any]], key: str) -> list[int]:
    values = [row[key] for row in rows]
    if not all(type(value) is int and abs(value) < 2**62 for value in values):
        raise ValueError("a table with other entries than numbers")
    return values
