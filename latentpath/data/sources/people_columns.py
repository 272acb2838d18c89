"""Columns of a table that tell people apart though nobody named them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from latentpath.core import DataError
from latentpath.data.sources.csv_table import Table
from latentpath.data.sources.repeated_people import ONE_EACH

if TYPE_CHECKING:
    from latentpath.data.sources.data_source import DataSource

_ID = (
    r"( ?(id|ids|identifier|identity|uid|instance uid|number|nummer|no|nr|num|key|code|name|hash|"
    r"index))"
)
_PEOPLE_COLUMN = re.compile(
    r"id|(anon(ymi[sz]ed)? ?)?(patient(en)?|pat|pt|person(en)?|people|subject|subj|participant|"
    r"proband(en)?|individual|identity|case|volunteer|donor|client|mrn|medical record|pid|ptid|rid|"
    rf"ssn|pseudonym)s?{_ID}?"
)
# Of what a person may have several, but no two people share: at least these images are one's.
_PARTS_COLUMN = re.compile(rf"(study|exam(ination)?|visit|accession|series|lesion|fall){_ID}+")


def people_column(
    path: Path, table: Table, source: DataSource, person_of: Mapping[int, int]
) -> DataError | None:
    """Return the refusal to count people as images or DICOM files tell them, against a column.

    Args:
        path: of the table.
        table: as it was read.
        source: names its columns.
        person_of: who is on the image of a row, for rows whose image is used.
    """
    for name in [name for kind in (_PEOPLE_COLUMN, _PARTS_COLUMN) for name in table.names
                 if kind.fullmatch(_plain(name))]:  # fmt: skip
        if table.names.count(name) > 1:
            continue
        if name in (source.image_column, source.label_column):
            continue
        people = Table(path, [source.image_column, name], gaps=True).column(1)
        others: dict[str, set[int]] = defaultdict(set)
        for row, person in person_of.items():
            others[people[row]].add(person)
        several = sum(len(own) > 1 for name, own in others.items() if name)
        if several:
            return DataError(
                expected="a column of people, as people have several images in the table",
                got=f"none named, and a column {name!r} in which {several} values recur",
                fix=f"say --identity-column '{name}', or {ONE_EACH} if every image shows another "
                "person",
            )
    return None


def _plain(name: str) -> str:
    """Return a column's name in words: PatientID, patient_id and Patient ID are one."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return re.sub(r"[\W_]+", " ", apart).strip().casefold()
