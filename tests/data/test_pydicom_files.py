"""Every file that pydicom ships: read as pydicom documents it, or refused with its sentence.

`pydicom_files.csv` holds the sentence of each file, or `read` with its number of frames. A file
that is not in it, of a later pydicom, must be one or the other too.
"""

from __future__ import annotations

import csv
import re
import warnings
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pydicom")

import pydicom.data
from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut, pixel_array

from latentpath.data.contrast import UndecodableError
from latentpath.data.sources.dicom import DicomFiles

ROOT = Path(pydicom.data.__file__).parent
NO_DICOM = {".json", ".icc", ".gz", ".dump", ".txt", ".md", ".py", ".pyc"}


def shipped():
    paths = (path for path in ROOT.rglob("*") if path.is_file())
    return sorted(path for path in paths if path.suffix not in NO_DICOM)


def documented(dataset, frame):
    """pydicom's guide on pixels: modality, view of interest, then the range of the bits."""
    pixels = pixel_array(dataset, index=frame)
    kind = dataset.PhotometricInterpretation
    if kind == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, dataset)
        return pixels / np.iinfo(pixels.dtype).max
    bits = dataset.BitsStored
    if not kind.startswith("MONOCHROME"):
        return pixels / (2**bits - 1)
    low = -(2 ** (bits - 1)) if dataset.PixelRepresentation else 0
    slope, intercept = (
        float(dataset.get(name, default))
        for name, default in (("RescaleSlope", 1), ("RescaleIntercept", 0))
    )
    values = apply_voi_lut(apply_modality_lut(pixels, dataset), dataset)
    shown = np.clip((values - low * slope - intercept) / ((2**bits - 1) * slope), 0, 1)
    return 1 - shown if kind == "MONOCHROME1" else shown


def outcome(path, files):
    """`read` with the number of frames, all compared, or the sentence."""
    try:
        first = files.read(path)
    except UndecodableError as error:
        return str(error)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path, force=True)
        frames = int(dataset.get("NumberOfFrames") or 1)
        for frame in range(frames):
            found = first if frame == 0 else files.read(path, frame)
            expected = np.floor(documented(dataset, frame) * 255 + 0.5)
            assert np.array_equal(found.pixels, expected.reshape(found.pixels.shape)), path.name
    return f"read, {frames} frames" if frames > 1 else "read"


def test_every_file():
    table = Path(__file__).with_name("pydicom_files.csv").read_text().splitlines()
    expected = {row["file"]: row["outcome"] for row in csv.DictReader(table)}
    files, paths = DicomFiles(), shipped()
    assert len(paths) > 150
    for path in paths:
        name = path.relative_to(ROOT).as_posix()
        found = outcome(path, files)
        assert not re.search(r"Error|damaged \(", found), (name, found)
        # Whether a decoder is there is the machine's affair: then it was compared with pydicom's.
        if name in expected and not (expected[name].startswith("compressed") and "read" in found):
            assert found == expected[name], name
