"""Tables of images: a CSV file that says which class and which person each image shows.

Images may have several labels, in a cell or in a row each. `Hernia|Infiltration` is ChestX-ray14's
form, `['normal', 'scoliosis']` PadChest's, and tables of boxes, such as VinDr-CXR's, have a row for
each finding.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from latentpath.core import DataError, InputError, joined
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
            places = _places(names, columns)
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


def _places(names: list[str], columns: Sequence[str]) -> list[int]:
    """Return the place of each column; one error names all that are absent."""
    places, absent = [], []
    for column in columns:
        try:
            places.append(_column_place(names, column))
        except DataError as error:
            absent.append(error)
    if absent:
        raise joined(absent)
    return places


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


AUTO, ONE_LABEL = "auto", "none"
# A bar parts labels wherever it stands; of the others only where all parts occur elsewhere, too.
_SURE, _LIKELY = "|", (";", ",", "+", "&", "/")
# Words and signs that part labels in a cell whose parts are all cells of their own elsewhere.
_WEAK = (" and ", " und ", " et ", " y ", " e ", " en ", " och ", " with ", "\\", " - ", " ")

# A list as programs print it.
_LIST = re.compile(r"[\[{](.*)[\]}]", re.DOTALL)
_LIST_MARK = ","

_NEGATIVE = re.compile(r"-[0-9]+([.][0-9]+)?")


class ChosenLabels(NamedTuple):
    """The class of each row that has one."""

    rows: list[int]
    """Rows of the table."""
    names: list[str]
    """Name of the class of each of them."""
    notes: tuple[str, ...] = ()
    """On rows that were left out."""


def choose_labels(
    cells: Sequence[str],
    separator: str,
    findings: Sequence[str],
    images: Sequence[str],
) -> ChosenLabels:
    """Return one class for each row.

    Args:
        cells: of the column of labels.
        separator: what parts the labels of a cell; "auto" refuses cells that look like several,
            "none" takes each cell as one label.
        findings: labels to choose. Of one, images with it and images without it are the two
            classes; of several, images with exactly one of them are its class.
        images: the image of each row; its labels are those of all its rows.

    Raises:
        DataError: several labels in a cell and no choice, or a finding that no cell has.
        InputError: findings without several labels to choose from.
    """
    if separator == AUTO and cells and all(map(_LIST.fullmatch, cells)):
        cells = [_items(cell) for cell in cells]
        listed = findings or any(_LIST_MARK in cell for cell in cells)
        parting = _Parting(_LIST_MARK if listed else "")
    else:
        parting = _parting(cells) if separator == AUTO else _Parting(separator)
    parted = [parting.labels(cell) for cell in cells]
    if not findings:
        several = sum(own != [cell] for own, cell in zip(parted, cells, strict=True))
        if several:
            raise DataError(
                expected="one label per image",
                got=f"{several} of {len(cells)} cells with several labels, parted by "
                f"{parting.mark!r}",
                fix="choose with --findings NAME (its images are one class, all others another) "
                "or --findings NAME,NAME (a class each); or name a column of one finding with "
                "--label-column; --label-separator none takes each combination for a class",
            )
        return ChosenLabels(list(range(len(cells))), list(cells))
    if parting.mark == ONE_LABEL:
        raise InputError(
            expected="--findings with cells of several labels",
            got="--label-separator none",
            fix="leave one of the two out",
        )
    labels = _joined(parted, images)
    absent = [name for name in findings if not any(name in own for own in labels)]
    if absent:
        raise DataError(
            expected="findings that the table has",
            got=f"{len(absent)} of {len(findings)} in no cell",
            fix="check their spelling, and --label-separator",
        )
    if len(findings) == 1:
        return _one_finding(labels, findings[0])
    return _several(labels, findings, images)


def _joined(labels: Sequence[list[str]], images: Sequence[str]) -> list[list[str]]:
    """Return for each row the labels of all rows of its image."""
    of_image: dict[str, list[str]] = defaultdict(list)
    for image, own in zip(images, labels, strict=True):
        of_image[image] += own
    return [of_image[image] for image in images]


def below_zero(names: Sequence[str]) -> tuple[str, ...]:
    """Return a note on labels that are no findings: in CheXpert -1.0 is "uncertain"."""
    below = sum(bool(_NEGATIVE.fullmatch(name)) for name in names)
    if not below:
        return ()
    return (
        f"{below} of the labels is below 0, which often means uncertain or absent, and is a class "
        "of its own here: leave these rows out of the table if it is none",
    )


def _one_finding(labels: Sequence[list[str]], name: str) -> ChosenLabels:
    names = [name if name in own else f"no {name}" for own in labels]
    return ChosenLabels(list(range(len(labels))), names)


def _several(
    labels: Sequence[list[str]], findings: Sequence[str], images: Sequence[str]
) -> ChosenLabels:
    chosen = [[name for name in findings if name in own] for own in labels]
    rows = [row for row, own in enumerate(chosen) if len(own) == 1]
    counts = dict(zip(images, map(len, chosen), strict=True))
    none, many = sum(not n for n in counts.values()), sum(n > 1 for n in counts.values())
    note = f"{none} images with none of the findings and {many} with several are left out"
    return ChosenLabels(rows, [chosen[row][0] for row in rows], (note,) if none or many else ())


class _Parting(NamedTuple):
    """How cells are parted into labels."""

    mark: str = ""
    """What stands between labels; "" where each cell is one."""
    single: frozenset[str] | None = None
    """If given, only cells are parted whose parts all are among these."""

    def labels(self, cell: str) -> list[str]:
        """Return the labels of a cell."""
        if self.mark in ("", ONE_LABEL):
            return [cell]
        parts = _parts(cell, self.mark)
        if self.single is None or (len(parts) > 1 and self.single.issuperset(parts)):
            return parts
        return [cell]


def _parting(cells: Sequence[str]) -> _Parting:
    """Return what parts labels in the cells, by itself."""
    if any(len(_parts(cell, _SURE)) > 1 for cell in cells):
        return _Parting(_SURE)
    for mark in _LIKELY:
        joined = [_parts(cell, mark) for cell in cells if mark in cell]
        single = {cell for cell in cells if mark not in cell}
        uses = Counter(part for own in set(map(tuple, joined)) for part in own)
        if joined and all(
            len(own) > 1 and all(part in single or uses[part] > 1 for part in own) for own in joined
        ):
            return _Parting(mark)
    for mark in (*_LIKELY, *_WEAK):
        parting = _Parting(mark, frozenset(cells))
        if any(len(parting.labels(cell)) > 1 for cell in cells):
            return parting
    return _Parting()


def _items(cell: str) -> str:
    """Return the entries of a printed list, without its brackets and quotes."""
    inner = _LIST.fullmatch(cell)
    entries = inner[1].split(_LIST_MARK) if inner else [cell]
    return _LIST_MARK.join(entry.strip().strip("'\"").strip() for entry in entries)


def _parts(cell: str, mark: str) -> list[str]:
    if not mark:
        return [cell]
    return [part.strip() for part in cell.split(mark) if part.strip()]
