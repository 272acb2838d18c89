"""Zip files from elsewhere, read with limits.

Members are read into memory one at a time and never unpacked to the disk, so their names cannot
lead anywhere; odd ones are refused all the same, because an archive with such names was made to
harm someone.
"""

from __future__ import annotations

import stat
import unicodedata
import zipfile
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

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
