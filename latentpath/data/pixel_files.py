"""Files that hold nothing but pixels: PNG files from arrays, and what was written, read again.

A PNG file holds header, pixels and end, nothing else, and its bytes depend on the pixels alone (for
one version of Pillow). Deflate is told to look for runs only (zlib's Z_RLE): behind PNG's filters,
photographs and scans hold noise, in which longer matches cost several times the work and make the
files larger. Many are made at a time: Pillow lets other threads run while it packs.

PNG and ZIP files have room beside the pixels: text chunks, EXIF data, comments, bytes behind the
end or between two members. The readers here accept exactly the form that the writers produce and
name what is beside it. They depend on the format alone, not on the version of Pillow or zlib that
wrote the file. What they cannot see is a message in the pixels themselves.
"""

from __future__ import annotations

import io
import math
import re
import struct
import zipfile
import zlib
from concurrent.futures import Executor
from pathlib import Path

import numpy as np

from latentpath.core import require_extra
from latentpath.data.images import check_images

# Images that a thread packs at a time: small ones would take longer to hand over than to pack.
_BLOCK_BYTES = 1 << 18


def encode_pngs(images: np.ndarray, threads: Executor | None = None) -> list[bytes]:
    """Return each image as a PNG file.

    Args:
        images: uint8 [n, H, W, C], C 1 or 3.
        threads: a `ThreadPoolExecutor` that shares the work; the result is the same.

    Raises:
        MissingExtraError: Pillow is not installed.
    """
    check_images(images)
    n, height, width, channels = images.shape
    size = max(1, _BLOCK_BYTES // (height * width * channels))
    blocks = [images[start : start + size] for start in range(0, n, size)]
    encoded = (map if threads is None else threads.map)(_encode_block, blocks)
    return [file for files in encoded for file in files]


def _encode_block(images: np.ndarray) -> list[bytes]:
    pil = require_extra("PIL.Image", "pipeline")
    files = []
    for image in images[..., 0] if images.shape[3] == 1 else images:
        stream = io.BytesIO()
        pil.fromarray(image).save(stream, format="PNG", compress_type=zlib.Z_RLE)
        files.append(stream.getvalue())
    return files


_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_CENTRAL_BYTES, _END_BYTES = 46, 22
_END64_BYTES = 56 + 20  # the records that archives of more than 4 GB have before the last one
_UNDATED = (1980, 1, 1, 0, 0, 0)
_NPY_HEADER_BYTES = 1 << 12
_NPY_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '([|<>][biufcSU]\d+)', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d+, )*\d+|\d+,|)\), \} *\n",
    re.DOTALL,
)


class NotPlainError(Exception):
    """A file holds something beside pixels, or is damaged; the message says what."""


def read_plain_png(content: bytes, height: int, width: int, channels: int) -> np.ndarray:
    """Return the pixels, uint8 [H, W, C], of a PNG file that holds nothing else.

    Raises:
        NotPlainError: other chunks than header, pixels and end, bytes behind them, another size.
        MissingExtraError: Pillow is not installed.
    """
    pil = require_extra("PIL.Image", "pipeline")
    compressed = b""
    kinds = []
    for kind, data in _png_chunks(content):
        kinds.append(kind)
        if kind == b"IDAT":
            compressed += data
        elif kind == b"IHDR":
            expected = struct.pack(">2L5B", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
            if data != expected:
                raise NotPlainError(f"a header for other images than {width}x{height}x{channels}")
        elif kind != b"IEND" or data:
            raise NotPlainError(f"a {kind.decode('latin-1')!r} chunk of {len(data)} bytes")
    if kinds[:1] != [b"IHDR"] or kinds[-1:] != [b"IEND"] or set(kinds[1:-1]) != {b"IDAT"}:
        raise NotPlainError("chunks in another order")
    _inflate(compressed, height * (1 + width * channels), zlib.MAX_WBITS)
    with pil.open(io.BytesIO(content), formats=("PNG",)) as picture:
        return np.asarray(picture).reshape(height, width, channels)


def _png_chunks(content: bytes) -> list[tuple[bytes, bytes]]:
    if not content.startswith(_PNG_SIGNATURE):
        raise NotPlainError("no PNG signature")
    chunks: list[tuple[bytes, bytes]] = []
    place = len(_PNG_SIGNATURE)
    while place < len(content):
        if chunks and chunks[-1][0] == b"IEND":
            raise NotPlainError(f"{len(content) - place} bytes behind the image")
        length, kind = struct.unpack_from(">L4s", content.ljust(place + 8, b"\0"), place)
        data = content[place + 8 : place + 8 + length]
        check = content[place + 8 + length : place + 12 + length]
        if check != struct.pack(">L", zlib.crc32(kind + data)):
            raise NotPlainError("a damaged chunk")
        chunks.append((kind, data))
        place += 12 + length
    return chunks


def _inflate(compressed: bytes, size: int, window_bits: int) -> bytes:
    """Unpack exactly `size` bytes, with nothing behind them."""
    stream = zlib.decompressobj(window_bits)
    try:
        content = stream.decompress(compressed, size + 1)
    except zlib.error as error:
        raise NotPlainError(f"damaged compressed data ({error})") from error
    if len(content) != size or not stream.eof or stream.unconsumed_tail:
        raise NotPlainError(f"not the {size} bytes of content that belong there")
    if stream.unused_data:
        raise NotPlainError(f"{len(stream.unused_data)} bytes behind the compressed data")
    return content


def read_plain_npz(path: Path, most_bytes: int) -> dict[str, np.ndarray]:
    """Return the arrays of an `.npz` file that holds nothing else.

    Args:
        path: the file.
        most_bytes: size of the largest array that may come out.

    Raises:
        NotPlainError: comments, dates, extra fields, bytes between or behind the members, or
            members that are not one array each.
    """
    content = path.read_bytes()
    arrays: dict[str, np.ndarray] = {}
    place = central = 0
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if archive.comment:
                raise NotPlainError("a comment in the archive")
            for member in archive.infolist():
                packed, place = _packed_member(content, member, place)
                central += _CENTRAL_BYTES + len(member.filename.encode()) + len(member.extra)
                arrays[_key(member)] = _array(packed, member, most_bytes)
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError) as error:
        raise NotPlainError(f"a damaged archive ({error})") from error
    ends = {place + central + _END_BYTES, place + central + _END64_BYTES + _END_BYTES}
    if len(content) not in ends or len(arrays) != len(archive.infolist()):
        raise NotPlainError("bytes beside the arrays")
    return arrays


def _key(member: zipfile.ZipInfo) -> str:
    if not member.filename.endswith(".npy"):
        raise NotPlainError(f"the member {member.filename!r}, which is no array")
    return member.filename.removesuffix(".npy")


def _packed_member(content: bytes, member: zipfile.ZipInfo, place: int) -> tuple[bytes, int]:
    """Return a member's packed bytes, which must begin at `place`, and where they end."""
    if member.header_offset != place:
        raise NotPlainError("bytes between the arrays")
    header = _LOCAL_HEADER.unpack_from(content.ljust(place + _LOCAL_HEADER.size, b"\0"), place)
    flags, name_bytes, extra_bytes = header[2], header[-2], header[-1]
    # Room for two 64-bit sizes is all that the writer asks for.
    if flags or member.comment or extra_bytes not in (0, 20) or len(member.extra) > 28:
        raise NotPlainError(f"something beside the array in the member {member.filename!r}")
    if member.date_time != _UNDATED:
        raise NotPlainError(f"a date at the member {member.filename!r}")
    start = place + _LOCAL_HEADER.size
    if content[start : start + name_bytes] != member.filename.encode():
        raise NotPlainError("two names for one member")
    start += name_bytes + extra_bytes
    end = start + member.compress_size
    return content[start:end], end


def _array(packed: bytes, member: zipfile.ZipInfo, most_bytes: int) -> np.ndarray:
    if member.file_size > most_bytes + _NPY_HEADER_BYTES:
        raise NotPlainError(f"{member.file_size} bytes as {member.filename!r}")
    raw = packed
    if member.compress_type == zipfile.ZIP_DEFLATED:
        raw = _inflate(packed, member.file_size, -zlib.MAX_WBITS)
    if len(raw) != member.file_size or zlib.crc32(raw) != member.CRC:
        raise NotPlainError(f"a damaged member {member.filename!r}")
    array = _npy(raw)
    again = io.BytesIO()
    np.lib.format.write_array(again, array, allow_pickle=False)
    if again.getvalue() != raw:
        raise NotPlainError(f"something beside the array in the member {member.filename!r}")
    return array


def _npy(raw: bytes) -> np.ndarray:
    """Return the array of an `.npy` file of numbers or text.

    NumPy's own reader parses the header as Python, which fails at random when two threads of
    CPython 3.11 do so at once (https://github.com/python/cpython/issues/106905).
    """
    header = _NPY_HEADER.match(raw)
    if header is None:
        raise NotPlainError("a header that no plain array has")
    descr, fortran, sizes = (text.decode() for text in header.groups())
    dtype, shape = np.dtype(descr), tuple(int(size) for size in sizes.split(",") if size)
    if len(raw) - header.end() != dtype.itemsize * math.prod(shape):
        raise NotPlainError(f"{len(raw) - header.end()} bytes for an array {descr} {shape}")
    array = np.frombuffer(raw, dtype, math.prod(shape), header.end()).copy()
    return array.reshape(shape[::-1]).T if fortran == "True" else array.reshape(shape)
