"""Tables with several labels in a cell, such as `Hernia|Infiltration` in ChestX-ray14."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from latentpath.core import DataError, InputError

AUTO, ONE_LABEL = "auto", "none"
# A bar parts labels wherever it stands; of the others only where all parts occur elsewhere, too.
_SURE, _LIKELY = "|", (";", ",", "+", "&", "/")

_NEGATIVE = re.compile(r"-[0-9]+([.][0-9]+)?")


class ChosenLabels(NamedTuple):
    """The class of each row that has one."""

    rows: list[int]
    """Rows of the table."""
    names: list[str]
    """Name of the class of each of them."""
    notes: tuple[str, ...] = ()
    """On rows that were left out."""


def choose_labels(cells: Sequence[str], separator: str, findings: Sequence[str]) -> ChosenLabels:
    """Return one class for each row.

    Args:
        cells: of the column of labels.
        separator: what parts the labels of a cell; "auto" refuses cells that look like several,
            "none" takes each cell as one label.
        findings: labels to choose. Of one, images with it and images without it are the two
            classes; of several, images with exactly one of them are its class.

    Raises:
        DataError: several labels in a cell and no choice, or a finding that no cell has.
        InputError: findings without several labels to choose from.
    """
    found = _separator(cells) if separator == AUTO else separator
    if not findings:
        several = 0 if found in ("", ONE_LABEL) else sum(found in cell for cell in cells)
        if several:
            raise DataError(
                expected="one label per image",
                got=f"{several} of {len(cells)} cells with several labels, parted by {found!r}",
                fix="choose with --findings NAME (its images are one class, all others another) "
                "or --findings NAME,NAME (a class each); or name a column of one finding with "
                "--label-column; --label-separator none takes each combination for a class",
            )
        return ChosenLabels(list(range(len(cells))), list(cells))
    if found == ONE_LABEL:
        raise InputError(
            expected="--findings with cells of several labels",
            got="--label-separator none",
            fix="leave one of the two out",
        )
    labels = [_parts(cell, found) for cell in cells]
    absent = [name for name in findings if not any(name in own for own in labels)]
    if absent:
        raise DataError(
            expected="findings that the table has",
            got=f"{len(absent)} of {len(findings)} in no cell",
            fix="check their spelling, and --label-separator",
        )
    return _one_finding(labels, findings[0]) if len(findings) == 1 else _several(labels, findings)


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


def _several(labels: Sequence[list[str]], findings: Sequence[str]) -> ChosenLabels:
    chosen = [[name for name in findings if name in own] for own in labels]
    rows = [row for row, own in enumerate(chosen) if len(own) == 1]
    none, many = sum(not own for own in chosen), sum(len(own) > 1 for own in chosen)
    note = f"{none} images with none of the findings and {many} with several are left out"
    return ChosenLabels(rows, [chosen[row][0] for row in rows], (note,) if none or many else ())


def _separator(cells: Sequence[str]) -> str:
    """Return what parts labels in the cells, "" where each is one label."""
    if any(len(_parts(cell, _SURE)) > 1 for cell in cells):
        return _SURE
    for mark in _LIKELY:
        joined = [_parts(cell, mark) for cell in cells if mark in cell]
        single = {cell for cell in cells if mark not in cell}
        uses = Counter(part for own in set(map(tuple, joined)) for part in own)
        if joined and all(
            len(own) > 1 and all(part in single or uses[part] > 1 for part in own) for own in joined
        ):
            return mark
    return ""


def _parts(cell: str, mark: str) -> list[str]:
    if not mark:
        return [cell]
    return [part.strip() for part in cell.split(mark) if part.strip()]
