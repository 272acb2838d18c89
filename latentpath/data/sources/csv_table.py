"""Tables of images: a CSV file that says which class and which person each image shows."""

from __future__ import annotations

import csv
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from latentpath.core import DataError
from latentpath.data.sources.file_search import inside
from latentpath.data.sources.name_disclosure import named

# Behind the closing quote of a cell; a quote that is doubled stands in one.
_SPACES_BEHIND_QUOTE = re.compile(r'(?<!")" +(?=[,;\t\r\n]|$)')


class Table:
    """A CSV file with a header, its columns chosen.

    The separator may be a comma, a semicolon or a tab, spaces around cells and names do not count,
    nor do rows without anything in them, and the encoding is UTF-8.

    Args:
        path: the file.
        columns: names of the columns to read. The first holds images; the others' cells must not be
            empty.

    Raises:
        DataError: it cannot be read, a column is missing, rows have gaps, or there are no rows.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.lines: list[int] = []
        self.rows: list[list[str]] = []
        for line, row in _read_columns(path, columns):
            self.lines.append(line)
            self.rows.append(row)
        if not self.rows:
            raise DataError(
                expected="at least one image in the table", got="no rows", fix="check the file"
            )

    def column(self, number: int) -> list[str]:
        """Return the cells of a column, by its number among those chosen."""
        return [row[number] for row in self.rows]


def find_table(path: str | Path, root: Path) -> Path:
    """Return a table's path; a relative one is looked for here, then in the data folder."""
    table = Path(path)
    if not table.is_absolute() and not table.exists():
        table = root / table
    return table


def resolve_images(
    root: Path, table: Table, candidates: Sequence[str], *, keep_absent: bool = False
) -> list[str]:
    """Return the file that each row of a table means.

    A cell is a path relative to the data folder; where there is none such, the path without its
    ending, or, for a cell without slashes, the name of a file in any folder, with or without its
    ending.

    Args:
        root: the data folder.
        table: its first column names images.
        candidates: the files of the data folder that may be meant.
        keep_absent: return cells that name no file as they are, unless none names one.

    Raises:
        DataError: a cell names no file, or several, or one outside of the folder, or two rows name
            the same.
    """
    cells, known = table.column(0), set(candidates)
    by_name: dict[str, set[str]] | None = None
    files: list[str] = []
    absent: list[int] = []
    for row, cell in enumerate(cells):
        path = inside(root, cell, f"line {table.lines[row]} of the table")
        if path not in known and not os.path.lexists(root / path):
            by_name = by_name if by_name is not None else _short_names(candidates)
            meant = by_name.get(path, set())
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
        first = named(cells[absent[0]], f"in line {table.lines[absent[0]]}")
        raise DataError(
            expected="every image of the table in the data folder",
            got=f"{len(absent)} of {len(cells)} absent, the first is {first}",
            fix="check the data folder and the column of paths",
        )
    _refuse_repeats(files, table)
    return files


def _refuse_repeats(files: list[str], table: Table) -> None:
    twice = {file for file, count in Counter(files).items() if count > 1}
    if twice:
        row = next(row for row, file in enumerate(files) if file in twice)
        raise DataError(
            expected="each image once",
            got=f"{len(twice)} images in several rows of the table, the first is "
            + named(files[row], f"in line {table.lines[row]}"),
            fix="keep one row per image (several labels per image are not supported)",
        )


def _short_names(candidates: Sequence[str]) -> dict[str, set[str]]:
    """Return the files that each short form of a name may mean."""
    meant: dict[str, set[str]] = defaultdict(set)
    for file in candidates:
        path = PurePosixPath(file)
        for name in (path.with_suffix("").as_posix(), path.name, path.stem):
            meant[name].add(file)
    return meant


def _read_columns(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, cells of the wanted columns) of every row."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            header = stream.readline()
            stream.seek(0)
            separator = next((s for s in ",;\t" if columns[0] in _cells(header, s)), ",")
            text = (_SPACES_BEHIND_QUOTE.sub('"', line) for line in stream)
            reader = csv.reader(text, delimiter=separator, strict=True, skipinitialspace=True)
            names = [name.strip() for name in next(reader, [])]
            places = [_column_place(names, column) for column in columns]
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield reader.line_num, _row(reader.line_num, names, cells, places, columns)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            expected="a table as CSV text in UTF-8",
            got=str(error),
            fix="save it again as CSV with the encoding UTF-8",
        ) from error
    except OSError as error:
        raise DataError(
            expected="a CSV file that can be opened",
            got=f"{named(path, 'one that cannot')} ({error.strerror})",
            fix="check the path",
        ) from error


def _cells(line: str, separator: str) -> list[str]:
    cells = next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    return [cell.strip() for cell in cells]


def _column_place(names: list[str], column: str) -> int:
    if names.count(column) != 1:
        # The first line of a table without a header is a patient.
        among = named(", ".join(names), f"{len(names)}")
        raise DataError(
            expected=f"one column {column!r} in the table",
            got=f"{names.count(column)} among the columns {among}",
            fix="name the column to use; --verbose shows those that the table has",
        )
    return names.index(column)


def _row(
    line: int, names: list[str], cells: list[str], places: list[int], columns: Sequence[str]
) -> list[str]:
    if len(cells) != len(names):
        raise DataError(
            expected=f"{len(names)} cells in each row of the table",
            got=f"{len(cells)} in line {line}",
            fix="quote cells that hold the separator",
        )
    chosen = [cells[place].strip() for place in places]
    for column, cell in zip(columns[1:], chosen[1:], strict=True):
        # "none" and "NA" are sensible class names; "nan" is what a table program writes for a gap.
        if cell.lower() in ("", "nan"):
            raise DataError(
                expected=f"a value in every row of the column {column!r} of the table",
                got=f"{cell!r} in line {line}",
                fix="fill it in or drop the row",
            )
    return chosen
