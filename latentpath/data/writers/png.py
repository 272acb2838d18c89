"""8-bit PNG files from arrays, many at a time, with Pillow.

A file holds header, pixels and end, nothing else, and its bytes depend on the pixels alone (for one
version of Pillow). Deflate is told to look for runs only (zlib's Z_RLE): behind PNG's filters,
photographs and scans hold noise, in which longer matches cost several times the work and make the
files larger. Pillow lets other threads run while it packs.
"""

from __future__ import annotations

import io
import zlib
from concurrent.futures import Executor

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
