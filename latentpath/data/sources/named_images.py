"""Which file each row of a table means, near misses included."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from latentpath.core import DataError
from latentpath.data.sources.csv_table import Table
from latentpath.data.sources.file_search import inside
from latentpath.data.sources.name_disclosure import named


class NamedImages(NamedTuple):
    """What a table's rows mean."""

    files: list[str]
    """The file of each row."""
    notes: tuple[str, ...] = ()
    """On rows that call their file a little otherwise."""


def resolve_images(
    root: Path,
    table: Table,
    candidates: Sequence[str],
    *,
    keep_absent: bool = False,
    several_labels: bool = False,
) -> NamedImages:
    """Return the file that each row of a table means.

    A cell is a path relative to the data folder; where there is none such, the path without its
    ending, or, for a cell without slashes, the name of a file in any folder, with or without its
    ending. Where that names nothing, case and the Unicode form of accents do not count, nor does
    the name of the data folder at the front of the path.

    Args:
        root: the data folder.
        table: its first column names images.
        candidates: the files of the data folder that may be meant.
        keep_absent: return cells that name no file as they are, unless none names one.
        several_labels: let rows of one image differ in the first column behind its name.

    Raises:
        DataError: a cell names no file, or several, or one outside of the folder, or rows that
            differ name the same.
    """
    cells, known = table.column(0), set(candidates)
    short, near = _Names(candidates, str), _Names(candidates, _plain_form)
    files: list[str] = []
    absent: list[int] = []
    nearly = 0
    for row, cell in enumerate(cells):
        path = inside(root, cell, f"line {table.lines[row]} of the table")
        if path not in known and not os.path.lexists(root / path):
            meant = short.meant(path)
            if not meant:
                shorter = _without_root(path, root)
                meant = near.meant(path) or (near.meant(shorter) if shorter else frozenset())
                if not meant and shorter and (root / shorter).is_dir():
                    meant = frozenset((shorter,))
                nearly += len(meant) == 1
            if len(meant) > 1:
                raise DataError(
                    expected="one file for each row of the table",
                    got=f"{len(meant)} for {named(cell, 'the image')} in line {table.lines[row]}",
                    fix="write the path relative to the data folder",
                )
            if not meant:
                absent.append(row)
            path = next(iter(meant), path)
        files.append(path)
    if absent and not (keep_absent and len(absent) < len(cells)):
        raise _all_absent(table, absent, candidates)
    _refuse_repeats([(file, row) for row, file in enumerate(files)], table, several_labels)
    note = (
        f"{nearly} of {len(cells)} images have a little other names in the table than on the disk "
        "(case, the Unicode form of accents, or the data folder's own name in front)"
    )
    return NamedImages(files, (note,) if nearly else ())


def images_below(
    root: Path,
    files: Sequence[str],
    table: Table,
    candidates: Sequence[str],
    *,
    several_labels: bool = False,
) -> list[tuple[str, int]]:
    """Return the images that rows name, each once, and the row: of a folder, all images below it.

    Args:
        root: the data folder.
        files: what each row names.
        table: the rows.
        candidates: all images.
        several_labels: as in `resolve_images`.

    Raises:
        DataError: rows that differ name the same image.
    """
    folders = {name for name in set(files).difference(candidates) if (root / name).is_dir()}
    below: dict[str, list[str]] = defaultdict(list)
    for name in candidates if folders else ():
        for parent in PurePosixPath(name).parents:
            below[parent.as_posix()].append(name)
    named_by = [
        (name, row)
        for row, file in enumerate(files)
        for name in (below[file] if file in folders and below[file] else [file])
    ]
    _refuse_repeats(named_by, table, several_labels)
    return list(dict(reversed(named_by)).items())[::-1]


class _Names:
    """Files by the short forms of their names.

    Args:
        files: paths.
        form: makes names alike that mean the same.
    """

    def __init__(self, files: Iterable[str], form: Callable[[str], str]) -> None:
        self._files, self._form = files, form

    def meant(self, name: str) -> frozenset[str]:
        """Return the files that a name may mean."""
        return frozenset(self._by_name.get(self._form(name), ()))

    @cached_property
    def _by_name(self) -> dict[str, set[str]]:
        meant: dict[str, set[str]] = defaultdict(set)
        for file in self._files:
            path = PurePosixPath(file)
            for name in (file, path.with_suffix("").as_posix(), path.name, path.stem):
                meant[self._form(name)].add(file)
        return meant


def _plain_form(name: str) -> str:
    """Return a name without regard to case and to how its accents are stored."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _without_root(path: str, root: Path) -> str:
    """Return a path without the data folder's own name, or its and its parents', in front."""
    parts, folders = PurePosixPath(path).parts, root.resolve().parts
    for count in range(1, len(parts)):
        front, own = parts[:count], folders[-count:]
        if [_plain_form(part) for part in front] == [_plain_form(part) for part in own]:
            return "/".join(parts[count:])
    return ""


def _refuse_repeats(
    named_by: Sequence[tuple[str, int]], table: Table, several_labels: bool
) -> None:
    cells_of: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for file, row in named_by:
        cells_of[file].add(tuple(table.rows[row][2 if several_labels else 1 :]))
    twice = {file for file, cells in cells_of.items() if len(cells) > 1}
    if twice:
        first, row = next((file, row) for file, row in named_by if file in twice)
        raise DataError(
            expected="each image once",
            got=f"{len(twice)} images in several rows of the table that differ, the first is "
            + named(first, f"in line {table.lines[row]}"),
            fix="keep one row per image, or, if these are several labels, choose with --findings "
            "NAME (its images are one class, all others another) or --findings NAME,NAME",
        )


def _stem(path: str) -> str:
    return _plain_form(PurePosixPath(path).with_suffix("").as_posix())


def _last(path: str) -> str:
    return _plain_form(PurePosixPath(path).name)


def _last_stem(path: str) -> str:
    return _plain_form(PurePosixPath(path).stem)


def _without_zeros(path: str) -> str:
    return re.sub(r"0+(?=[0-9])", "", _last_stem(path))


def _letters_and_digits(path: str) -> str:
    return re.sub(r"[\W_]+", "", _last_stem(path))


# What a near miss differs in, and what to do about it, from the nearest to the farthest.
_NEAR_MISSES: tuple[tuple[str, Callable[[str], str], str], ...] = (
    ("their endings", _stem, "leave the endings of files out of the column --image-column"),
    (
        "their folders",
        _last,
        "check --data: give the folder that the paths of the table begin in, or write names "
        "without folders",
    ),
    ("folders and endings", _last_stem, "write names without folders and endings"),
    (
        "leading zeros",
        _without_zeros,
        "restore the zeros, which spreadsheets drop: import the column as text",
    ),
    ("spaces and signs", _letters_and_digits, "write the names as the files have them"),
)


def _all_absent(table: Table, absent: Sequence[int], candidates: Sequence[str]) -> DataError:
    """Return the error on images that are not there, with the nearest names that are."""
    cells = [table.column(0)[row].replace("\\", "/") for row in absent]
    first = named(cells[0], f"in line {table.lines[absent[0]]}")
    got = f"{len(absent)} of {len(table.rows)} absent, the first is {first}"
    fix = "check the data folder --data and the column of paths --image-column"
    for what, form, way_out in _NEAR_MISSES:
        there = {form(file) for file in candidates}
        near = sum(form(cell) in there for cell in cells)
        if near:
            got += f"; {near} of them differ from files that are there in {what} alone"
            fix = way_out
            break
    else:
        if not candidates:
            got += "; no images are there at all"
        elif nearest := get_close_matches(_last(cells[0]), map(_last, candidates), 1, 0.0):
            shown = named(nearest[0], "")
            got += f"; the nearest name there is {shown}" if shown else ""
    return DataError(expected="every image of the table in the data folder", got=got, fix=fix)
