"""Small scans: smooth slices, ramps over the bits, and DICOM files as a scanner would send them."""

from __future__ import annotations

import warnings

import numpy as np
from PIL import Image


def slice_of(seed, low=-1000, high=1500, shape=(40, 40)):
    """A smooth CT slice in Hounsfield units, int16."""
    coarse = np.random.default_rng(seed).random((5, 5))
    smooth = Image.fromarray(coarse.astype(np.float32)).resize(
        shape[::-1], Image.Resampling.BICUBIC
    )
    scaled = np.asarray(smooth, np.float64)
    scaled = (scaled - scaled.min()) / np.ptp(scaled)
    return np.round(scaled * (high - low) + low).astype(np.int16)


def shown(values, center, width):
    """PS3.3 C.11.2.1.2.1, as the standard writes it."""
    values = values.astype(float)
    level = ((values - (center - 0.5)) / (width - 1) + 0.5) * 255
    level[values <= center - 0.5 - (width - 1) / 2] = 0
    level[values > center - 0.5 + (width - 1) / 2] = 255
    return np.floor(level + 0.5)


def ramp(bits, signed=False, shape=(16, 16)):
    """Values over the whole range of the bits, both ends included."""
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    values = np.round(np.linspace(low, high, int(np.prod(shape)))).reshape(shape)
    kind = "i" if signed else "u"
    return values.astype(f"{kind}{1 if bits <= 8 else 2}")


def levels(fraction):
    return np.floor(np.clip(fraction, 0, 1) * 255 + 0.5)


def dataset(stored, *, bits=None, signed=False, syntax=None, **elements):
    """A small image as a scanner would send it; elements of None are left out."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    syntax = syntax or ExplicitVRLittleEndian
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    data.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    allocated = stored.dtype.itemsize * 8
    data.PatientID, data.PatientName = "P1", "Miller^John"
    data.Rows, data.Columns = stored.shape[:2]
    data.SamplesPerPixel = 1 if stored.ndim == 2 else 3
    data.PhotometricInterpretation = "MONOCHROME2" if stored.ndim == 2 else "RGB"
    if stored.ndim == 3:
        data.PlanarConfiguration = 0
    data.BitsAllocated, data.BitsStored = allocated, bits or allocated
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(signed)
    order = "<" if syntax.is_little_endian else ">"
    data.PixelData = stored.astype(stored.dtype.newbyteorder(order)).tobytes()
    for name, value in elements.items():
        if value is None:
            delattr(data, name)
        else:
            setattr(data, name, value)
    return data


def save(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data.save_as(path, enforce_file_format=True)
    return path
