"""Arrays of an `.npz` file that tell people apart, named by somebody or not."""

from __future__ import annotations

import zipfile
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from latentpath.core import DataError
from latentpath.data.sources.joined_people import is_nobody, people_notes, person_key
from latentpath.data.sources.listing import number_people
from latentpath.data.sources.npz_arrays import (
    KNOWN_NAMES,
    SPLITS,
    USUAL_NAMES,
    array_kind,
    read_array,
    shown_name,
)
from latentpath.data.sources.people_columns import is_certain, is_likely
from latentpath.data.sources.people_words import names_people
from latentpath.data.sources.recurring_values import may_tell_people, recurring
from latentpath.data.sources.repeated_people import ONE_EACH

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
            return _refusal(name, several)
    return None


def _refusal(name: str, several: int) -> DataError:
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
