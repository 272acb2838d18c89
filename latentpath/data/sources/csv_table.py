"""Tables of images: a CSV file that says which class and which person each image shows."""

from __future__ import annotations

import codecs
import csv
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from latentpath.core import DataError
from latentpath.data.sources.name_disclosure import named

_LONGEST_CELL = 1 << 24
_GAPS = frozenset(("", "nan", "n/a", "#n/a", "<na>", "null", "#null!", "nat"))
# What Excel writes before the table, to tell itself the separator.
_EXCEL_SEPARATOR = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
# Behind the closing quote of a cell; a quote that is doubled stands in one.
_SPACES_BEHIND_QUOTE = re.compile(r'(?<!")" +(?=[,;\t\r\n]|$)')


class Table:
    """A CSV file with a header, its columns chosen.

    The separator may be a comma, a semicolon, a tab or a bar, spaces around cells and names do not
    count, nor do rows without anything in them, a first line such as `sep=;` names the separator,
    and the encoding is UTF-8, or UTF-16 or UTF-32 with its mark.

    Args:
        path: the file.
        columns: names of the columns to read. The first holds images; the others' cells must not be
            empty.
        gaps: let them be.

    Raises:
        DataError: it cannot be read, a column is missing, rows have gaps, or there are no rows.
    """

    def __init__(self, path: Path, columns: Sequence[str], *, gaps: bool = False) -> None:
        self.lines: list[int] = []
        self.rows: list[list[str]] = []
        rows = _read_columns(path, columns, gaps)
        self.names = next(rows)[1]
        """Of all columns."""
        for line, row in rows:
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


def _read_columns(
    path: Path, columns: Sequence[str], gaps: bool
) -> Iterator[tuple[int, list[str]]]:
    """Yield the names of all columns, then (line number, cells of the wanted columns) of a row."""
    try:
        with path.open(newline="", encoding=_encoding(path)) as stream, _long_cells():
            header = stream.readline()
            before = 0  # lines that are no part of the table
            separator = _EXCEL_SEPARATOR.fullmatch(header)
            if separator:
                before, start = 1, stream.tell()
                header = stream.readline()
                stream.seek(start)
            else:
                stream.seek(0)
            told = [separator[1]] if separator else []
            marks = (*told, *",;\t|")
            mark = next((s for s in marks if _place_of(_cells(header, s), columns[0])), ",")
            text = (_SPACES_BEHIND_QUOTE.sub('"', line) for line in stream)
            reader = csv.reader(text, delimiter=mark, strict=True, skipinitialspace=True)
            names = [name.strip() for name in next(reader, [])]
            places = [_column_place(names, column) for column in columns]
            yield before + 1, names
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    line = before + reader.line_num
                    yield line, _row(line, names, cells, places, () if gaps else columns)
    except UnicodeDecodeError as error:
        raise DataError(
            expected="a table as CSV text in UTF-8 or UTF-16",
            got=f"text in another encoding ({error.reason} at byte {error.start})",
            fix="save it again as CSV with the encoding UTF-8",
        ) from error
    except csv.Error as error:
        raise DataError(
            expected="a table as CSV text",
            got=str(error),
            fix="save it again as CSV, cells that hold separators or quotes in quotes",
        ) from error
    except OSError as error:
        raise DataError(
            expected="a CSV file that can be opened",
            got=f"{named(path, 'one that cannot')} ({error.strerror})",
            fix="check the path",
        ) from error


def _encoding(path: Path) -> str:
    """Return UTF-8, or UTF-16 or UTF-32 where the first bytes say so."""
    with path.open("rb") as stream:
        start = stream.read(4)
    if start.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if start.startswith((b"PK\3\4", b"\xd0\xcf\x11\xe0")):
        raise DataError(
            expected="a table as CSV text",
            got="a workbook of a spreadsheet program, or an archive",
            fix="save its sheet as CSV with the encoding UTF-8",
        )
    if start.removeprefix(codecs.BOM_UTF8).lstrip()[:1] in (b"{", b"["):
        raise DataError(
            expected="a table as CSV text with a header",
            got="what begins as JSON does",
            fix="write a row with image and label for each image, as CSV",
        )
    if b"\0" in start:
        raise DataError(
            expected="a table as CSV text in UTF-8",
            got="bytes of zero in it, as in UTF-16 without a mark or in a workbook",
            fix="save it again as CSV with the encoding UTF-8",
        )
    return "utf-8-sig"


@contextmanager
def _long_cells() -> Iterator[None]:
    """Let cells hold whole reports: the csv module's own limit is 131,072 characters."""
    before = csv.field_size_limit(_LONGEST_CELL)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _cells(line: str, separator: str) -> list[str]:
    cells = next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
    return [cell.strip() for cell in cells]


def _place_of(names: list[str], column: str) -> list[int]:
    """Return the places of a column: where none has its name, without regard to case."""
    places = [place for place, name in enumerate(names) if name == column]
    return places or [p for p, name in enumerate(names) if name.casefold() == column.casefold()]


# The options that name columns, by the names that these have where nothing was said.
_COLUMN_OPTIONS = {
    "image": "--image-column",
    "label": "--label-column",
    "identity": "--identity-column",
    "patient": "--identity-column",
}
_ANY_COLUMN_OPTION = "--image-column, --label-column, --identity-column or --split-column"


def _column_place(names: list[str], column: str) -> int:
    places = _place_of(names, column)
    if len(places) != 1:
        # The first line of a table without a header is a patient.
        among = named(", ".join(names), f"{len(names)} of them")
        raise DataError(
            expected=f"one column {column!r} in the table",
            got=f"{len(places) or 'none'} of this name among its columns ({among})",
            fix=f"name the column to use with {_COLUMN_OPTIONS.get(column, _ANY_COLUMN_OPTION)}; "
            "--verbose shows those that the table has",
        )
    return places[0]


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
    for column, cell in zip(columns[1:], chosen[1:], strict=bool(columns)):
        # "none" and "NA" are sensible class names; the others are what programs write for a gap.
        if cell.lower() in _GAPS:
            raise DataError(
                expected=f"a value in every row of the column {column!r} of the table",
                got=f"{cell!r} in line {line}",
                fix="fill it in or drop the row",
            )
    return chosen
