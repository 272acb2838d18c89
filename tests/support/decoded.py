"""Pixels of one file, with the channels that a set would be read with."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from latentpath.data import parse_window, with_channels
from latentpath.data.decode import read_picture


def decode_image(source, channels=None) -> np.ndarray:
    """An image file, uint8 [H, W, C]."""
    return with_channels(read_picture(source).pixels, channels)


def decode_dicom(path: Path, channels=None, window=1) -> np.ndarray:
    """The first frame of a DICOM file, uint8 [H, W, C]."""
    from latentpath.data.sources.dicom import DicomFiles

    return with_channels(DicomFiles(parse_window(window)).read(path).pixels, channels)
