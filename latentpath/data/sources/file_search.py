"""Finding the files of a data folder, and keeping inside it."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

from latentpath.core import DataError
from latentpath.data.decode import EXTENSIONS
from latentpath.data.sources.clutter import is_clutter
from latentpath.data.sources.name_disclosure import and_first, named

# Files that rightly lie beside images; any other kind that is left out is mentioned.
COMPANIONS = frozenset({".csv", ".json", ".txt", ".md", ".npz", ".ini", ".db", ".xml", ".html"})
DICOM_EXTENSIONS = frozenset({".dcm", ".dicom", ".ima"})
# Endings that may be named in a message; any other "ending" may be part of a person's name.
_OTHER_KINDS = (
    *(".gif", ".webp", ".heic", ".avif", ".jp2", ".ppm", ".pgm", ".svg", ".pdf", ".mp4", ".avi"),
    *(".nii", ".nrrd", ".mha", ".mhd", ".raw", ".npy", ".mat", ".h5", ".hdf5"),
    *(".gz", ".zip", ".tar", ".rar", ".7z"),
)
_KNOWN = EXTENSIONS | COMPANIONS | DICOM_EXTENSIONS | frozenset(_OTHER_KINDS)
_MARK_PLACE, _MARK = 128, b"DICM"
# What files without that mark begin with: their meta information or one of the first elements of
# the data, in the form with or without its kind spelled out.
_NO_PREAMBLE = re.compile(
    rb"\x02\x00[\x00-\x16]\x00[A-Z]{2}|\x08\x00[\x00-\x20]\x00(?:[A-Z]{2}|[\x00-\x80]\x00\x00\x00)"
)


class FoundFiles(NamedTuple):
    """The files of a data folder."""

    files: tuple[str, ...] = ()
    """Relative to it, with forward slashes, sorted."""
    clutter: int = 0
    """Files that were skipped, see `latentpath.data.sources.clutter`."""
    masks: tuple[str, ...] = ()
    """Files that were taken out as masks of others."""


def find_files(root: Path) -> FoundFiles:
    """Return all files below `root`; clutter is counted and left out.

    Raises:
        DataError: a link to a folder, a link that leaves `root`, or a folder that cannot be listed.
    """
    files: list[str] = []
    clutter = 0
    pending = [root]
    while pending:
        folder = pending.pop()
        for entry in _entries(folder):
            path = Path(entry.path)
            if is_clutter(entry.name):
                clutter += _files_within(path)
                continue
            relative = path.relative_to(root).as_posix()
            if entry.is_symlink():
                refuse_outside_link(root, path)
            if entry.is_dir():
                if entry.is_symlink():
                    raise DataError(
                        expected="folders, not links to folders",
                        got=f"the link {named(relative, 'to one')}",
                        fix="replace it with the folder: a link would read images twice",
                    )
                pending.append(path)
            else:
                files.append(relative)
    return FoundFiles(tuple(sorted(files)), clutter)


def subfolders(root: Path) -> list[str]:
    """Return the names of the folders that a user put into a folder, sorted."""
    return [e.name for e in _entries(root) if e.is_dir() and not is_clutter(e.name)]


def _entries(folder: Path) -> list[os.DirEntry]:
    try:
        with os.scandir(folder) as scanned:
            kept = list(scanned)
    except OSError as error:
        raise DataError(
            expected="folders that can be listed",
            got=f"{named(folder.name, 'one that cannot')} ({error.strerror})",
            fix="check the path and its permissions",
        ) from error
    return sorted(kept, key=lambda entry: entry.name)


def _files_within(path: Path) -> int:
    """Return how many files a place of clutter holds, itself if it is one; links not followed."""
    if path.is_symlink() or not path.is_dir():
        return 1
    return sum(len(files) for _, _, files in os.walk(path))


def inside(root: Path, name: str, where: str) -> str:
    """Return a relative path from a table in its normal form, or refuse one that leaves `root`.

    Backslashes count as slashes, because tables often come from Windows.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    windows = PureWindowsPath(name)
    escapes = path.is_absolute() or windows.drive or windows.root or ".." in path.parts
    if escapes or "\0" in name or not path.parts:
        raise DataError(
            expected=f"a path inside the data folder in {where}",
            got=named(name, "none" if not name else "one that leaves it"),
            fix="write paths relative to the data folder, without '..'",
        )
    refuse_outside_link(root, root / path)
    return path.as_posix()


def refuse_outside_link(root: Path, path: Path) -> None:
    """Raise DataError if `path`, links followed, lies outside of `root`."""
    try:
        leaves = not path.resolve().is_relative_to(root.resolve()) or _in_a_circle(path)
    except (OSError, RuntimeError):
        # A loop of links leads nowhere; Python before 3.13 raises RuntimeError for it.
        leaves = True
    if leaves:
        name = named(path.relative_to(root).as_posix(), "")
        raise DataError(
            expected="files inside the data folder",
            got=(f"{name}, " if name else "") + "a link that leaves it",
            fix="copy the file into the folder",
        )


def _in_a_circle(path: Path) -> bool:
    """Whether a link leads back to itself, which Python from 3.13 on resolves without a word."""
    try:
        path.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False


def is_image(name: str) -> bool:
    """Say whether a file's name ends like an image that we read."""
    return PurePosixPath(name).suffix.lower() in EXTENSIONS


def is_dicom(root: Path, name: str) -> bool:
    """Say whether a file is a DICOM file, by its name or, where that says nothing, by its mark."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in DICOM_EXTENSIONS:
        return True
    if suffix in EXTENSIONS or _is_companion(PurePosixPath(name)):
        return False
    try:
        with open(root / name, "rb", opener=_open_without_waiting) as stream:
            start = stream.read(_MARK_PLACE + len(_MARK))
            return start.endswith(_MARK) or bool(_NO_PREAMBLE.match(start))
    except OSError:
        return False


def _open_without_waiting(path: str, flags: int) -> int:
    # A named pipe would keep the opening waiting for its writer.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def kinds_text(files: list[str]) -> str:
    """Return the endings of files, those that are known to be endings."""
    suffixes = {PurePosixPath(file).suffix.lower() for file in files}
    return ", ".join([*sorted(suffixes & _KNOWN), *(["others"] if suffixes - _KNOWN else [])])


def _is_companion(path: PurePosixPath) -> bool:
    # The list of a DICOM medium's content has a name without an ending.
    return path.suffix.lower() in COMPANIONS or path.name.upper() == "DICOMDIR"


def left_out_note(others: list[str], kinds: str) -> tuple[str, ...]:
    """Return a sentence on files that are left out though they are no usual companions."""
    odd = [name for name in others if not _is_companion(PurePosixPath(name))]
    if not odd:
        return ()
    return (
        f"{len(odd)} files that are not {kinds} are left out (endings: {kinds_text(odd)})"
        f"{and_first(odd[0])}",
    )
