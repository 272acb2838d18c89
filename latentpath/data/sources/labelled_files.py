"""Sets whose images are files: in class folders, named by a table, or by the habits of a set.

Published sets with habits of their own: Shenzhen and Montgomery chest X-rays, APTOS 2019.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from latentpath.core import DataError, Progress
from latentpath.data.contrast import Picture, UndecodableError
from latentpath.data.decode import read_picture
from latentpath.data.sources.class_folders import ClassFolders, list_class_folders
from latentpath.data.sources.csv_table import (
    ONE_LABEL,
    ChosenLabels,
    Table,
    below_zero,
    choose_labels,
    find_table,
)
from latentpath.data.sources.dicom import DicomFiles
from latentpath.data.sources.dicom_file import Patients, number_patients
from latentpath.data.sources.file_search import FoundFiles, is_dicom, is_image, left_out_note
from latentpath.data.sources.listing import (
    IMAGE_KINDS,
    Listing,
    number_names,
    number_people,
    people_notes,
    person_key,
    rows_of_split,
)
from latentpath.data.sources.name_disclosure import and_first
from latentpath.data.sources.named_images import images_below, resolve_images
from latentpath.data.sources.people_columns import people_column
from latentpath.data.sources.people_evidence import ONE_EACH

if TYPE_CHECKING:
    from latentpath.data.sources.data_source import DataSource

APTOS_TABLE = "train.csv"
APTOS_COLUMNS = ("id_code", "diagnosis")
APTOS_CLASSES = frozenset("01234")

# Jaeger et al., "Two public chest X-ray datasets for computer-aided screening of pulmonary
# diseases", Quantitative Imaging in Medicine and Surgery 4 (2014): CHNCXR_0001_0.png, the last
# digit 0 for a normal lung and 1 for an abnormal one.
_SHENZHEN = re.compile(r"(?:CHN|MCU)CXR_[0-9]{4}_[01]", re.IGNORECASE)
_LAST_DIGIT = re.compile(r"(.*[^0-9])([0-9])")
_MASK = re.compile(r".*_mask", re.IGNORECASE)


def is_shenzhen(files: tuple[str, ...]) -> bool:
    """Say whether all images, masks aside, lie in one folder and have names of those sets.

    Raises:
        DataError: some of them do not, but most do.
    """
    images = [PurePosixPath(file) for file in files if is_image(file)]
    images = [path for path in images if not _MASK.fullmatch(path.stem)]
    if not images or len({path.parent for path in images}) > 1:
        return False
    named_so = sum(_SHENZHEN.fullmatch(path.stem) is not None for path in images)
    if len(images) / 2 < named_so < len(images):
        raise DataError(
            expected="names of the Shenzhen or Montgomery sets for all images, or for none",
            got=f"{named_so} of {len(images)}",
            fix="remove the others, or choose the format 'shenzhen' for classes by the last digit "
            "of names, 'folder' for classes by folders",
        )
    return named_so == len(images)


def list_by_last_digit(all_files: tuple[str, ...]) -> tuple[ClassFolders, np.ndarray]:
    """List images by the digit that their names end in; masks are left out.

    The name before the digit is the person. Classes are named by their digit.

    Returns:
        What the names say, and identities, int64 [n].

    Raises:
        DataError: no images, or names that end in no single digit.
    """
    images = [f for f in all_files if is_image(f) and not _MASK.fullmatch(PurePosixPath(f).stem)]
    if not images:
        raise DataError(
            expected=f"{IMAGE_KINDS} with the class as the last digit of their names",
            got="none",
            fix="check the path",
        )
    parts = [_LAST_DIGIT.fullmatch(PurePosixPath(file).stem) for file in images]
    odd = [file for file, part in zip(images, parts, strict=True) if part is None]
    if odd:
        raise DataError(
            expected="the class as the last digit of every image's name, such as CHNCXR_0001_0.png",
            got=f"{len(odd)} of {len(images)} names without{and_first(odd[0])}",
            fix="remove these images, or name a CSV file with labels",
        )
    names, labels = number_names([part[2] for part in parts if part])
    people = number_people([part[1].rstrip("_- ") for part in parts if part])
    kept = set(images)
    others = [file for file in all_files if file not in kept and not is_image(file)]
    notes = left_out_note(others, IMAGE_KINDS)
    return ClassFolders(tuple(images), labels, names, notes), people


def is_aptos(root: Path) -> bool:
    """Say whether a folder has the table of the APTOS 2019 Blindness Detection competition.

    `train.csv` with the columns id_code, the name of an image without its ending, and diagnosis, a
    stage of retinopathy from 0 to 4.
    """
    try:
        with (root / APTOS_TABLE).open(newline="", encoding="utf-8-sig") as stream:
            header = next(csv.reader([stream.readline(1000)], skipinitialspace=True), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        return False
    return set(APTOS_COLUMNS) <= {name.strip() for name in header}


def list_folders(source: DataSource, found: FoundFiles, progress: Progress) -> Listing:
    """List images by the folder of their class."""
    listed = list_class_folders(
        source.path,
        found,
        depth=source.class_folder,
        public_names=source.public_class_names,
    )
    return _from_files("folder", source, listed, np.arange(len(listed.files)))


def list_dicom(source: DataSource, found: FoundFiles, progress: Progress) -> Listing:
    """List DICOM files by the folder of their class; patients are people."""
    listed = list_class_folders(
        source.path,
        found,
        dicom=True,
        depth=source.class_folder,
        public_names=source.public_class_names,
    )
    patients = number_patients(source.path, listed.files, progress)
    listing = _from_files("dicom", source, listed, patients.people)
    return replace(
        listing,
        nameless=patients.nameless,
        counted_by="patients",
        person_names=patients.names,
        notes=(*listing.notes, *patients.notes),
    )


def list_shenzhen(source: DataSource, found: FoundFiles, progress: Progress) -> Listing:
    """List images by the last digit of their names."""
    listed, people = list_by_last_digit(found.files)
    return replace(_from_files("shenzhen", source, listed, people), counted_by="names")


def list_aptos(source: DataSource, found: FoundFiles, progress: Progress) -> Listing:
    """List what the table of APTOS 2019 names."""
    table = source.path / APTOS_TABLE
    image, label = APTOS_COLUMNS
    tabled = replace(source, csv=table, image_column=image, label_column=label, format="csv")
    listing = list_csv(tabled, found, progress)
    if not set(listing.class_names) <= APTOS_CLASSES:
        raise DataError(
            expected=f"stages from 0 to 4 in the column {label!r} of {APTOS_TABLE}",
            got=f"{len(set(listing.class_names) - APTOS_CLASSES)} other values",
            fix="correct them, or name the table with --csv to take them as classes",
        )
    return replace(listing, format="aptos")


def list_csv(source: DataSource, found: FoundFiles, progress: Progress) -> Listing:
    """List what a table names, in the order of the paths."""
    assert source.csv is not None, "checked with the options"
    root = source.path
    own_people = source.identity_column if source.identities is None else None
    columns = [source.image_column, source.label_column]
    columns += filter(None, (own_people, source.split_column))
    path = find_table(source.csv, root)
    table = Table(path, columns)
    candidates = [name for name in found.files if is_image(name) or is_dicom(root, name)]
    several = bool(source.findings)
    files, near = resolve_images(root, table, candidates, keep_absent=True, several_labels=several)
    chosen, unsettled = _labels_or_guess(table.column(1), source, files)
    classes_known = not unsettled
    label_of = dict(zip(chosen.rows, chosen.names, strict=True))
    images = images_below(root, files, table, candidates, several_labels=several)
    splits = None if source.split_column is None else table.column(len(columns) - 1)
    of_split = None
    try:
        of_split = rows_of_split(splits, source.split, "the column of the table")
    except DataError as error:
        unsettled += (error,)
    order = sorted(
        (file, row)
        for file, row in images
        if row in label_of and (of_split is None or of_split[row])
    )
    names, labels = number_names([label_of[row] for _, row in order])
    sorted_files = tuple(file for file, _ in order)
    if own_people:
        cells = table.column(2)
        keys = [person_key(cells[row]) for _, row in order]
        patients = Patients(number_people(keys), frozenset(), people_notes(keys), keys)
        counted_by = "identity-column"
    else:
        patients, counted_by = _patients_among(root, sorted_files, progress)
    people = patients.people
    # A folder of test images beside that of the table is none of its business.
    folders = {file.split("/")[0] for file, _ in images if "/" in file}
    beside = {name for name in candidates if "/" not in name or name.split("/")[0] in folders}
    unlisted = len(beside - {file for file, _ in images})
    note = f"{unlisted} images of the data folder are not in the table and are left out"
    again = len(files) - len(set(files))
    repeats = (
        f"{again} rows name an image that another row names, too: each is one image"
        if several
        else f"{again} rows say of their image what another row says, and are left out"
    )
    notes = (
        *near,
        *chosen.notes,
        *below_zero(names),
        *patients.notes,
        *((note,) if unlisted else ()),
        *((repeats,) if again else ()),
    )
    listing = _from_files("csv", source, ClassFolders(sorted_files, labels, names, notes), people)
    listing = replace(
        listing,
        nameless=patients.nameless,
        counted_by=counted_by,
        person_names=patients.names,
        unsettled=unsettled,
        classes_known=classes_known,
    )
    if not own_people:
        more = len(images) - len({row for _, row in images}) if counted_by == "images" else 0
        person_of = dict(zip([row for _, row in order], people.tolist(), strict=True))
        doubt = (
            _rows_of_several(more, source)
            if more
            else people_column(path, table, source, person_of, label_of)
        )
        listing = replace(listing, doubt=doubt)
    return _with_line_numbers(listing, root, {file: table.lines[row] for file, row in images})


def _labels_or_guess(
    cells: Sequence[str], source: DataSource, images: Sequence[str]
) -> tuple[ChosenLabels, tuple[DataError, ...]]:
    """The class of each row, or each cell as one, with the error that says what is open."""
    try:
        return choose_labels(cells, source.label_separator, source.findings, images), ()
    except DataError as error:
        return choose_labels(cells, ONE_LABEL, (), images), (error,)


def _rows_of_several(several: int, source: DataSource) -> DataError:
    return DataError(
        expected="every image to show another person, as nothing says who is who",
        got=f"rows of the table that name folders, with {several} images more than rows",
        fix=f"if each row is one person, say --identity-column {source.image_column!r}, if a "
        "folder above it is, --identity-folder with its depth; if every "
        f"image shows another person, say {ONE_EACH}",
    )


def _with_line_numbers(listing: Listing, root: Path, lines: dict[str, int]) -> Listing:
    """Return the listing with images that are absent unreadable by the line that names them."""

    def read(row: int) -> Picture:
        file = listing.files[row]
        if not os.path.lexists(root / file):
            raise UndecodableError(f"absent, named in line {lines[file]} of the table")
        return listing.read(row)

    return replace(listing, read=read)


def _patients_among(root: Path, files: Sequence[str], progress: Progress) -> tuple[Patients, str]:
    """Return who is on each file, and what tells people apart.

    A picture is a person of its own.
    """
    scans = [row for row, file in enumerate(files) if is_dicom(root, file)]
    if not scans:
        return Patients(np.arange(len(files)), frozenset()), "images"
    patients = number_patients(root, [files[row] for row in scans], progress)
    patient_of = dict(zip(scans, patients.people.tolist(), strict=True))
    # Patients are counted from 0, pictures from -1 downwards.
    people = [patient_of.get(row, -1 - row) for row in range(len(files))]
    nameless = frozenset(scans[place] for place in patients.nameless)
    names = dict(zip(scans, patients.names or (), strict=True))
    called = [names.get(row, "") for row in range(len(files))]
    return Patients(number_people(people), nameless, patients.notes, called), "patients"


def _from_files(name: str, source: DataSource, listed: ClassFolders, people: np.ndarray) -> Listing:
    """Return the listing of files that are decoded by their kind."""
    root, files, window = source.path, listed.files, source.contrast
    scans = DicomFiles(window)

    def read(row: int) -> Picture:
        path = root / files[row]
        if not is_image(files[row]) and is_dicom(root, files[row]):
            return scans.read(path)
        return read_picture(path, window)

    listing = Listing(name, files, listed.labels, listed.class_names, people, read, listed.notes)
    if listed.doubt is None:
        return listing
    return replace(listing, unsettled=(listed.doubt,), classes_known=False)
