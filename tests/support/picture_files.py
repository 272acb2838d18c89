"""Small pictures of nobody, written as files in whatever layout a test needs."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image


def picture(seed: int, shape: tuple[int, ...] = (6, 5)) -> np.ndarray:
    """Noise, uint8 of this shape."""
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def png(pixels: np.ndarray) -> bytes:
    """A PNG file."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return stream.getvalue()


def save_pictures(root: Path, names: Iterable[str], first: int = 0) -> Path:
    """Write a different picture under each name below `root`; returns `root`."""
    for seed, name in enumerate(names, start=first):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(seed)).save(path)
    return root


def write_table(path: Path, rows: Iterable[str], header: str = "image,label", **how: str) -> Path:
    """Write a table, a line for each row."""
    path.write_text("\n".join([header, *rows]) + "\n", **{"encoding": "utf-8", **how})
    return path
