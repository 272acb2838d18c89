"""Columns of a table and arrays of an `.npz` file that tell people apart, named or not.

Where nobody named one, the values tell: whether they recur as those of people do.
"""

from __future__ import annotations

import math
import re
import zipfile
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from latentpath.core import DataError
from latentpath.data.identifier_names import may_be_people
from latentpath.data.sources.archive import (
    KNOWN_NAMES,
    SPLITS,
    USUAL_NAMES,
    array_kind,
    read_array,
    shown_name,
)
from latentpath.data.sources.csv_table import Table
from latentpath.data.sources.listing import is_nobody, number_people, people_notes, person_key
from latentpath.data.sources.name_disclosure import named
from latentpath.data.sources.people_evidence import ONE_EACH
from latentpath.data.sources.people_words import (
    is_plain_name,
    names_an_attribute,
    names_births,
    names_people,
    numbers_something,
    words_of,
)

if TYPE_CHECKING:
    from latentpath.data.sources.data_source import DataSource

# A value has a few images, and there are at least so many: few values are classes, sites or folds.
_LEAST_VALUES, _LEAST_RECURRING, _LEAST_SHARE = 4, 2, 0.25
# A tenth may be empty, or of another form.
_OF_THE_KIND = 0.8
_FEW_WORDS = 5

# Long numbers, numbers behind letters, letters behind or between digits, identifiers of machines.
_CODE = re.compile(
    r"[0-9]{5,}([.]0*)?"
    r"|(?=[^\s]*[0-9])(?=[^\s]*[^\W\d_])[\w.#/+-]{2,}"
    r"|[0-9]+(\.[0-9]+){4,}"
    r"|[^\W\d_][^\d_^]*\^[^\d]*"
)
# Of the same forms, and nobody's: dates, times, ages, sizes, measures, stages, names of files.
_NO_CODE = re.compile(
    r"(19|20)[0-9]{2}[-_./]?(0[1-9]|1[0-2])[-_./]?(0[1-9]|[12][0-9]|3[01])([T _-]?[0-9:.]*Z?)?"
    r"|[0-9]{1,2}[-_./][0-9]{1,2}[-_./](19|20)?[0-9]{2}|[0-9]{6}[.][0-9]+"
    r"|[0-9]{1,3}[YMWDymwd]|[0-9.,]+ ?x ?[0-9.,]+( ?x ?[0-9.,]+)?"
    r"|[0-9.,]+ ?(mm|cm|ml|kg|kv|kvp|ma|mas|gy|t|hz|px|%)|[0-9.]+e[+-]?[0-9]+"
    r"|[pcy]{0,2}[TNMG][0-9][a-z]?"
    r"|[0-9.,]+[-–][0-9.,]+|.*[.](png|jpe?g|tiff?|bmp|dcm)|[0-9]+:[0-9:]+",
    re.IGNORECASE,
)
# So do codes of diagnoses, unless all begin with one letter, as numbers of people do.
_DIAGNOSIS = re.compile(r"[A-Za-z][0-9]{2}([.][0-9A-Za-z]+)?")
_WHOLE = re.compile(r"[0-9]{1,9}([.]0*)?")


def recurring(values: Sequence[str], person_of: Sequence[Hashable]) -> int:
    """Return how many values, empty ones apart, stand for several people of another count."""
    others: dict[str, set[Hashable]] = {}
    for value, person in zip(values, person_of, strict=True):
        others.setdefault(value, set()).add(person)
    return sum(len(own) > 1 for value, own in others.items() if value)


def may_tell_people(
    values: Sequence[str], labels: Sequence[Hashable], person_of: Sequence[Hashable]
) -> bool:
    """Say whether values are too many to be those of a class, a site or a fold, and recur.

    Args:
        values: n cells, empty where there is none.
        labels: n classes; a value for each class says it once more.
        person_of: n people, as they are counted otherwise.
    """
    counts = Counter(value for value in values if value)
    filled = sum(counts.values())
    if len(counts) < max(_LEAST_VALUES, math.sqrt(filled)) or 2 * filled < len(values):
        return False
    if recurring(values, person_of) < _LEAST_RECURRING:
        return False
    if sum(count for count in counts.values() if count > 1) < _LEAST_SHARE * filled:
        return False
    pairs = {pair for pair in zip(values, labels, strict=True) if pair[0]}
    return len(pairs) > len(counts) or len(counts) > len(set(labels))


def are_names(values: Sequence[str], labels: Sequence[Hashable]) -> bool:
    """Say whether the values of a column of names may be people's, and not those of classes."""
    different = {value for value in values if value}
    pairs = {pair for pair in zip(values, labels, strict=True) if pair[0]}
    if len(pairs) == len(different) <= len(set(labels)):
        return False
    plain = [value for value in different if value.replace(" ", "").isalpha()]
    return not plain or may_be_people([*plain, "Meierhuber"], len(values))


def look_like_identifiers(values: Sequence[str], *, of_an_array: bool = False) -> bool:
    """Say whether values have the form of people's numbers, codes or names.

    Args:
        values: of n images, empty where there is none.
        of_an_array: take any whole numbers for such, as nothing is known of an array of them.
    """
    filled = [value for value in values if value]
    different = list(dict.fromkeys(filled))
    least = _OF_THE_KIND * len(different)
    codes = [v for v in different if _CODE.fullmatch(v) and not _NO_CODE.fullmatch(v)]
    diagnoses = [value for value in codes if _DIAGNOSIS.fullmatch(value)]
    if len({value[0] for value in diagnoses}) > 1:
        codes = [value for value in codes if value not in set(diagnoses)]
    if len(codes) >= least:
        return True
    whole = sum(_WHOLE.fullmatch(value) is not None for value in different)
    if of_an_array and whole + len(codes) >= least:
        return True
    if whole >= least and _stand_together(filled, len(different)):
        return True
    least_words = _LEAST_VALUES if of_an_array else _FEW_WORDS
    words = len(different) >= least_words and may_be_people(different, len(filled))
    return words and (of_an_array or _stand_together(filled, len(different)))


def _stand_together(values: Sequence[str], different: int) -> bool:
    """Say whether equal values are neighbours, each in one place of the table alone."""
    return sum(a != b for a, b in pairwise(values)) + 1 == different


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
            return _refused_column(repr(name), f"'{name}'", several)
        if is_likely(name, values) and may_tell_people(values, labels, people):
            by_value.append((name, several))
    if not by_value:
        return None
    name, several = by_value[0]
    if names_people(name):
        return _refused_column(repr(name), f"'{name}'", several)
    place = f"number {table.names.index(name) + 1} of {len(table.names)}"
    return _refused_column(named(name, place), named(name, "with its name"), several)


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


def _refused_column(column: str, option: str, several: int) -> DataError:
    return DataError(
        expected="a column of people, as people have several images in the table",
        got=f"none named, and a column {column} in which {several} values recur",
        fix=f"say --identity-column {option}, or {ONE_EACH} if every image shows another person",
    )


# Usual names of arrays that tell which images belong together, as scikit-learn's splitters call it.
_GROUPS = frozenset(("group", "groups", "name", "names", "who"))


def is_people_array(name: str) -> bool:
    """Say whether an array of this name tells people apart without doubt.

    >>> [is_people_array(name) for name in ("PatientID", "mrn", "patients", "ids", "study_id")]
    [True, True, True, False, False]
    """
    return name.lower() in USUAL_NAMES["people"] or (is_certain(name) and names_people(name))


def columns_of(archive: zipfile.ZipFile, keys: Iterable[str], count: int) -> dict[str, np.ndarray]:
    """Return the arrays of these names that hold a whole number or a text for each image, [n]."""
    columns = {}
    for key in keys:
        try:
            shape, dtype = array_kind(archive, key)
        except DataError:
            continue  # see `unreadable_people`
        if dtype.kind in "iufUS" and shape in ((count,), (count, 1)):
            column = read_array(archive, key).reshape(-1)
            if dtype.kind != "f" or (column == np.floor(column)).all():
                columns[key] = column
    return columns


def unreadable_people(archive: zipfile.ZipFile, keys: Iterable[str]) -> DataError | None:
    """Return why an array that is called as people's are cannot be read, if there is one."""
    for key in keys:
        try:
            array_kind(archive, key)
        except DataError as error:
            bare = key.split("_", 1)[-1] if key.startswith(SPLITS) else key
            if is_certain(bare) or is_people_array(bare):
                return error
    return None


def cells(column: np.ndarray) -> list[str]:
    """Return the values of an array as tables write them, empty where nobody is meant."""
    if column.dtype.kind == "S":
        texts = [value.decode("utf-8", "replace") for value in column.tolist()]
    elif column.dtype.kind == "U":
        texts = column.tolist()
    else:
        texts = [str(int(value)) for value in column.tolist()]
    keys = map(person_key, texts)
    return ["" if is_nobody(key) else key for key in keys]


class ArrayPeople(NamedTuple):
    """Who is on the images of an `.npz` file."""

    people: np.ndarray
    """int64 [n]."""
    counted_by: str
    """What told them apart, one of `COUNTED_BY`."""
    notes: tuple[str, ...] = ()
    """On cells that name nobody in particular."""
    doubt: DataError | None = None
    """Why they must not be counted so."""
    names: Sequence[str] | None = None
    """Cells that name them, None without."""


def people_of_arrays(
    named: Sequence[str] | None,
    others: Mapping[str, Sequence[str]],
    labels: np.ndarray,
    unreadable: DataError | None,
    *,
    asked: bool,
) -> ArrayPeople:
    """Return the people whom an array tells, else one for each image, with what speaks against it.

    Args:
        named: n cells of the array of people, None without one.
        others: cells of arrays that are used for nothing else, by their names.
        labels: [n] class of each image.
        unreadable: of `unreadable_people`.
        asked: whether the user named the array: then no other one counts.
    """
    people, notes = np.arange(len(labels)), tuple[str, ...]()
    if named is not None:
        people, notes = number_people(named), people_notes(named)
    doubt, counted_by = None, "images"
    if named is not None:
        counted_by = "identity-column" if asked else "people-array"
    if not asked:
        told = named is not None
        doubt = doubtful_array(others, labels.tolist(), people.tolist(), told=told)
        doubt = doubt or (None if told else unreadable)
    return ArrayPeople(people, counted_by, notes, doubt, named)


def doubtful_array(
    columns: Mapping[str, Sequence[str]],
    labels: Sequence[Hashable],
    people: Sequence[Hashable],
    *,
    told: bool,
) -> DataError | None:
    """Return the refusal to count people otherwise than an array that nobody named seems to.

    Args:
        columns: cells of arrays [n] that are used for nothing else, by their names.
        labels: n classes.
        people: n people, as they are counted without them.
        told: whether another array tells them: then only arrays count that are called so.
    """
    for name, values in columns.items():
        several = recurring(values, people)
        if not several:
            continue
        by_value = not told and may_tell_people(values, labels, people)
        if is_certain(name) or (by_value and is_likely(name, list(values), of_an_array=True)):
            return _refused_array(name, several)
    return None


def _refused_array(name: str, several: int) -> DataError:
    shown = name in KNOWN_NAMES or is_certain(name) or name.lower() in _GROUPS
    text = repr(name) if shown else shown_name(name)
    option = f"'{name}'" if shown or text == repr(name) else "with its name (--verbose shows it)"
    return DataError(
        expected="an array of people in the .npz file, as people have several images in it",
        got=f"none named, and an array {text} in which {several} values recur",
        fix=f"say --identity-column {option}, or {ONE_EACH} if every image shows another person",
    )


def chosen_people(names: Collection[str]) -> list[str]:
    """Return the arrays that tell people apart, those of the usual names where there are such."""
    usual = [name for name in names if name.lower() in USUAL_NAMES["people"]]
    return usual or [name for name in names if is_people_array(name)]
