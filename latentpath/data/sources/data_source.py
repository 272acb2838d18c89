"""What to read and how: the forms of data sets, and telling them apart."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from latentpath.core import DataError, InputError, Progress, silent
from latentpath.data.decode import UndecodableError, decode_image
from latentpath.data.manifest import is_written_set
from latentpath.data.sources.class_folders import ClassFolders, list_class_folders
from latentpath.data.sources.conventions import (
    APTOS_CLASSES,
    APTOS_COLUMNS,
    APTOS_TABLE,
    is_aptos,
    is_shenzhen,
    list_by_last_digit,
)
from latentpath.data.sources.csv_table import Table, find_table, resolve_images
from latentpath.data.sources.dicom import decode_dicom, number_patients
from latentpath.data.sources.file_search import find_files, is_dicom, is_image
from latentpath.data.sources.latentpath_set import list_written_set
from latentpath.data.sources.listing import Listing, number_names, number_people
from latentpath.data.sources.medmnist import SPLITS, list_medmnist
from latentpath.data.sources.name_disclosure import named
from latentpath.data.sources.stylegan_set import (
    LABELS_NAME,
    has_labels_file,
    list_stylegan_folder,
    list_stylegan_zip,
)

FORMATS = (
    "latentpath",
    "medmnist",
    "stylegan",
    "csv",
    "aptos",
    "shenzhen",
    "dicom",
    "folder",
)
"""Forms of data sets that can be asked for instead of being told apart."""

DEFAULT_IDENTITY_COLUMN = "identity"


@dataclass(frozen=True)
class DataSource:
    """A data set and how to read it.

    Forms, by what `path` is:

    - "latentpath": a folder that `write_image_set` wrote; it comes back as it was written;
    - "medmnist": a MedMNIST `.npz` file;
    - "stylegan": a dataset zip of StyleGAN's `dataset_tool.py`, or the same as a folder;
    - "csv": a folder of images or DICOM files, with `csv` naming their labels;
    - "aptos": a folder with APTOS 2019's `train.csv` (`id_code`, `diagnosis`);
    - "shenzhen": a folder of images whose class is the last digit of their names;
    - "dicom": a folder with one folder of DICOM files per class; a patient is an identity;
    - "folder": a folder with one folder of images per class.

    Images are 8- or 16-bit PNG, JPEG, TIFF or BMP (see `decode_image`) or DICOM (see
    `decode_dicom`). The order is that of the sorted paths, except for sets that we wrote.

    Raises:
        InputError: options that do not go together.
    """

    path: Path
    """Folder, `.npz` or `.zip` file."""
    format: str = "auto"
    """One of the forms above; "auto" tells them apart, and refuses where two are possible."""
    csv: str | Path | None = None
    """Table with a header; a relative path is looked for here, then in the data folder."""
    image_column: str = "image"
    """Its column of images: paths relative to the data folder, with or without their endings, or
    names of files alone where they are unique."""
    label_column: str = "label"
    """Its column of class names."""
    identity_column: str | None = None
    """Its column of people, or that of `identities`. Without one each image is one identity (DICOM
    files: each patient), so do name it where a person has several images, or k-anonymity counts
    images instead of people."""
    identities: str | Path | None = None
    """For sets of any form, a table of people: `image_column` names each image (for an `.npz`, its
    row in the split, from 0) and `identity_column`, "identity" if None, the person."""
    split: str = "train"
    """For `.npz` files: "train", "val", "test" or "all"."""
    window: int = 1
    """For DICOM files that offer several windows: which of them, from 1."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))
        _check_options(self)

    def list(self, progress: Progress = silent) -> Listing:
        """List the images without decoding them.

        Raises:
            DataError: the set is not of its form, or lacks labels or people.
            MissingExtraError: DICOM files without pydicom.
        """
        if not self.path.exists():
            raise DataError(
                expected="a data folder, .npz or .zip file",
                got=f"{named(self.path, 'a path')}, absent",
                fix="check the path",
            )
        name = detect_format(self) if self.format == "auto" else self.format
        _check_format(self, name)
        listing = _FORMS[name](self, progress)
        if self.identities is not None:
            people = _people_of(self, listing)
            listing = replace(listing, identities=people, nameless=frozenset())
        listing.check_classes()
        return listing


def detect_format(source: DataSource) -> str:
    """Return the form of a data set.

    Raises:
        DataError: no form, or several, are possible.
    """
    path, suffix = source.path, source.path.suffix.lower()
    if path.is_file():
        if suffix == ".npz":
            return "medmnist"
        if suffix == ".zip" and has_labels_file(path):
            return "stylegan"
        raise DataError(
            expected="a data folder, a MedMNIST .npz file or a StyleGAN .zip file",
            got=f"{named(path.name, 'another file')}" + _zip_format(path),
            fix="give the folder that holds the images (unpack archives first)",
        )
    if source.csv is not None:
        return "csv"
    if is_written_set(path):
        return "latentpath"
    if (path / LABELS_NAME).is_file():
        return "stylegan"
    if is_aptos(path):
        return "aptos"
    files = find_files(path)
    images = sum(map(is_image, files))
    scans = sum(is_dicom(path, name) for name in files)
    if images and scans:
        raise DataError(
            expected="images or DICOM files",
            got=f"{images} images and {scans} DICOM files",
            fix="choose the format 'folder' for the images or 'dicom' for the DICOM files",
        )
    if scans:
        return "dicom"
    return "shenzhen" if is_shenzhen(files) else "folder"


def _zip_format(path: Path) -> str:
    """Return what is wrong with a file that is called a zip."""
    if path.suffix.lower() != ".zip":
        return ""
    return f", a zip without {LABELS_NAME}" if zipfile.is_zipfile(path) else ", a damaged zip"


def _list_medmnist(source: DataSource, progress: Progress) -> Listing:
    return list_medmnist(source.path, source.split)


def _list_stylegan(source: DataSource, progress: Progress) -> Listing:
    if source.path.is_file():
        return list_stylegan_zip(source.path)
    return list_stylegan_folder(source.path, find_files(source.path))


def _list_written(source: DataSource, progress: Progress) -> Listing:
    return list_written_set(source.path)


def _list_class_folders(source: DataSource, progress: Progress) -> Listing:
    listed = list_class_folders(source.path, find_files(source.path))
    return _from_files("folder", source, listed, np.arange(len(listed.files)))


def _list_dicom(source: DataSource, progress: Progress) -> Listing:
    listed = list_class_folders(source.path, find_files(source.path), dicom=True)
    people, nameless = number_patients(source.path, listed.files, progress)
    return replace(_from_files("dicom", source, listed, people), nameless=nameless)


def _list_shenzhen(source: DataSource, progress: Progress) -> Listing:
    listed, people = list_by_last_digit(find_files(source.path))
    return _from_files("shenzhen", source, listed, people)


def _list_aptos(source: DataSource, progress: Progress) -> Listing:
    table = source.path / APTOS_TABLE
    image, label = APTOS_COLUMNS
    tabled = replace(source, csv=table, image_column=image, label_column=label, format="csv")
    listing = _list_csv(tabled, progress)
    if not set(listing.class_names) <= APTOS_CLASSES:
        raise DataError(
            expected=f"stages from 0 to 4 in the column {label!r} of {APTOS_TABLE}",
            got=f"{len(set(listing.class_names) - APTOS_CLASSES)} other values",
            fix="correct them, or name the table with --csv to take them as classes",
        )
    return replace(listing, format="aptos")


def _list_csv(source: DataSource, progress: Progress) -> Listing:
    """List what a table names, in the order of the paths."""
    assert source.csv is not None, "checked with the options"
    root = source.path
    own_people = source.identity_column if source.identities is None else None
    columns = [source.image_column, source.label_column, *([own_people] if own_people else [])]
    table = Table(find_table(source.csv, root), columns)
    all_files = find_files(root)
    candidates = [name for name in all_files if is_image(name) or is_dicom(root, name)]
    files = resolve_images(root, table, candidates, keep_absent=True)
    order = sorted(range(len(files)), key=files.__getitem__)
    names, labels = number_names([table.column(1)[row] for row in order])
    sorted_files = tuple(files[row] for row in order)
    people, nameless = np.arange(len(files)), frozenset[int]()
    if own_people:
        people = number_people([table.column(2)[row] for row in order])
    elif source.identities is None:
        people, nameless = _patients_among(root, sorted_files, progress)
    # A folder of test images beside that of the table is none of its business.
    folders = {file.split("/")[0] for file in files if "/" in file}
    beside = {name for name in candidates if "/" not in name or name.split("/")[0] in folders}
    unlisted = len(beside - set(files))
    note = f"{unlisted} images of the data folder are not in the table and are left out"
    notes = (note,) if unlisted else ()
    listed = ClassFolders(sorted_files, labels, names, notes)
    listing = replace(_from_files("csv", source, listed, people), nameless=nameless)
    return _with_line_numbers(listing, root, dict(zip(files, table.lines, strict=True)))


def _with_line_numbers(listing: Listing, root: Path, lines: dict[str, int]) -> Listing:
    """Return the listing with images that are absent unreadable by the line that names them."""

    def read(row: int, channels: int | None) -> np.ndarray:
        file = listing.files[row]
        if not os.path.lexists(root / file):
            raise UndecodableError(f"absent, named in line {lines[file]} of the table")
        return listing.read(row, channels)

    return replace(listing, read=read)


def _patients_among(
    root: Path, files: Sequence[str], progress: Progress
) -> tuple[np.ndarray, frozenset[int]]:
    """Return the person of each file and the rows without one; a picture is a person of its own."""
    scans = [row for row, file in enumerate(files) if is_dicom(root, file)]
    if not scans:
        return np.arange(len(files)), frozenset()
    patients, nameless = number_patients(root, [files[row] for row in scans], progress)
    patient_of = dict(zip(scans, patients.tolist(), strict=True))
    # Patients are counted from 0, pictures from -1 downwards.
    people = [patient_of.get(row, -1 - row) for row in range(len(files))]
    return number_people(people), frozenset(scans[place] for place in nameless)


def _from_files(name: str, source: DataSource, listed: ClassFolders, people: np.ndarray) -> Listing:
    """Return the listing of files that are decoded by their kind."""
    root, files = source.path, listed.files

    def read(row: int, channels: int | None) -> np.ndarray:
        path = root / files[row]
        if not is_image(files[row]) and is_dicom(root, files[row]):
            return decode_dicom(path, channels, source.window)
        return decode_image(path, channels)

    return Listing(name, files, listed.labels, listed.class_names, people, read, listed.notes)


def _people_of(source: DataSource, listing: Listing) -> np.ndarray:  # int64 [n]
    """Return the person of each image, from the table of people."""
    assert source.identities is not None, "checked by the caller"
    root = source.path if source.path.is_dir() else source.path.parent
    column = source.identity_column or DEFAULT_IDENTITY_COLUMN
    table = Table(find_table(source.identities, root), [source.image_column, column])
    person = dict(zip(_lookup_keys(source, listing, table), table.column(1), strict=True))
    if len(person) != len(table.rows):
        raise DataError(
            expected="each image once in the table of people",
            got=f"{len(table.rows)} rows for {len(person)} images",
            fix="keep one row per image",
        )
    without = [row for row, file in enumerate(listing.files) if file not in person]
    if without:
        raise DataError(
            expected="every image in the table of people",
            got=f"{len(without)} of {len(listing.files)} missing, the first is "
            f"{listing.place(without[0])}",
            fix="add a row for each of them",
        )
    return number_people([person[file] for file in listing.files])


def _lookup_keys(source: DataSource, listing: Listing, table: Table) -> Sequence[str]:
    """Return the image that each row of a table of people names."""
    if source.path.is_dir():
        return resolve_images(source.path, table, listing.files)
    cells = [cell.replace("\\", "/") for cell in table.column(0)]
    return [cell.lstrip("0") or "0" for cell in cells] if listing.format == "medmnist" else cells


def _check_options(source: DataSource) -> None:
    if source.format not in ("auto", *FORMATS):
        raise InputError(
            expected=f"the format auto, {', '.join(FORMATS)}",
            got=repr(source.format),
            fix="choose one of them",
        )
    if source.split not in (*SPLITS, "all"):
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
    if source.window < 1:
        raise InputError(
            expected="a window of 1 or more", got=str(source.window), fix="1 is the first"
        )


def _check_format(source: DataSource, name: str) -> None:
    """Refuse options that the form of the set cannot use."""
    tables = source.csv is not None or source.identities is not None or name == "aptos"
    if source.identity_column is not None and not tables:
        raise InputError(
            expected="a table with the column of identities",
            got=f"the column {source.identity_column!r} and no table",
            fix="name the CSV file too, or a table of people",
        )
    wants_file = name == "medmnist"
    if source.path.is_file() != wants_file and name != "stylegan":
        raise InputError(
            expected=f"a {'file' if wants_file else 'folder'} for the format {name}",
            got=f"a {'file' if source.path.is_file() else 'folder'}",
            fix="give the other, or another format",
        )


_FORMS = {
    "latentpath": _list_written,
    "medmnist": _list_medmnist,
    "stylegan": _list_stylegan,
    "csv": _list_csv,
    "aptos": _list_aptos,
    "shenzhen": _list_shenzhen,
    "dicom": _list_dicom,
    "folder": _list_class_folders,
}
