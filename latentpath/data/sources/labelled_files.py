"""Sets whose images are files: in class folders, named by a table, or by the habits of a set."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from latentpath.core import DataError, Progress
from latentpath.data.contrast import Picture, UndecodableError
from latentpath.data.decode import read_picture
from latentpath.data.sources.chosen_split import rows_of_split
from latentpath.data.sources.class_folders import ClassFolders, list_class_folders
from latentpath.data.sources.conventions import (
    APTOS_CLASSES,
    APTOS_COLUMNS,
    APTOS_TABLE,
    list_by_last_digit,
)
from latentpath.data.sources.csv_table import Table, find_table
from latentpath.data.sources.dicom import DicomFiles
from latentpath.data.sources.dicom_patients import Patients, number_patients
from latentpath.data.sources.file_search import FoundFiles, is_dicom, is_image
from latentpath.data.sources.joined_people import people_notes, person_key
from latentpath.data.sources.listing import Listing, number_names, number_people
from latentpath.data.sources.named_images import images_below, resolve_images
from latentpath.data.sources.people_columns import people_column
from latentpath.data.sources.repeated_people import ONE_EACH
from latentpath.data.sources.several_labels import below_zero, choose_labels

if TYPE_CHECKING:
    from latentpath.data.sources.data_source import DataSource


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
    chosen = choose_labels(table.column(1), source.label_separator, source.findings, files)
    label_of = dict(zip(chosen.rows, chosen.names, strict=True))
    images = images_below(root, files, table, candidates, several_labels=several)
    splits = None if source.split_column is None else table.column(len(columns) - 1)
    of_split = rows_of_split(splits, source.split, "the column of the table")
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

    return Listing(name, files, listed.labels, listed.class_names, people, read, listed.notes)
