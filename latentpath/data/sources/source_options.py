"""Options of a data source that do not go together, or not with the form of the set."""

from __future__ import annotations

from typing import TYPE_CHECKING

from latentpath.core import InputError
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
    if source.split not in (*SPLITS, "all") and not arrays:
        raise InputError(
            expected="the split train, val, test or all",
            got=repr(source.split),
            fix="choose one of them",
        )
    if source.path.is_dir() and source.split not in ("train", "all"):
        raise InputError(
            expected="a split only with an .npz file",
            got=f"{source.split!r} for a folder",
            fix="give the path of that split's folder",
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


def check_format(source: DataSource, name: str) -> None:
    """Refuse options that the form of the set cannot use."""
    tables = source.csv is not None or source.identities is not None or name == "aptos"
    if source.identity_column is not None and not tables and name != "npz":
        raise InputError(
            expected="a table with the column of identities",
            got=f"the column {source.identity_column!r} and no table",
            fix="name the CSV file too, or a table of people",
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
    if given and name != "npz":
        raise InputError(
            expected="label_names and split_column, names of arrays, only with an .npz file of "
            "arrays",
            got=f"{' and '.join(given)} for the format {name}",
            fix="leave them out",
        )
