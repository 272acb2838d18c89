"""8-bit PNG files from arrays, many at a time.

A file holds header, pixels and end, nothing else, and its bytes depend on the pixels and the
settings alone (for one version of zlib). Rows are filtered for a whole batch at once and each image
is packed by zlib, which lets other threads run meanwhile: encoding scales over threads, which a
library that holds Python's lock while it encodes does not.
"""

from __future__ import annotations

import struct
import zlib
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np

from latentpath.core import InputError
from latentpath.data.images import check_images

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPE = {1: 0, 3: 2}
# What filtering works on at once: some tens of copies of it must stay in the processor's cache.
_BLOCK_BYTES = 1 << 18


@dataclass(frozen=True)
class PngOptions:
    """How PNG files are packed; all settings give the same pixels."""

    png_level: int = 6
    """Effort of the deflate packing, 0 (none) to 9 (most). 1 is several times faster than 6 and
    makes files of photographs and scans a few per cent larger."""

    def __post_init__(self) -> None:
        if not 0 <= self.png_level <= 9:
            raise InputError(
                expected="a png_level from 0 to 9", got=str(self.png_level), fix="6 is the usual"
            )


def encode_png(image: np.ndarray, options: PngOptions | None = None) -> bytes:
    """Return one image, uint8 [H, W, C] with C 1 or 3, as a PNG file."""
    return encode_pngs(image[None], options)[0]


def encode_pngs(
    images: np.ndarray, options: PngOptions | None = None, threads: Executor | None = None
) -> list[bytes]:
    """Return each image as a PNG file.

    Args:
        images: uint8 [n, H, W, C], C 1 or 3.
        options: packing.
        threads: a `ThreadPoolExecutor` that shares the work; the result is the same.
    """
    check_images(images)
    options = options or PngOptions()
    n, height, width, channels = images.shape
    size = max(1, _BLOCK_BYTES // (height * width * channels))
    blocks = [images[start : start + size] for start in range(0, n, size)]
    run = map if threads is None else threads.map
    encoded = run(lambda block: _encode_block(block, options), blocks)
    return [file for files in encoded for file in files]


def _encode_block(images: np.ndarray, options: PngOptions) -> list[bytes]:
    n, height, width, channels = images.shape
    rows = np.ascontiguousarray(images).reshape(n, height, width * channels)
    lines = _filtered(rows, channels)
    head = SIGNATURE + _chunk(
        b"IHDR", struct.pack(">2L5B", width, height, 8, _COLOUR_TYPE[channels], 0, 0, 0)
    )
    end = _chunk(b"IEND", b"")
    return [head + _chunk(b"IDAT", zlib.compress(row, options.png_level)) + end for row in lines]


def _chunk(kind: bytes, data: bytes) -> bytes:
    check = zlib.crc32(data, zlib.crc32(kind))
    return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", check)


def _filtered(rows: np.ndarray, channels: int) -> np.ndarray:
    """Return every row under the best of the five filters, the filter's number before it.

    The best is the one that leaves the least sum of absolute differences (PNG specification,
    section 12.8).

    Args:
        rows: uint8 [n, H, W*C].
        channels: distance in bytes to the pixel on the left.

    Returns:
        uint8 [n, H, 1 + W*C].
    """
    n, height, length = rows.shape
    padded = np.zeros((n, height + 1, length + channels), np.uint8)
    padded[:, 1:, channels:] = rows
    left = padded[:, 1:, :-channels]
    above = padded[:, :-1, channels:]
    corner = padded[:, :-1, :-channels]
    average = ((left.astype(np.uint16) + above) >> 1).astype(np.uint8)
    tried = np.empty((5, n, height, length), np.uint8)
    tried[0] = rows
    for place, predicted in enumerate((left, above, average, _paeth(left, above, corner)), start=1):
        np.subtract(rows, predicted, out=tried[place])
    # Differences count by their size: 255 is -1.
    cost = np.minimum(tried, np.negative(tried)).sum(axis=3, dtype=np.uint64)  # [5, n, H]
    best = cost.argmin(axis=0)  # [n, H]
    lines = np.empty((n, height, 1 + length), np.uint8)
    lines[..., 0] = best
    lines[..., 1:] = np.take_along_axis(tried, best[None, :, :, None], axis=0)[0]
    return lines


def _paeth(left: np.ndarray, above: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """Return whichever of the three is nearest to left + above - corner (PNG, section 9.4)."""
    a, b, c = (part.astype(np.int16) for part in (left, above, corner))
    by_left = np.abs(b - c)
    by_above = np.abs(a - c)
    by_corner = np.abs(a + b - 2 * c)
    nearest = np.where(by_above <= by_corner, above, corner)
    return np.where((by_left <= by_above) & (by_left <= by_corner), left, nearest)
