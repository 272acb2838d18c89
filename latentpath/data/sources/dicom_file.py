"""DICOM files on the disk: their elements, wherever pydicom can find them.

Files without the preamble of 128 bytes, without a file meta group or without the transfer syntax
in it are read as pydicom would guess them (`force=True`), deflated ones with a limit.
"""

from __future__ import annotations

import io
import math
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from latentpath.core import require_extra
from latentpath.data.contrast import UndecodableError
from latentpath.data.decode import check_is_file
from latentpath.data.sources.archive import ArchiveLimits
from latentpath.data.sources.name_disclosure import named

_PREAMBLE, _MARK = bytes(128), b"DICM"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_LIMITS = ArchiveLimits()
FRAME_ELEMENTS = ("NumberOfFrames", "Rows", "Columns", "SamplesPerPixel", "BitsAllocated")
"""What tells the number of frames."""


def read_elements(path: Path, names: Sequence[str], *, header_only: bool = False) -> Any:
    """Return a `pydicom.Dataset` with the named elements, its transfer syntax known.

    Args:
        path: the file.
        names: keywords of the elements to keep.
        header_only: stop before the pixels.

    Raises:
        UndecodableError: no DICOM file, or one that unpacks to more than an image.
        MissingExtraError: pydicom is not installed.
    """
    pydicom = require_extra("pydicom", "dicom")
    check_is_file(path)
    with open(path, "rb") as file:
        marked = file.read(len(_PREAMBLE) + len(_MARK)).endswith(_MARK)
        file.seek(0)
        stream: IO[bytes] = file if marked else io.BytesIO(_PREAMBLE + _MARK + file.read())
        try:
            meta = _meta(stream)
            if meta.get("TransferSyntaxUID") == _DEFLATED:
                dataset = _deflated(pydicom, stream, meta, names)
            else:
                stream.seek(0)
                dataset = pydicom.dcmread(
                    stream, stop_before_pixels=header_only, specific_tags=[*names, "SOPClassUID"]
                )
                _set_transfer_syntax(dataset)
        except UndecodableError:
            raise
        except Exception as error:
            if marked:
                raise
            raise UndecodableError("not a DICOM file") from error
    if not marked and "SOPClassUID" not in dataset and "Rows" not in dataset:
        raise UndecodableError("not a DICOM file")
    return dataset


def _meta(stream: IO[bytes]) -> Any:
    """Return the file meta group; the stream stands behind it then."""
    reader = require_extra("pydicom.filereader", "dicom")
    stream.seek(len(_PREAMBLE) + len(_MARK))
    return reader.read_dataset(
        stream, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, *_: tag.group > 2
    )


def _deflated(pydicom: Any, stream: IO[bytes], meta: Any, names: Sequence[str]) -> Any:
    """Return the elements behind `meta`, unpacked with the limits of archives."""
    packed = stream.read()
    most = max(_LIMITS.small_bytes, _LIMITS.ratio * len(packed))
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    content = unpacker.decompress(packed, min(most, _LIMITS.member_bytes) + 1)
    if len(content) > most:
        raise UndecodableError(
            f"a deflated DICOM file of {len(packed):,} bytes that unpack to more than {most:,}"
        )
    tags = [pydicom.tag.Tag(name) for name in (*names, "SOPClassUID")]
    dataset = pydicom.filereader.read_dataset(
        io.BytesIO(content), is_implicit_VR=False, is_little_endian=True, specific_tags=tags
    )
    dataset.file_meta = pydicom.dataset.FileMetaDataset(meta)
    return dataset


def _set_transfer_syntax(dataset: Any) -> None:
    """Name the encoding that pydicom found, where the file does not."""
    if dataset.file_meta.get("TransferSyntaxUID"):
        return
    uid = require_extra("pydicom.uid", "dicom")
    implicit, little = dataset.original_encoding
    explicit = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
    dataset.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else explicit


def frame_count(dataset: Any, path: Path) -> int:
    """Return how many frames a file has: as many as it says, or more where its pixels are more.

    Args:
        dataset: with the elements `FRAME_ELEMENTS`, where the file has them.
        path: the file.

    Raises:
        UndecodableError: more than can be in a file of its size, or no number.
    """
    frames = whole_number(dataset, "NumberOfFrames", 0, 2**31, absent=1) or 1
    # A frame has at least the eight bytes of an item's header, or eight of pixels.
    deflated = dataset.file_meta.get("TransferSyntaxUID") == _DEFLATED
    most = max(1, os.path.getsize(path) * (_LIMITS.ratio if deflated else 1) // 8)
    if frames > most:
        raise UndecodableError(f"{frames:,} frames, too many for the size of the file")
    return max(frames, _frames_within(dataset, path, frames))


def _frames_within(dataset: Any, path: Path, frames: int) -> int:
    """Return how many frames the pixels of a file are enough for, 0 if they are compressed.

    As in pydicom, frames beyond the number that a file gives are frames too.
    """
    size = [element(dataset, name) for name in FRAME_ELEMENTS[1:]]
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_transfer_syntax or syntax.is_compressed or not all(size):
        return 0
    frame_bytes = max(1, math.prod(map(int, size)) // 8)
    if os.path.getsize(path) < (frames + 1) * frame_bytes:
        return 0
    whole = dataset if "PixelData" in dataset else read_elements(path, ("PixelData",))
    count = len(element(whole, "PixelData") or b"")
    # One byte more makes an odd length even.
    return count // frame_bytes if count > frames * frame_bytes + 1 else 0


def label(name: str) -> str:
    """Return what the standard calls an element, with its tag.

    >>> label("BitsStored")
    'Bits Stored (0028,0101)'
    """
    datadict = require_extra("pydicom.datadict", "dicom")
    tag = datadict.tag_for_keyword(name)
    return f"{datadict.dictionary_description(tag)} ({tag >> 16:04X},{tag & 0xFFFF:04X})"


def whole_number(
    dataset: Any, name: str, least: int, most: int, *, absent: int | None = None
) -> int:
    """Return the value of an element.

    Raises:
        UndecodableError: absent, where nothing is said for that, or no such number.
    """
    value = element(dataset, name)
    if value is None or value == "":
        if absent is None:
            raise UndecodableError(f"the element {label(name)} is absent")
        return absent
    try:
        number = int(value)
    except (TypeError, ValueError):
        raise UndecodableError(f"the element {label(name)}, which is no whole number") from None
    if not least <= number <= most:
        raise UndecodableError(f"{number} as {label(name)}")
    return number


def element(dataset: Any, name: str) -> Any:
    """Return the value of an element, None where it is absent.

    Raises:
        UndecodableError: its content is not of its kind, such as a decimal comma in a number.
    """
    try:
        return dataset.get(name)
    except (ValueError, TypeError, ArithmeticError, AttributeError) as error:
        what = named(error, "")
        raise UndecodableError(
            f"the element {label(name)}, whose content is not of its kind{what and f' ({what})'}"
        ) from error
