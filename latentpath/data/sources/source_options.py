"""Options of a data source that do not go together, or not with the form of the set."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from latentpath.core import InputError
from latentpath.data.sources.name_disclosure import named
from latentpath.data.sources.npz_arrays import SPLITS

if TYPE_CHECKING:
    from latentpath.data.sources.data_source import DataSource

FORMATS = (
    "latentpath",
    "medmnist",
    "npz",
    "stylegan",
    "csv",
    "aptos",
    "shenzhen",
    "dicom",
    "folder",
)
"""Forms of data sets that can be asked for instead of being told apart."""


def check_options(source: DataSource) -> None:
    """Refuse options that do not go together."""
    if source.format not in ("auto", *FORMATS):
        raise InputError(
            expected=f"the format auto, {', '.join(FORMATS)}",
            got=repr(source.format),
            fix="choose one of them",
        )
    arrays = source.path.suffix.lower() == ".npz"
    tabled = source.csv is not None and source.split_column is not None
    if source.split not in (*SPLITS, "all") and not arrays and not tabled:
        raise InputError(
            expected="the split train, val, test or all",
            got=repr(source.split),
            fix="choose one of them, or name the column of the table (--csv) that tells splits of "
            "other names with --split-column",
        )
    if source.path.is_dir() and source.split not in ("train", "all") and not tabled:
        raise InputError(
            expected="a split only with an .npz file or a table's column of splits",
            got=f"{source.split!r} for a folder",
            fix="name the column with --split-column, or give the path of that split's folder",
        )
    if source.csv is not None and source.path.is_file():
        raise InputError(
            expected="a CSV file of labels only with a folder",
            got="one with a file",
            fix="leave out one of the two",
        )
    if source.csv is not None and source.format not in ("auto", "csv"):
        raise InputError(
            expected="a CSV file of labels only with the format csv",
            got=f"the format {source.format}",
            fix="leave out one of the two",
        )
    if source.csv is None and source.format == "csv":
        raise InputError(
            expected="a CSV file with the format csv", got="none", fix="name the CSV file too"
        )
    _check_people_options(source)


def _check_people_options(source: DataSource) -> None:
    ways = {
        "identity_column or identities": source.identity_column or source.identities,
        "identity_folder": source.identity_folder,
        "identity_pattern": source.identity_pattern,
        "one_image_per_person": source.one_image_per_person,
    }
    given = [name for name, value in ways.items() if value]
    if len(given) > 1:
        raise InputError(
            expected="one way to tell people apart", got=" and ".join(given), fix="leave out others"
        )
    for name in ("class_folder", "identity_folder"):
        depth = getattr(source, name)
        if depth is not None and depth < 1:
            raise InputError(
                expected=f"{name} of 1 or more", got=str(depth), fix="1 is the top folders"
            )
    if source.class_folder is not None and source.class_folder == source.identity_folder:
        raise InputError(
            expected="different folders of classes and of people",
            got=f"{source.class_folder} for both",
            fix="choose the depth of each",
        )
    if source.identity_pattern is not None:
        _check_pattern(source.identity_pattern)
    if (source.findings or source.label_separator != "auto") and source.csv is None:
        raise InputError(
            expected="a table with findings or a separator of labels", got="none", fix="name it"
        )
    if source.label_separator == "":
        raise InputError(expected="a separator of labels", got="''", fix="auto finds it")


def _check_pattern(pattern: str) -> None:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise InputError(
            expected="a regular expression as identity_pattern",
            got=f"{named(pattern, 'another text')} ({error})",
            fix="put what is the person in brackets, such as 'person([0-9]+)_'",
        ) from error
    if not groups:
        raise InputError(
            expected="a group in identity_pattern, which holds the person",
            got=f"{named(pattern, 'one')} without",
            fix="put what is the person in brackets, such as 'person([0-9]+)_'",
        )


def check_format(source: DataSource, name: str) -> None:
    """Refuse options that the form of the set cannot use."""
    tables = source.csv is not None or source.identities is not None or name == "aptos"
    if source.identity_column is not None and not tables and name not in ("npz", "medmnist"):
        raise InputError(
            expected="a table with the column of identities",
            got=f"the column {source.identity_column!r} and no table",
            fix="name the CSV file too, or a table of people",
        )
    if source.class_folder is not None and name not in ("folder", "dicom"):
        raise InputError(
            expected="class_folder with folders of classes",
            got=f"a set of the form {name}",
            fix="leave it out, or choose the format folder or dicom",
        )
    _check_array_names(source, name)
    wants_file = name in ("medmnist", "npz")
    if source.path.is_file() != wants_file and name != "stylegan":
        raise InputError(
            expected=f"a {'file' if wants_file else 'folder'} for the format {name}",
            got=f"a {'file' if source.path.is_file() else 'folder'}",
            fix="give the other, or another format",
        )


def _check_array_names(source: DataSource, name: str) -> None:
    given = [n for n in ("label_names", "split_column") if getattr(source, n) is not None]
    if name == "csv" and "split_column" in given:
        given.remove("split_column")
    if given and name != "npz":
        raise InputError(
            expected="label_names, the name of an array, only with an .npz file of arrays, and "
            "split_column with one or with a table of labels",
            got=f"{' and '.join(given)} for the format {name}",
            fix="leave them out",
        )
