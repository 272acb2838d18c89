"""Columns of a table that tell people apart though nobody named them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from latentpath.core import DataError
from latentpath.data.sources.csv_table import Table
from latentpath.data.sources.name_disclosure import named
from latentpath.data.sources.people_words import (
    is_plain_name,
    names_an_attribute,
    names_births,
    names_people,
    numbers_something,
    words_of,
)
from latentpath.data.sources.recurring_values import (
    are_names,
    look_like_identifiers,
    may_tell_people,
    recurring,
)
from latentpath.data.sources.repeated_people import ONE_EACH

if TYPE_CHECKING:
    from latentpath.data.sources.data_source import DataSource

_ID = (
    r"( ?(id|ids|identifier|identity|uid|instance uid|number|nummer|no|nr|num|key|code|name|hash|"
    r"index))"
)
_PEOPLE_COLUMN = re.compile(
    r"id|ids|(anon(ymi[sz]ed)? ?)?(patient(en)?|pat|pt|person(en)?|people|subject|subj|participant|"
    r"proband(en)?|individual|identity|case|volunteer|donor|client|mrn|medical record|pid|ptid|rid|"
    rf"ssn|pseudonym)s?{_ID}?"
)
# Of what a person may have several, but no two people share: at least these images are one's.
_PARTS_COLUMN = re.compile(rf"(study|exam(ination)?|visit|accession|series|lesion|fall){_ID}+")
# Two people in so many were born on one day.
_SHARE_BORN = 0.2


def people_column(
    path: Path,
    table: Table,
    source: DataSource,
    person_of: Mapping[int, int],
    label_of: Mapping[int, str],
) -> DataError | None:
    """Return the refusal to count people as images or DICOM files tell them, against a column.

    Args:
        path: of the table.
        table: as it was read.
        source: names its columns.
        person_of: who is on the image of a row, for rows whose image is used.
        label_of: class of these rows.
    """
    own = (source.image_column.casefold(), source.label_column.casefold())
    names = [name for name in table.names
             if name and table.names.count(name) == 1 and name.casefold() not in own]  # fmt: skip
    whole = Table(path, [source.image_column, *names], gaps=True)
    rows = sorted(person_of)  # as the table has them
    people, labels = [person_of[row] for row in rows], [label_of[row] for row in rows]
    by_value = []
    for name in sorted(names, key=lambda name: not names_people(name)):
        cells = whole.column(1 + names.index(name))
        values = [cells[row] for row in rows]
        several = recurring(values, people)
        if not several:
            continue
        named_so = words_of(name) in (["name"], ["names"]) and are_names(values, labels)
        if (
            is_certain(name)
            or named_so
            or (names_births(name) and several > _SHARE_BORN * len(set(values)))
        ):
            return _refusal(repr(name), f"'{name}'", several)
        if is_likely(name, values) and may_tell_people(values, labels, people):
            by_value.append((name, several))
    if not by_value:
        return None
    name, several = by_value[0]
    if names_people(name):
        return _refusal(repr(name), f"'{name}'", several)
    place = f"number {table.names.index(name) + 1} of {len(table.names)}"
    return _refusal(named(name, place), named(name, "with its name"), several)


def is_certain(name: str) -> bool:
    """Say whether a column or array of this name numbers people, or parts of people."""
    plain = " ".join(words_of(name))
    if _PEOPLE_COLUMN.fullmatch(plain) or _PARTS_COLUMN.fullmatch(plain):
        return True
    return plain not in ("name", "names") and names_people(name) and is_plain_name(name)


def is_likely(name: str, values: list[str], *, of_an_array: bool = False) -> bool:
    """Say whether a column may tell people apart by a word in its name, or by its values."""
    if names_people(name) and (not names_an_attribute(name) or numbers_something(name)):
        return True
    return not names_an_attribute(name) and look_like_identifiers(values, of_an_array=of_an_array)


def _refusal(column: str, option: str, several: int) -> DataError:
    return DataError(
        expected="a column of people, as people have several images in the table",
        got=f"none named, and a column {column} in which {several} values recur",
        fix=f"say --identity-column {option}, or {ONE_EACH} if every image shows another person",
    )
