"""DICOM files: their pixels, and which of them show the same patient.

Nothing but the elements listed here is read, and of these the patient's number is turned into a
row's number at once: it is neither kept nor written nor hashed, because a hash of a number that
counts up is as good as the number.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from latentpath.core import MissingExtraError, Progress, require_extra, silent
from latentpath.data.decode import (
    MAX_PIXELS,
    UndecodableError,
    check_is_file,
    to_eight_bits,
    with_channels,
)
from latentpath.data.sources.dicom_grey import grey_levels
from latentpath.data.sources.joined_people import join_people
from latentpath.data.sources.name_disclosure import detail, libraries_quiet, named

STAGE = "read patients"

_PATIENT = ("PatientID", "IssuerOfPatientID", "StudyInstanceUID")
_SHAPE = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit")
_PIXELS = (
    *_SHAPE,
    "NumberOfFrames",
    "PhotometricInterpretation",
    "PixelRepresentation",
    "PlanarConfiguration",
    "PixelData",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "RescaleSlope",
    "RescaleIntercept",
    "ModalityLUTSequence",
    "VOILUTSequence",
    "VOILUTFunction",
    "WindowCenter",
    "WindowWidth",
    *(f"{c}PaletteColorLookupTable{part}" for c in ("Red", "Green", "Blue")
      for part in ("Descriptor", "Data")),
    *(f"Segmented{c}PaletteColorLookupTableData" for c in ("Red", "Green", "Blue")),
)  # fmt: skip
_MORE_DECODERS = "pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg adds most of them"
_DEFLATED = "1.2.840.10008.1.2.1.99"


def decode_dicom(path: Path, channels: int | None = None, window: int = 1) -> np.ndarray:
    """Read the image of a DICOM file as a viewer shows it; see `grey_levels` for grey ones.

    Colour is read as RGB (YBR and palettes converted). Files with several frames are refused: which
    of them shows what matters is for their owner to say.

    Args:
        path: the file.
        channels: 1 turns colour into grey, 3 repeats grey; None keeps what the file has.
        window: which of the windows that the file offers, from 1.

    Returns:
        uint8 [H, W, C], C 1 or 3.

    Raises:
        UndecodableError: no DICOM file, damaged, without an image, with several, or packed in a way
            for which no decoder is installed.
        MissingExtraError: pydicom is not installed.
    """
    pydicom = require_extra("pydicom", "dicom")
    try:
        check_is_file(path)
        with libraries_quiet():
            dataset = _read(pydicom, path)
            _check_image(dataset)
            pixels = _eight_bits(dataset, window)
    except (UndecodableError, MissingExtraError):
        raise
    except OSError as error:
        raise UndecodableError(error.strerror or detail(error, "damaged")) from error
    except Exception as error:
        # As with pictures: hostile bytes lead to nearly anything, and messages quote them.
        raise UndecodableError(f"damaged ({detail(error)})") from error
    return with_channels(pixels if pixels.ndim == 3 else pixels[:, :, None], channels)


def number_patients(
    root: Path, files: Sequence[str], progress: Progress = silent
) -> tuple[np.ndarray, frozenset[int]]:
    """Number the patients of DICOM files in the order in which they first occur.

    Files show one patient if patient number and issuer agree, if any file has that number without
    an issuer, or if they are of one study (by the standard a study is one patient's), and so do
    files that others join: rather one patient too few than one counted twice. A file without any
    of these counts as a patient of its own, and so does one that cannot be read; to decode it will
    say why.

    Returns:
        int64 [n], and the rows whose patient nothing numbers.

    Raises:
        MissingExtraError: pydicom is not installed.
    """
    pydicom = require_extra("pydicom", "dicom")
    found: list[tuple[str, str, str]] = []
    for row, file in enumerate(files):
        patient = issuer = study = ""
        try:
            check_is_file(root / file)
            with libraries_quiet():
                header = _read(pydicom, root / file, _PATIENT)
                values = (str(header.get(name) or "").strip() for name in _PATIENT)
                patient, issuer, study = values
        except Exception:  # whatever is wrong with it, `decode_dicom` meets it again and tells
            patient = issuer = study = ""
        found.append((patient.casefold(), issuer.casefold(), study))
        progress(STAGE, row + 1, len(files), {})
    people = join_people(_patient_keys(found))
    numbered = {people[row] for row, (patient, _, _) in enumerate(found) if patient}
    nameless = (row for row in range(len(files)) if people[row] not in numbered)
    return people, frozenset(nameless)


def _patient_keys(found: Sequence[tuple[str, str, str]]) -> list[list[Hashable]]:
    """Return what joins each file with others, from its patient, issuer and study."""
    bare = {patient for patient, issuer, _ in found if not issuer}
    keys: list[list[Hashable]] = []
    for patient, issuer, study in found:
        own: list[Hashable] = [("study", study)] if study else []
        if patient:
            own.append(("patient", patient, "" if patient in bare else issuer))
        keys.append(own)
    return keys


def _read(pydicom: ModuleType, path: Path, names: tuple[str, ...] = _PIXELS) -> Any:
    """Return a dataset with the named elements."""
    reader = require_extra("pydicom.filereader", "dicom")
    try:
        meta = reader.read_file_meta_info(path)
    except pydicom.errors.InvalidDicomError as error:
        raise UndecodableError("not a DICOM file") from error
    if meta.get("TransferSyntaxUID") == _DEFLATED:
        # It would be unpacked without a limit.
        raise UndecodableError("a deflated DICOM file, which is not supported")
    header_only = "PixelData" not in names
    return pydicom.dcmread(path, stop_before_pixels=header_only, specific_tags=list(names))


def _check_image(dataset: Any) -> None:
    if "PixelData" not in dataset or "Rows" not in dataset:
        raise UndecodableError("a DICOM file without an image")
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames > 1:
        raise UndecodableError(f"{frames} frames in one DICOM file; export one file per image")
    if int(dataset.Rows) * int(dataset.Columns) > MAX_PIXELS:
        raise UndecodableError(f"more than {MAX_PIXELS:,} pixels")
    if dataset.BitsAllocated not in (8, 16) or not 1 <= dataset.BitsStored <= dataset.BitsAllocated:
        raise UndecodableError(
            f"{dataset.BitsStored} bits stored in {dataset.BitsAllocated}, neither 8- nor 16-bit"
        )
    _check_decoder(dataset.file_meta.get("TransferSyntaxUID"))


def _check_decoder(syntax: Any) -> None:
    """Refuse a compression that nothing installed can unpack."""
    if syntax is None or not syntax.is_transfer_syntax or not syntax.is_compressed:
        return
    pixels = require_extra("pydicom.pixels", "dicom")
    try:
        available = pixels.get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    if not available:
        raise UndecodableError(
            f"compressed as {_name_of(syntax)}, for which no decoder is installed "
            f"({_MORE_DECODERS})"
        )


def _name_of(syntax: Any) -> str:
    """Return the standard's name of a transfer syntax; others' may hold their makers'."""
    known = syntax is not None and syntax in require_extra("pydicom.uid", "dicom").UID_dictionary
    return syntax.name if known else named(syntax, "something unknown")


def _eight_bits(dataset: Any, window: int) -> np.ndarray:
    """Return uint8 [H, W] or [H, W, 3]."""
    pixels = require_extra("pydicom.pixels", "dicom")
    try:
        stored = _stored_values(pixels, dataset)
    except RuntimeError as error:
        name = _name_of(dataset.file_meta.get("TransferSyntaxUID"))
        raise UndecodableError(
            f"compressed as {name}, which no installed decoder can unpack: damaged, or "
            f"{detail(error, _MORE_DECODERS)}"
        ) from error
    kind = dataset.PhotometricInterpretation
    if kind in ("MONOCHROME1", "MONOCHROME2"):
        levels = grey_levels(stored, dataset, window)
        return np.floor(levels * 255.0 + 0.5).astype(np.uint8)
    if kind == "PALETTE COLOR":
        return to_eight_bits(pixels.apply_color_lut(stored, dataset))
    if stored.ndim == 3 and stored.shape[2] == 3:
        highest = 2 ** int(dataset.BitsStored) - 1
        return np.floor(np.clip(stored / highest, 0, 1) * 255.0 + 0.5).astype(np.uint8)
    raise UndecodableError("pixels that are neither grey, RGB, YBR nor of a palette")


def _stored_values(pixels: ModuleType, dataset: Any) -> np.ndarray:
    """Return the integers [H, W] or [H, W, 3] between the lowest and the highest stored bit.

    Old files keep their values at the upper end of a word, where overlays lie below them.
    """
    bits, top = int(dataset.BitsStored), int(dataset.get("HighBit", dataset.BitsStored - 1)) + 1
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    # Compressed values come without a place in a word.
    if top == bits or syntax is None or syntax.is_compressed:
        return pixels.pixel_array(dataset)
    if not bits < top <= dataset.BitsAllocated:
        raise UndecodableError(f"bit {top - 1} as the highest of {bits}")
    dataset.BitsStored = top
    try:
        return pixels.pixel_array(dataset) >> (top - bits)
    finally:
        dataset.BitsStored = bits
