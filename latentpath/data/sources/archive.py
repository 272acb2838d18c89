"""Zip files from elsewhere, and `.npz` files among them, read with limits.

Members are read into memory one at a time and never unpacked to the disk, so their names cannot
lead anywhere; odd ones are refused all the same, because an archive with such names was made to
harm someone.

Of arrays nothing is unpickled and no header is believed. Rows of an array can be chosen while it is
read, so that the others never are in memory together.
"""

from __future__ import annotations

import math
import stat
import unicodedata
import zipfile
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

import numpy as np

from latentpath.core import DataError
from latentpath.data.sources.name_disclosure import detail, named

UNREADABLE = (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error)
"""What zipfile raises on damaged, encrypted (RuntimeError) or foreign archives."""

_ENCRYPTED, _SAYS_UTF8 = 0x1, 0x800


@dataclass(frozen=True)
class ArchiveLimits:
    """How large an archive may claim to be."""

    members: int = 10_000_000
    """Files in it."""
    member_bytes: int = 1 << 30
    """Bytes of one file, unpacked."""
    total_bytes: int = 1 << 42
    """Bytes of all files, unpacked: four terabytes."""
    ratio: int = 200
    """How many times its packed size a file of more than `small_bytes` may have: deflate reaches
    about 1,030, real images stay below 20."""
    small_bytes: int = 1 << 24
    """Bytes that may be packed however well."""


def open_archive(path: Path, what: str, limits: ArchiveLimits | None = None) -> zipfile.ZipFile:
    """Open a zip file and check its list of members.

    Args:
        path: the file.
        what: what it should be, for messages.
        limits: of its size.

    Raises:
        DataError: no zip file, too large, or with names, links or sizes that no honest one has.
    """
    try:
        archive = zipfile.ZipFile(path)
    except UNREADABLE as error:
        raise unreadable(what, error) from error
    try:
        _check_members(archive, what, limits or ArchiveLimits())
    except BaseException:
        archive.close()
        raise
    return archive


def member_names(archive: zipfile.ZipFile) -> dict[str, str]:
    """Return the archive's own name of each file in it, by the name that its packer meant.

    Programs on Windows may write backslashes, those on macOS and Linux UTF-8 without saying so,
    which reads as another alphabet, and macOS writes accents apart from their letters.
    """
    return {_meant_name(info): info.filename for info in archive.infolist() if not info.is_dir()}


def _meant_name(info: zipfile.ZipInfo) -> str:
    name = info.filename
    if not info.flag_bits & _SAYS_UTF8:
        with suppress(UnicodeError):  # it was no UTF-8
            name = name.encode("cp437").decode("utf-8")
    return unicodedata.normalize("NFC", name.replace("\\", "/"))


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Return a member's bytes, never more than it is listed with.

    Raises:
        ValueError: it is longer than listed.
        OSError, RuntimeError, zipfile.BadZipFile, zlib.error: it is damaged; see `UNREADABLE`.
    """
    size = archive.getinfo(name).file_size
    with archive.open(name) as stream:
        content = stream.read(size + 1)
    if len(content) != size:
        raise ValueError(f"{len(content)} bytes instead of {size}")
    return content


def unreadable(what: str, error: Exception) -> DataError:
    """Return the error for an archive that cannot be read."""
    return DataError(
        expected=what,
        got=f"a file that cannot be read as one ({detail(error)})",
        fix="copy or download it again",
    )


def _check_members(archive: zipfile.ZipFile, what: str, limits: ArchiveLimits) -> None:
    members = archive.infolist()
    if len(members) > limits.members:
        raise _refused(what, f"{len(members):,} files, more than {limits.members:,}")
    seen: set[str] = set()
    total = 0
    for number, member in enumerate(members, start=1):
        place = named(member.filename, f"member {number} of {len(members)}")
        if reason := _odd(member, seen, limits):
            raise _refused(what, f"{place}, {reason}")
        seen.add(_meant_name(member))
        total += member.file_size
    if total > limits.total_bytes:
        raise _refused(what, f"{total:,} bytes unpacked, more than {limits.total_bytes:,}")


def _odd(member: zipfile.ZipInfo, seen: set[str], limits: ArchiveLimits) -> str:
    """Return what is wrong with a member, "" for nothing."""
    name = member.filename
    path, windows = PurePosixPath(name.replace("\\", "/")), PureWindowsPath(name)
    if path.is_absolute() or windows.drive or windows.root or ".." in path.parts or not name:
        return "whose name leaves the archive"
    if _meant_name(member) in seen:
        return "a second one of its name"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "a link"
    if member.flag_bits & _ENCRYPTED:
        return "which is encrypted"
    if member.file_size > limits.member_bytes:
        return f"which unpacks to {member.file_size:,} bytes"
    large = member.file_size > limits.small_bytes
    if large and member.file_size > limits.ratio * member.compress_size:
        return f"{member.compress_size:,} bytes that unpack to {member.file_size:,}"
    return ""


def _refused(what: str, got: str) -> DataError:
    return DataError(
        expected=f"{what} without anything odd in it",
        got=got,
        fix="do not trust the file; pack the images again if it is yours",
    )


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
