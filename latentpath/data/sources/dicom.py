"""DICOM files: their pixels. Nothing but the elements listed here is read.

Of files of several frames each frame is an image, all of them of one person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from latentpath.core import MissingExtraError, Progress, require_extra, silent
from latentpath.data.contrast import (
    OWN_WINDOW,
    Picture,
    UndecodableError,
    Window,
    flattened,
    to_eight_bits,
    to_levels,
)
from latentpath.data.decode import MAX_PIXELS
from latentpath.data.sources.dicom_file import (
    FRAME_ELEMENTS,
    element,
    frame_count,
    label,
    read_elements,
    whole_number,
)
from latentpath.data.sources.dicom_grey import GROUPS, FrameElements, grey_levels
from latentpath.data.sources.file_search import is_dicom, is_image
from latentpath.data.sources.listing import Listing
from latentpath.data.sources.name_disclosure import damaged, detail, libraries_quiet, named

_SHAPE = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit")
_VALUES = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_PIXELS = (
    *_SHAPE,
    *_VALUES,
    *GROUPS,
    "Modality",
    "NumberOfFrames",
    "PhotometricInterpretation",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "PlanarConfiguration",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
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
_ONE_SAMPLE = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
_YBR = ("FULL", "FULL_422", "PARTIAL_422", "PARTIAL_420", "ICT", "RCT")
_KINDS = (*_ONE_SAMPLE, "RGB", *(f"YBR_{kind}" for kind in _YBR))
# Pixels of these show no person: to take them for images would be to take masks for scans.
_NO_PEOPLE = {
    "SEG": "a segmentation, not an image of a person",
    "RTDOSE": "a radiotherapy dose, not an image of a person",
}


class DicomFiles:
    """Reads images of DICOM files as a viewer shows them; see `grey_levels` for grey ones.

    Colour is read as RGB (YBR and palettes converted). The file that was read last is kept, so that
    its frames are read from the disk once.

    Args:
        window: what of grey values becomes black and white.
    """

    def __init__(self, window: Window = OWN_WINDOW) -> None:
        self._window = window
        self._last: tuple[Path, Any] | None = None

    def read(self, path: Path, frame: int = 0) -> Picture:
        """Return one frame, from 0.

        Raises:
            UndecodableError: no DICOM file, damaged, without an image, or packed in a way for which
                no decoder is installed; where an element is absent, its name.
            MissingExtraError: pydicom is not installed.
        """
        require_extra("pydicom", "dicom")
        try:
            with libraries_quiet():
                dataset = self._dataset(path)
                if not 0 <= frame < (frames := frame_count(dataset, path)):
                    raise UndecodableError(f"no frame {frame + 1}, only {frames}")
                return _picture(dataset, frame, self._window)
        except (UndecodableError, MissingExtraError):
            raise
        except OSError as error:
            raise UndecodableError(error.strerror or detail(error, "damaged")) from error
        except Exception as error:
            # As with pictures: hostile bytes lead to nearly anything, and messages quote them.
            raise UndecodableError(damaged(error)) from error

    def _dataset(self, path: Path) -> Any:
        if self._last is None or self._last[0] != path:
            self._last = None  # room for the next
            dataset = read_elements(path, _PIXELS)
            _check_image(dataset)
            self._last = path, dataset
        return self._last[1]


def _check_image(dataset: Any) -> None:
    modality = str(element(dataset, "Modality") or "")
    if modality in _NO_PEOPLE:
        raise UndecodableError(_NO_PEOPLE[modality])
    present = [name for name in _VALUES if name in dataset]
    if present and not any(element(dataset, name) for name in present):
        raise UndecodableError(f"the element {label(present[0])} is empty")
    if not present:
        kind = dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID")
        known = f" ({kind.name})" if _is_known(kind) else ""
        raise UndecodableError(f"a DICOM file without an image{known}")
    rows, columns = (whole_number(dataset, name, 1, 2**16 - 1) for name in ("Rows", "Columns"))
    if rows * columns > MAX_PIXELS:
        raise UndecodableError(f"more than {MAX_PIXELS:,} pixels")
    samples = whole_number(dataset, "SamplesPerPixel", 1, 3)
    _check_colours(dataset, samples)
    allocated = whole_number(dataset, "BitsAllocated", 1, 64)
    if "PixelData" in dataset:
        stored = whole_number(dataset, "BitsStored", 1, 64)
        whole_number(dataset, "PixelRepresentation", 0, 1)
        if allocated not in (1, 8, 16, 32) or stored > allocated:
            raise UndecodableError(f"{stored} bits stored in {allocated}, not 1, 8, 16 or 32")
    _check_decoder(dataset.file_meta.get("TransferSyntaxUID"))


def _check_colours(dataset: Any, samples: int) -> None:
    """Refuse a file that does not say what its samples mean."""
    kind = str(element(dataset, "PhotometricInterpretation") or "").strip().upper()
    if not kind:
        raise UndecodableError(f"the element {label('PhotometricInterpretation')} is absent")
    if kind not in _KINDS:
        raise UndecodableError(
            f"{named(kind, 'something unknown')} as {label('PhotometricInterpretation')}, not "
            f"{', '.join(_KINDS)}"
        )
    if (samples == 1) != (kind in _ONE_SAMPLE) and (samples, kind) != (3, "MONOCHROME2"):
        raise UndecodableError(f"{samples} samples per pixel of the kind {kind}")
    dataset.PhotometricInterpretation = kind
    needed = ["PlanarConfiguration"] if samples > 1 and "PixelData" in dataset else []
    if kind == "PALETTE COLOR":
        for part in (f"{colour}PaletteColorLookupTable" for colour in ("Red", "Green", "Blue")):
            packed = f"Segmented{part}Data" in dataset
            needed += [f"{part}Descriptor", f"Segmented{part}Data" if packed else f"{part}Data"]
    for name in needed:
        if element(dataset, name) is None:
            raise UndecodableError(f"the element {label(name)} is absent")


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
    return syntax.name if _is_known(syntax) else named(syntax, "something unknown")


def _is_known(uid: Any) -> bool:
    return isinstance(uid, str) and uid in require_extra("pydicom.uid", "dicom").UID_dictionary


def _picture(dataset: Any, frame: int, window: Window) -> Picture:
    pixels = require_extra("pydicom.pixels", "dicom")
    try:
        stored = _stored_values(pixels, dataset, frame)
    except ValueError as error:
        # pydicom says so of pixels that are fewer than their size and number claim.
        raise UndecodableError(
            f"damaged, its pixels do not fit its size{named(error, '') and f' ({error})'}"
        ) from error
    except RuntimeError as error:
        name = _name_of(dataset.file_meta.get("TransferSyntaxUID"))
        raise UndecodableError(
            f"compressed as {name}, which no installed decoder can unpack: damaged, or "
            f"{detail(error, _MORE_DECODERS)}"
        ) from error
    kind = dataset.PhotometricInterpretation
    if stored.ndim == 2 and kind in ("MONOCHROME1", "MONOCHROME2"):
        levels, view = grey_levels(stored, FrameElements(dataset, frame), window)
        grey = to_levels(levels)
        return Picture(grey[..., None], flattened(grey, stored), view)
    colours = window.shallow_view
    if kind == "PALETTE COLOR":
        return Picture(to_eight_bits(pixels.apply_color_lut(stored, dataset)), view=colours)
    if stored.ndim == 3 and stored.shape[2] == 3:
        highest = 2 ** int(dataset.BitsStored) - 1
        return Picture(to_levels(np.clip(stored / highest, 0, 1)), view=colours)
    raise UndecodableError("pixels that are neither grey, RGB, YBR nor of a palette")


def _stored_values(pixels: ModuleType, dataset: Any, frame: int) -> np.ndarray:
    """Return the numbers [H, W] or [H, W, 3] between the lowest and the highest stored bit.

    Old files keep their values at the upper end of a word, where overlays lie below them.
    """
    if "PixelData" not in dataset:
        return pixels.pixel_array(dataset, index=frame)
    bits = int(dataset.BitsStored)
    top = whole_number(dataset, "HighBit", 0, 2**16, absent=bits - 1) + 1
    if not bits <= top <= dataset.BitsAllocated:
        top = bits  # impossible; pydicom takes the lowest bits then
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    # Compressed values come without a place in a word.
    if top == bits or syntax is None or syntax.is_compressed:
        return pixels.pixel_array(dataset, index=frame)
    dataset.BitsStored = top
    try:
        return pixels.pixel_array(dataset, index=frame) >> (top - bits)
    finally:
        dataset.BitsStored = bits


STAGE = "count frames"


def with_frames(listing: Listing, root: Path, window: Window, progress: Progress) -> Listing:
    """Return a listing of files with a row for every frame of those that have several.

    Args:
        listing: a row for every file.
        root: the data folder.
        window: what of grey values becomes black and white.
        progress: told after every DICOM file.
    """
    if not root.is_dir() or listing.ours:
        return listing
    scans = [
        row for row, file in enumerate(listing.files) if not is_image(file) and is_dicom(root, file)
    ]
    counts = np.ones(len(listing.files), dtype=np.int64)
    counts[scans] = _frame_counts(root, [listing.files[row] for row in scans], progress)
    if counts.max(initial=1) == 1:
        return listing
    rows = np.repeat(np.arange(len(counts)), counts)  # [n], the file of each frame
    frames = np.concatenate([np.arange(count) for count in counts])  # [n]
    files = DicomFiles(window)

    def read(row: int) -> Picture:
        file = int(rows[row])
        if counts[file] == 1:
            return listing.read(file)
        return files.read(root / listing.files[file], int(frames[row]))

    several, named = counts[counts > 1], listing.person_names
    note = (
        f"{len(several)} DICOM files hold {several.sum():,} frames; those of one file are images "
        "of one person"
    )
    return replace(
        listing,
        files=tuple(listing.files[row] for row in rows),
        labels=listing.labels[rows],
        identities=listing.identities[rows],
        read=read,
        notes=(*listing.notes, note),
        nameless=frozenset(np.flatnonzero(np.isin(rows, list(listing.nameless))).tolist()),
        frames=frames,
        person_names=None if named is None else [named[int(row)] for row in rows],
    )


def _frame_counts(root: Path, files: Sequence[str], progress: Progress = silent) -> list[int]:
    """Return the frames of each file, 1 where that cannot be told: to decode it will say why."""
    counts = []
    for number, file in enumerate(files, start=1):
        try:
            with libraries_quiet():
                header = read_elements(root / file, FRAME_ELEMENTS, header_only=True)
                counts.append(frame_count(header, root / file))
        except Exception:  # as in `number_patients`
            counts.append(1)
        progress(STAGE, number, len(files), {})
    return counts
