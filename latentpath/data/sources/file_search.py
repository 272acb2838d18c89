"""Finding the files of a data folder, keeping inside it, without clutter and masks.

Clutter is what operating systems, NAS systems and programs put beside the files of a user.
Thumbnails among it are pictures of the same people once more, so that counting them would count
each of these people several times.

Masks are outlines of organs and lesions that some sets keep as pictures beside the images.
Taken for images they are people counted again, and their folder is a class of its own. A mask is
known by its name or that of its folder, and by the image of the same name elsewhere; where the
folder or a number alone says so, the pictures must look like masks, too.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

import numpy as np

from latentpath.core import DataError
from latentpath.data.contrast import UndecodableError
from latentpath.data.decode import EXTENSIONS, read_picture
from latentpath.data.sources.name_disclosure import and_first, named

# Synology, QNAP, NetApp, macOS, Windows, Linux; names without regard to case.
_NAMES = frozenset(
    {
        "@eadir",
        "#recycle",
        "#snapshot",
        "~snapshot",
        "@recycle",
        "@recently-snapshot",
        "@sharebin",
        "@tmp",
        "@synologydrive",
        "@spool",
        "__macosx",
        "__pycache__",
        "$recycle.bin",
        "recycler",
        "recycled",
        "system volume information",
        "found.000",
        "lost+found",
        "network trash folder",
        "temporary items",
        "picasaoriginals",
        "picasa.ini",
        "thumbs.db",
        "thumbs.db:encryptable",
        "ehthumbs.db",
        "ehthumbs_vista.db",
        "desktop.ini",
        "icon\r",
        "zbthumbnail.info",
    }
)
# "." begins every hidden name: .DS_Store, ._x.png, .AppleDouble, .@__thumb, .ipynb_checkpoints.
_BEGINNINGS = (".", "~$", "synophoto_", "synofile_", "synoindex_")


def is_clutter(name: str) -> bool:
    """Say whether a file or folder of this name, without its path, is none of a user's own.

    >>> [is_clutter(name) for name in ("@eaDir", "._1.png", "SYNOPHOTO_THUMB_M.jpg", "1.png")]
    [True, True, True, False]
    """
    lower = name.lower()
    return lower in _NAMES or lower.startswith(_BEGINNINGS)


def lies_in_clutter(path: str) -> bool:
    """Say whether any part of a path with forward slashes is clutter."""
    return any(is_clutter(part) for part in path.split("/") if part)


def clutter_note(count: int) -> tuple[str, ...]:
    """Return the sentence on files that were skipped, none for none."""
    if not count:
        return ()
    return (
        f"{count} files that operating systems, NAS systems and programs keep for themselves "
        "(thumbnails, hidden files, recycle bins) are skipped",
    )


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
    """Files that were skipped, see `latentpath.data.sources.file_search`."""
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


_MASK_WORDS = frozenset((
    "mask", "masks", "segmentation", "segmentations", "segmented", "seg", "segs", "groundtruth",
    "gt", "annotation", "annotations", "contour", "contours", "overlay", "overlays", "labelmap",
    "roi", "rois", "outline", "outlines", "labelstr", "labelsts",
))  # fmt: skip
# People with and without a mask on their faces are classes.
_NOT_OF_PICTURES = frozenset(("with", "without", "no", "non", "wearing", "correct", "incorrect"))
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
# At least this share of what is called a mask has an image of its name.
_PAIRED = 0.5
_LOOKED_AT, _LEVELS, _NEAR_END, _SHARE = 3, 16, 12, 0.9


class MaskedFiles(NamedTuple):
    """The files of a set without its masks."""

    files: tuple[str, ...]
    """All other files."""
    masks: tuple[str, ...] = ()
    """Those that were left out."""

    @property
    def notes(self) -> tuple[str, ...]:
        """The sentence on them, none for none."""
        if not self.masks:
            return ()
        return (
            f"{len(self.masks)} files are masks of other images, as their names say, and are left "
            "out",
        )


def without_masks(root: Path, files: Sequence[str]) -> MaskedFiles:
    """Leave out the pictures that are masks of others.

    Args:
        root: the data folder.
        files: its files.

    Raises:
        DataError: pictures in folders named as those of masks, with an image of the same name each,
            which do not look like masks.
    """
    images = [file for file in files if is_image(file)]
    called = [file for file in images if _mask_folder(file) or _cut(file) is not None]
    others = {_key(file) for file in set(images) - set(called)}
    numbers = {tuple(word for word in key if word.isdigit()) for key in others}
    paired = [file for file in called if _has_image(file, others, numbers)]
    if not paired or len(paired) < _PAIRED * len(called):
        return MaskedFiles(tuple(files))
    by_folder = [file for file in called if not any(map(str.isalpha, _cut(file) or ()))]
    if by_folder and not _look_like_masks(root, by_folder):
        raise DataError(
            expected="images alone in the data folder",
            got=f"{len(by_folder)} pictures in folders named as those of masks or overlays, for "
            f"images of the same names, that do not look like masks{and_first(by_folder[0])}",
            fix="move them out of the data folder if they show the same people once more, or "
            "rename the folder if it is a class",
        )
    left_out = set(called)
    return MaskedFiles(tuple(f for f in files if f not in left_out), tuple(called))


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)]


def _place_of_mask(words: Sequence[str]) -> int | None:
    """Return the place of the word that says mask."""
    if _NOT_OF_PICTURES & set(words):
        return None
    for place, word in enumerate(words):
        if word in _MASK_WORDS:
            return place
        if word == "truth" and place and words[place - 1] == "ground":
            return place - 1
    return None


def _mask_folder(file: str) -> bool:
    folders = PurePosixPath(file).parts[:-1]
    return any(_place_of_mask(_words(folder)) is not None for folder in folders)


def _cut(file: str) -> tuple[str, ...] | None:
    """Return the words before the one that says mask in a file's own name, if any does."""
    words = _words(PurePosixPath(file).stem)
    place = _place_of_mask(words)
    if place is None:
        return None
    return tuple(words[:place] or words[place + 1 :])


def _key(file: str) -> tuple[str, ...]:
    return tuple(_words(PurePosixPath(file).stem))


def _has_image(file: str, others: set[tuple[str, ...]], numbers: set[tuple[str, ...]]) -> bool:
    """Say whether an image has the name of a mask, or, of mask_07 and img_07, its number."""
    key = _cut(file)
    if key is None:
        return _key(file) in others
    return key in others or (all(word.isdigit() for word in key) and key in numbers)


def _look_like_masks(root: Path, files: Sequence[str]) -> bool:
    places = np.unique(np.linspace(0, len(files) - 1, _LOOKED_AT).astype(int))
    found = []
    for place in places:
        try:
            picture = read_picture(root / files[place])
        except UndecodableError:
            continue  # reading the set would not be refused for a mask
        pixels = picture.pixels
        ends = np.minimum(pixels, 255 - pixels) <= _NEAR_END
        few = len(np.unique(pixels)) <= _LEVELS or ends.mean() >= _SHARE
        found.append(few and not picture.values)  # a flattened scan is no mask
    return bool(found) and all(found)
