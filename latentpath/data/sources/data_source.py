"""What to read and how: the forms of data sets, and telling them apart."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from latentpath.core import DataError, Progress, silent
from latentpath.data.contrast import OWN_WINDOW, Window, parse_window
from latentpath.data.manifest import is_written_set
from latentpath.data.sources.array_set import list_arrays
from latentpath.data.sources.clutter import clutter_note
from latentpath.data.sources.conventions import (
    is_aptos,
    is_shenzhen,
)
from latentpath.data.sources.csv_table import Table, find_table
from latentpath.data.sources.file_search import FoundFiles, find_files, is_dicom, is_image
from latentpath.data.sources.frames import with_frames
from latentpath.data.sources.labelled_files import (
    list_aptos,
    list_csv,
    list_dicom,
    list_folders,
    list_shenzhen,
)
from latentpath.data.sources.latentpath_set import list_written_set
from latentpath.data.sources.listing import Listing, number_people
from latentpath.data.sources.medmnist import is_medmnist, list_medmnist
from latentpath.data.sources.name_disclosure import named
from latentpath.data.sources.named_images import resolve_images
from latentpath.data.sources.source_options import check_format, check_options
from latentpath.data.sources.stylegan_set import (
    LABELS_NAME,
    has_labels_file,
    list_stylegan_folder,
    list_stylegan_zip,
)

DEFAULT_IDENTITY_COLUMN = "identity"


@dataclass(frozen=True)
class DataSource:
    """A data set and how to read it.

    Forms, by what `path` is:

    - "latentpath": a folder that `write_image_set` wrote; it comes back as it was written;
    - "medmnist": a MedMNIST `.npz` file;
    - "npz": an `.npz` file of arrays by any names: images, labels, perhaps people, names of labels
      and splits;
    - "stylegan": a dataset zip of StyleGAN's `dataset_tool.py`, or the same as a folder;
    - "csv": a folder of images or DICOM files, with `csv` naming their labels;
    - "aptos": a folder with APTOS 2019's `train.csv` (`id_code`, `diagnosis`);
    - "shenzhen": a folder of images whose class is the last digit of their names;
    - "dicom": a folder with one folder of DICOM files per class; a patient is an identity;
    - "folder": a folder with one folder of images per class.

    Images are 8- or 16-bit PNG, JPEG, TIFF or BMP (see `read_picture`) or DICOM (see
    `DicomFiles`). The order is that of the sorted paths, except for sets that we wrote.

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
    names of files alone where they are unique. Of an `.npz` file, the array; so with the others."""
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
    """For `.npz` files: "train", "val", "test" or "all"; of arrays by other names, a value of the
    array of splits."""
    label_names: str | None = None
    """For `.npz` files of arrays: the array of the names of labels."""
    split_column: str | None = None
    """For `.npz` files of arrays: the array that says which split each image is of."""
    window: Window | int | str | tuple[float, float] = OWN_WINDOW
    """Which values of grey images of more than 8 bits become black and white: the number of one of
    the windows that DICOM files offer, from 1; (centre, width); "lung", "bone", "brain" or
    "abdomen" for CT (see `PRESETS`); "percentiles" of each image; or "full", the whole range of the
    bits. The number 1 shows files without a window over that range, and refuses what is
    flattened by it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))
        object.__setattr__(self, "window", parse_window(self.window))
        check_options(self)

    @property
    def contrast(self) -> Window:
        """`window` in its checked form."""
        return parse_window(self.window)

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
        found = find_files(self.path) if self.path.is_dir() else FoundFiles()
        name = detect_format(self, found.files) if self.format == "auto" else self.format
        check_format(self, name)
        listing = _FORMS[name](self, found, progress)
        if not listing.ours:
            listing = replace(listing, notes=(*listing.notes, *clutter_note(found.clutter)))
        if self.identities is not None:
            people = _people_of(self, listing)
            listing = replace(listing, identities=people, nameless=frozenset())
        listing.check_classes()
        return with_frames(listing, self.path, self.contrast, progress)


def detect_format(source: DataSource, files: tuple[str, ...]) -> str:
    """Return the form of a data set, `files` those of its folder.

    Raises:
        DataError: no form, or several, are possible.
    """
    path, suffix = source.path, source.path.suffix.lower()
    if path.is_file():
        if suffix == ".npz":
            return "medmnist" if is_medmnist(path) else "npz"
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


def _list_medmnist(source: DataSource, found: FoundFiles, progress: Progress) -> Listing:
    return list_medmnist(source.path, source.split, source.contrast)


def _list_arrays(source: DataSource, found: FoundFiles, progress: Progress) -> Listing:
    return list_arrays(source)


def _list_stylegan(source: DataSource, found: FoundFiles, progress: Progress) -> Listing:
    if source.path.is_file():
        return list_stylegan_zip(source.path, source.contrast)
    return list_stylegan_folder(source.path, found.files, source.contrast)


def _list_written(source: DataSource, found: FoundFiles, progress: Progress) -> Listing:
    return list_written_set(source.path)


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
        return resolve_images(source.path, table, listing.files).files
    cells = [cell.replace("\\", "/") for cell in table.column(0)]
    return (
        [cell.lstrip("0") or "0" for cell in cells]
        if listing.format in ("medmnist", "npz")
        else cells
    )


_FORMS = {
    "latentpath": _list_written,
    "medmnist": _list_medmnist,
    "npz": _list_arrays,
    "stylegan": _list_stylegan,
    "csv": list_csv,
    "aptos": list_aptos,
    "shenzhen": list_shenzhen,
    "dicom": list_dicom,
    "folder": list_folders,
}
