"""Images with several labels: in a cell, or in a row each.

`Hernia|Infiltration` is ChestX-ray14's form, `['normal', 'scoliosis']` PadChest's, and tables of
boxes, such as VinDr-CXR's, have a row for each finding.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from latentpath.core import DataError, InputError

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
