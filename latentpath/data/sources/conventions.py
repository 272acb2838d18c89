"""Published sets with habits of their own: Shenzhen and Montgomery chest X-rays, APTOS 2019."""

from __future__ import annotations

import csv
import re
from pathlib import Path, PurePosixPath

import numpy as np

from latentpath.core import DataError
from latentpath.data.sources.class_folders import ClassFolders
from latentpath.data.sources.file_search import is_image, left_out_note
from latentpath.data.sources.listing import IMAGE_KINDS, number_names, number_people
from latentpath.data.sources.name_disclosure import and_first

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
