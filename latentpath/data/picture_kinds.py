"""What a file is that Pillow cannot open as a picture, by the marks that it begins with."""

from __future__ import annotations

from pathlib import Path
from typing import IO

_OTHERS = (
    (0, b"GIF8", "a GIF file"),
    (8, b"WEBP", "a WebP file"),
    (4, b"ftyp", "a HEIC, AVIF or film file"),
    (4, b"jP  ", "a JPEG 2000 file"),
    (0, b"%PDF", "a PDF file"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"PK\x03\x04", "a zip archive"),
)
_TIFFS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_DICOM_PLACE, _DICOM = 128, b"DICM"


def unidentified(source: Path | IO[bytes]) -> str:
    """Return the reason for a file that is no picture to Pillow, in a few words.

    Args:
        source: the file, or a stream of its content.
    """
    start = _start(source)
    if start[_DICOM_PLACE:].startswith(_DICOM):
        return "a DICOM file under a picture's name: let it end in .dcm"
    if start.startswith(_TIFFS):
        return (
            "a TIFF image of a kind that cannot be read (numbers of 64 bits, half floats, signed "
            "ones of several channels or with white as zero), or damaged: save it as TIFF or PNG "
            "of 8 or 16 bits"
        )
    if start.startswith(b"<"):
        return "a web page, perhaps of a download that failed: download the image again"
    for place, mark, kind in _OTHERS:
        if start[place:].startswith(mark):
            return f"{kind}, not a PNG, JPEG, TIFF or BMP image: save it as PNG"
    return "not a PNG, JPEG, TIFF or BMP image, or damaged"


def _start(source: Path | IO[bytes]) -> bytes:
    count = _DICOM_PLACE + len(_DICOM)
    if isinstance(source, Path):
        with open(source, "rb") as file:
            return file.read(count)
    source.seek(0)
    return source.read(count)
