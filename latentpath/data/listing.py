"""Which images a data folder holds, with the class and the person of each, before any is read."""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np

from latentpath.data.decode import EXTENSIONS
from latentpath.errors import DataError

SPLIT_NAMES = frozenset({"train", "training", "val", "valid", "validation", "test", "testing"})
# Files that rightly lie beside images; any other kind that is left out is mentioned.
COMPANIONS = frozenset({".csv", ".json", ".txt", ".md", ".npz", ".ini", ".db", ".xml", ".html"})


@dataclass(frozen=True, eq=False)
class Listing:
    """A data set on disk.

    Attributes:
        root: the data folder.
        files: n paths relative to it, with forward slashes.
        labels: int64 [n], 0 .. K-1.
        class_names: K names.
        identities: int64 [n], 0 .. N-1.
        notes: what a user should know about files that were left out, one sentence each.
    """

    root: Path
    files: tuple[str, ...]
    labels: np.ndarray
    class_names: tuple[str, ...]
    identities: np.ndarray
    notes: tuple[str, ...] = ()


def list_class_folders(root: Path) -> Listing:
    """List a folder that holds one folder per class; images may lie in deeper folders.

    Files are in the order of their paths, classes in the order of their names (numbers by
    value). Each image is one identity.

    Raises:
        DataError: no images, a class without images, images outside of class folders, links out
            of the folder, or folders that look like splits instead of classes.
    """
    images, others = _find_files(root)
    loose = [file for file in images if "/" not in file]
    by_class = Counter(file.split("/")[0] for file in images if "/" in file)
    folders = [entry.name for entry in _entries(root) if entry.is_dir()]
    if not images:
        kinds = ", ".join(sorted({PurePosixPath(file).suffix or "none" for file in others}))
        raise DataError(
            expected=f"{_kinds_text()} images in one folder per class",
            got=f"files of the kinds {kinds}" if others else "no files",
            fix="check the path",
        )
    if loose:
        raise DataError(
            expected="every image inside the folder of its class",
            got=f"{len(loose)} images directly in the data folder, the first is {loose[0]!r}",
            fix="move them into class folders, or name a CSV file that holds their labels",
        )
    if {name.lower() for name in by_class} <= SPLIT_NAMES:
        raise DataError(
            expected="one folder per class",
            got=f"folders that look like splits: {', '.join(sorted(by_class))}",
            fix=f"give the path of one of them, such as {sorted(by_class)[0]!r}",
        )
    empty = [name for name in folders if name not in by_class]
    if empty:
        raise DataError(
            expected="images in every class folder",
            got=f"{len(empty)} folders without, the first is {empty[0]!r}",
            fix="remove them or add their images",
        )
    tables = [file for file in others if "/" not in file and file.endswith(".csv")]
    if len(by_class) == 1 and tables:
        raise DataError(
            expected="one folder per class",
            got=f"the one folder {images[0].split('/')[0]!r} beside {tables[0]!r}",
            fix=f"if the labels are in {tables[0]!r}, name that CSV file",
        )
    names, labels = number_names([file.split("/")[0] for file in images])
    return Listing(root, tuple(images), labels, names, np.arange(len(images)), _notes(others))


def list_csv(
    root: Path,
    table: Path,
    *,
    image_column: str = "image",
    label_column: str = "label",
    identity_column: str | None = None,
) -> Listing:
    """List the images that a CSV file names, in the order of their paths.

    The separator may be a comma, a semicolon or a tab; the encoding is UTF-8.

    Args:
        root: the folder that the paths in the table are relative to.
        table: the CSV file, with a header.
        image_column: column of paths.
        label_column: column of class names.
        identity_column: column of people; without it each image is one identity.

    Raises:
        DataError: a column is missing, cells are empty, a file is named twice or is absent, or
            a path leaves the folder.
    """
    columns = [image_column, label_column] + ([identity_column] if identity_column else [])
    rows = sorted(
        (inside(root, row[0], f"line {line} of {table.name}"), *row[1:])
        for line, row in _read_columns(table, columns)
    )
    if not rows:
        raise DataError(
            expected=f"at least one image in {table.name}", got="no rows", fix="check the file"
        )
    files = [row[0] for row in rows]
    twice = [file for file, count in Counter(files).items() if count > 1]
    if twice:
        raise DataError(
            expected="each image once",
            got=f"{len(twice)} images in several rows of {table.name}, the first is {twice[0]!r}",
            fix="keep one row per image (several labels per image are not supported)",
        )
    absent = [file for file in files if not os.path.lexists(root / file)]
    if absent:
        raise DataError(
            expected=f"every image of {table.name} in the data folder",
            got=f"{len(absent)} of {len(files)} absent, the first is {absent[0]!r}",
            fix="check the data folder and the column of paths",
        )
    names, labels = number_names([row[1] for row in rows])
    identities = number_names([row[2] for row in rows])[1] if identity_column else None
    unlisted = sorted(set(_find_files(root)[0]) - set(files))
    notes: tuple[str, ...] = ()
    if unlisted:
        notes = (
            f"{len(unlisted)} images of the data folder are not in {table.name} and are left "
            f"out, the first is {unlisted[0]!r}",
        )
    if identities is None:
        identities = np.arange(len(files))
    return Listing(root, tuple(files), labels, names, identities, notes)


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
            got=repr(name),
            fix="write paths relative to the data folder, without '..'",
        )
    _refuse_outside_link(root, root / path)
    return path.as_posix()


def number_names(names: list[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """Number names in their order (whole numbers by value): (K different names, int64 [n])."""
    different = set(names)
    if all(re.fullmatch("-?[0-9]{1,18}", name) for name in different):
        ordered = sorted(different, key=lambda name: (int(name), name))
    else:
        ordered = sorted(different)
    number = {name: index for index, name in enumerate(ordered)}
    return tuple(ordered), np.array([number[name] for name in names], dtype=np.int64)


def _read_columns(table: Path, columns: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells of the wanted columns) of every row."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            header = stream.readline()
            stream.seek(0)
            separator = next((s for s in ",;\t" if columns[0] in _cells(header, s)), ",")
            reader = csv.reader(stream, delimiter=separator, strict=True)
            names = next(reader, [])
            places = [_column_place(table, names, column) for column in columns]
            for cells in reader:
                if cells:
                    yield reader.line_num, _row(table, reader.line_num, names, cells, places)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            expected=f"{table.name} as CSV text in UTF-8",
            got=str(error),
            fix="save it again as CSV with the encoding UTF-8",
        ) from error
    except OSError as error:
        raise DataError(
            expected="a CSV file that can be opened",
            got=f"{table} ({error.strerror})",
            fix="check the path",
        ) from error


def _cells(line: str, separator: str) -> list[str]:
    return next(csv.reader([line], delimiter=separator), [])


def _column_place(table: Path, names: list[str], column: str) -> int:
    if names.count(column) != 1:
        raise DataError(
            expected=f"one column {column!r} in {table.name}",
            got=f"{names.count(column)} among the columns {', '.join(map(repr, names))}",
            fix="name the column to use",
        )
    return names.index(column)


def _row(
    table: Path, line: int, names: list[str], cells: list[str], places: list[int]
) -> list[str]:
    if len(cells) != len(names):
        raise DataError(
            expected=f"{len(names)} cells in each row of {table.name}",
            got=f"{len(cells)} in line {line}",
            fix="quote cells that hold the separator",
        )
    chosen = [cells[place].strip() for place in places]
    for place, cell in zip(places, chosen, strict=True):
        # "none" and "NA" are sensible class names; "nan" is what a table program writes for a gap.
        if cell.lower() in ("", "nan") and place != places[0]:
            raise DataError(
                expected=f"a value in every row of the column {names[place]!r} of {table.name}",
                got=f"{cell!r} in line {line}",
                fix="fill it in or drop the row",
            )
    return chosen


def _entries(folder: Path) -> list[os.DirEntry]:
    """Return what a user put into a folder, sorted: hidden and archive clutter left out."""
    try:
        with os.scandir(folder) as entries:
            kept = [e for e in entries if not e.name.startswith(".") and e.name != "__MACOSX"]
    except OSError as error:
        raise DataError(
            expected="folders that can be listed",
            got=f"{folder.name!r} ({error.strerror})",
            fix="check the path and its permissions",
        ) from error
    return sorted(kept, key=lambda entry: entry.name)


def _find_files(root: Path) -> tuple[list[str], list[str]]:
    """Return (image files, other files) below `root`, relative, in sorted order."""
    images, others = [], []
    pending = [root]
    while pending:
        folder = pending.pop()
        for entry in _entries(folder):
            path = Path(entry.path)
            relative = path.relative_to(root).as_posix()
            if entry.is_symlink():
                _refuse_outside_link(root, path)
            if entry.is_dir():
                if entry.is_symlink():
                    raise DataError(
                        expected="folders, not links to folders",
                        got=f"the link {relative!r}",
                        fix="replace it with the folder: a link would read images twice",
                    )
                pending.append(path)
            elif path.suffix.lower() in EXTENSIONS:
                images.append(relative)
            else:
                others.append(relative)
    return sorted(images), sorted(others)


def _refuse_outside_link(root: Path, path: Path) -> None:
    """Raise DataError if `path`, links followed, lies outside of `root`."""
    try:
        leaves = not path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):
        # A loop of links leads nowhere; Python before 3.13 raises RuntimeError for it.
        leaves = True
    if leaves:
        raise DataError(
            expected="files inside the data folder",
            got=f"{path.relative_to(root).as_posix()!r}, a link that leaves it",
            fix="copy the file into the folder",
        )


def _notes(others: list[str]) -> tuple[str, ...]:
    left_out = [file for file in others if PurePosixPath(file).suffix.lower() not in COMPANIONS]
    if not left_out:
        return ()
    return (
        f"{len(left_out)} files that are not {_kinds_text()} images are left out, "
        f"the first is {left_out[0]!r}",
    )


def _kinds_text() -> str:
    return "PNG, JPEG, TIFF or BMP"
