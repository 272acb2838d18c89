"""Arrays of an `.npz` file, read with limits: nothing is unpickled, no header is believed.

Rows of an array can be chosen while it is read, so that the others never are in memory together.
"""

from __future__ import annotations

import math
import zipfile
from typing import IO

import numpy as np

from latentpath.core import DataError
from latentpath.data.sources.archive import ArchiveLimits
from latentpath.data.sources.name_disclosure import detail, named

LIMITS = ArchiveLimits(members=1000, member_bytes=1 << 40, small_bytes=1 << 28)
SPLITS = ("train", "val", "test")
MEDMNIST_NAMES = tuple(f"{split}_{part}" for split in SPLITS for part in ("images", "labels"))
"""Arrays of the MedMNIST layout."""

USUAL_NAMES = {
    "images": ("images", "image", "imgs", "x"),
    "labels": ("labels", "label", "targets", "target", "y"),
    "people": (
        *("people", "person", "patients", "patient", "patient_ids", "patient_id"),
        *("subjects", "subject", "subject_ids", "subject_id", "identities", "identity"),
    ),
    "label names": ("label_names", "class_names", "classes"),
    "split": ("split", "splits"),
}
"""What arrays of other sets are usually called, by what they hold."""

KNOWN_NAMES = frozenset(
    [
        *MEDMNIST_NAMES,
        *(name for part in USUAL_NAMES.values() for name in part),
        *(f"{letter}_{split}" for letter in "xyXY" for split in SPLITS),
        *(f"arr_{number}" for number in range(9)),  # NumPy's own, for arrays without a name
    ]
)
"""Names that tell nothing, so that messages may quote them."""

_BLOCK_BYTES = 1 << 24
_MOST_HEADER_BYTES = 1 << 16


def array_names(archive: zipfile.ZipFile) -> tuple[str, ...]:
    """Return the names of an archive's arrays, sorted."""
    names = archive.namelist()
    return tuple(sorted(n.removesuffix(".npy") for n in names if n.endswith(".npy")))


def array_kind(archive: zipfile.ZipFile, key: str) -> tuple[tuple[int, ...], np.dtype]:
    """Return shape and dtype of an array of numbers or text.

    Raises:
        DataError: pickled objects, or a header that is damaged or claims other sizes than it has.
    """
    member = archive.getinfo(f"{key}.npy")
    try:
        with archive.open(member) as stream:
            shape, _, dtype = _header(stream)
    except ValueError as error:
        # NumPy quotes the header.
        raise _unsound(key, f"a damaged one ({detail(error)})") from error
    if dtype.hasobject:
        raise DataError(
            expected=f"numbers or texts as {shown_name(key)} in the .npz file",
            got="pickled Python objects, which could run code when they are read",
            fix="store the array as numbers or as text, array.astype(str)",
        )
    claimed = math.prod(shape) * dtype.itemsize
    if not 0 <= member.file_size - claimed <= _MOST_HEADER_BYTES:
        raise _unsound(
            key, f"a header that claims {claimed} bytes, of which it has {member.file_size}"
        )
    return shape, dtype


def read_array(archive: zipfile.ZipFile, key: str, rows: np.ndarray | None = None) -> np.ndarray:
    """Read one array.

    Args:
        archive: the `.npz` file.
        key: the array's name.
        rows: bool [n], which rows to return; None for all.

    Raises:
        DataError: see `array_kind`; or the array does not fit into memory.
    """
    array_kind(archive, key)
    try:
        with archive.open(f"{key}.npy") as stream:
            if rows is None:
                return np.lib.format.read_array(stream, allow_pickle=False)
            shape, fortran, dtype = _header(stream)
            if not fortran:
                return _chosen_rows(stream, shape, dtype, rows)
        return read_array(archive, key)[rows]
    except (ValueError, MemoryError) as error:
        raise _unsound(key, f"a damaged one ({detail(error)})") from error


def _chosen_rows(
    stream: IO[bytes], shape: tuple[int, ...], dtype: np.dtype, rows: np.ndarray
) -> np.ndarray:
    chosen = np.empty((int(rows.sum()), *shape[1:]), dtype)
    row_bytes = math.prod(shape[1:]) * dtype.itemsize
    step = max(1, _BLOCK_BYTES // max(1, row_bytes))
    filled = 0
    for start in range(0, shape[0], step):
        count = min(step, shape[0] - start)
        content = stream.read(count * row_bytes)
        if len(content) != count * row_bytes:
            raise ValueError("fewer bytes than its header claims")
        block = np.frombuffer(content, dtype).reshape(count, *shape[1:])[
            rows[start : start + count]
        ]
        chosen[filled : filled + len(block)] = block
        filled += len(block)
    return chosen


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(stream)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"version {version} of the array format")
    return readers[version](stream)


def _unsound(key: str, got: str) -> DataError:
    return DataError(
        expected=f"a sound array {shown_name(key)} in the .npz file",
        got=got,
        fix="copy or download the file again",
    )


def shown_name(key: str) -> str:
    """Return what a message calls an array: its name, unless it may be a person's."""
    return key if key in KNOWN_NAMES else named(key, "of another name")
