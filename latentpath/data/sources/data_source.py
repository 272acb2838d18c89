"""What to read and how: the forms of data sets, and telling them apart.

Options that do not go together, or not with the form of the set, are refused.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from latentpath.core import DataError, InputError, Progress, silent
from latentpath.data.contrast import OWN_WINDOW, Window, parse_window
from latentpath.data.manifest import is_written_set
from latentpath.data.sources.archive import SPLITS
from latentpath.data.sources.array_set import list_arrays
from latentpath.data.sources.dicom import with_frames
from latentpath.data.sources.file_search import (
    FoundFiles,
    MaskedFiles,
    clutter_note,
    find_files,
    is_dicom,
    is_image,
    without_masks,
)
from latentpath.data.sources.labelled_files import (
    is_aptos,
    is_shenzhen,
    list_aptos,
    list_csv,
    list_dicom,
    list_folders,
    list_shenzhen,
)
from latentpath.data.sources.latentpath_set import list_written_set
from latentpath.data.sources.listing import Listing
from latentpath.data.sources.medmnist import is_medmnist, list_medmnist
from latentpath.data.sources.name_disclosure import named
from latentpath.data.sources.people_told import with_people
from latentpath.data.sources.stylegan_set import (
    LABELS_NAME,
    has_labels_file,
    list_stylegan_folder,
    list_stylegan_zip,
)

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
        packed = source.path.suffix.lower() == ".zip"
        raise InputError(
            expected="a CSV file of labels only with a folder",
            got="one with a file",
            fix="unpack the .zip, and give its folder" if packed else "leave out one of the two",
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
    column = source.identity_column or ""
    if source.identities is None and column.casefold() == source.label_column.casefold():
        raise InputError(
            expected="identity_column to name people, and label_column their classes",
            got=f"the column {source.label_column!r} as both: each class would be one person",
            fix="name the column of people with --identity-column, or leave it out where each "
            "image is one person",
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
    files: each patient), which is refused where people seem to have several images, for k-anonymity
    would count images instead of people."""
    identities: str | Path | None = None
    """For sets of any form, a table of people: `image_column` names each image (for an `.npz`, its
    row in the split, from 0) and `identity_column`, "identity" if None, the person."""
    split: str = "train"
    """For `.npz` files: "train", "val", "test" or "all"; where `split_column` tells splits, one of
    its values, or "all"."""
    label_names: str | None = None
    """For `.npz` files of arrays: the array of the names of labels."""
    split_column: str | None = None
    """Of a table, or of an `.npz` file of arrays: the column, or the array, that says which split
    each image is of."""
    class_folder: int | None = None
    """Depth of the folders whose names are the classes, 1 for those right in the data folder. Left
    out it is 1, and refused where the names of the folders give another reading."""
    identity_folder: int | None = None
    """Depth of the folders of which each is one person, for sets of files, tables included."""
    identity_pattern: str | None = None
    """Regular expression that finds the person in an image's path below the data folder: what its
    groups hold is the person, such as `person([0-9]+)_`."""
    one_image_per_person: bool = False
    """Whether each image is said to show another person, where names of files, folders or pictures
    look as if people had several. DICOM files of one patient stay together."""
    public_class_names: bool = False
    """Whether names of classes may look like identifiers of people: they are published."""
    findings: str | Sequence[str] = ()
    """For tables with several labels in a cell: the labels to choose (of a text, with commas
    between). Of one, images with it and
    without it are the two classes; of several, images with exactly one of them are its class."""
    label_separator: str = "auto"
    """What parts the labels of a cell; "auto" refuses cells that look like several, "none" takes
    each cell for one label."""
    synthetic: bool = False
    """Whether nobody is on the images, whoever made them: each stands for itself then, and images
    that repeat others are no doubt about people."""
    window: Window | int | str | tuple[float, float] = OWN_WINDOW
    """Which values of grey images of more than 8 bits become black and white: the number of one of
    the windows that DICOM files offer, from 1; (centre, width); "lung", "bone", "brain" or
    "abdomen" for CT (see `PRESETS`); "percentiles" of each image; or "full", the whole range of the
    bits. The number 1 shows files without a window over that range, and refuses what is
    flattened by it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))
        object.__setattr__(self, "window", parse_window(self.window))
        findings = self.findings.split(",") if isinstance(self.findings, str) else self.findings
        findings = tuple(name.strip() for name in findings if name.strip())
        object.__setattr__(self, "findings", findings)
        check_options(self)

    @property
    def contrast(self) -> Window:
        """`window` in its checked form."""
        return parse_window(self.window)

    def list(self, progress: Progress = silent) -> Listing:
        """List the images without decoding them.

        What the options leave open is part of the listing, so that all of it can be told at once.

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
        kept = MaskedFiles(found.files)
        if self.csv is None and not is_written_set(self.path):
            kept = without_masks(self.path, found.files)
        found = found._replace(files=kept.files, masks=kept.masks)
        name = detect_format(self, found.files) if self.format == "auto" else self.format
        check_format(self, name)
        listing = _FORMS[name](self, found, progress)
        if not listing.ours:
            listing = replace(
                listing, notes=(*listing.notes, *kept.notes, *clutter_note(found.clutter))
            )
        if self.synthetic:
            listing = replace(listing, synthetic=True)
        listing = replace(with_people(self, listing), public_class_names=self.public_class_names)
        listing = listing.with_sound_classes()
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
            expected="a data folder, an .npz file of arrays or a StyleGAN .zip file",
            got=f"{named(path.name, 'another file')}" + _zip_format(path),
            fix="give the folder that holds the images (unpack archives first; save volumes and "
            "other arrays as DICOM, PNG or an .npz of images and labels)",
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
    people = source.identity_column if source.identities is None else None
    return list_medmnist(source.path, source.split, source.contrast, people)


def _list_arrays(source: DataSource, found: FoundFiles, progress: Progress) -> Listing:
    return list_arrays(source)


def _list_stylegan(source: DataSource, found: FoundFiles, progress: Progress) -> Listing:
    if source.path.is_file():
        return list_stylegan_zip(source.path, source.contrast)
    return list_stylegan_folder(source.path, found.files, source.contrast)


def _list_written(source: DataSource, found: FoundFiles, progress: Progress) -> Listing:
    return list_written_set(source.path)


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
