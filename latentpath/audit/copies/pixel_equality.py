"""Which images equal others in every pixel, as they are, mirrored or turned."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np


def all_turns(images: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield a number and the images for each way to turn them: bit 0 left-right, 1 up-down, 2 axes.

    Images that are not square keep their axes.
    """
    square = images.shape[1] == images.shape[2]
    for number in range(8 if square else 4):
        turned = images.transpose(0, 2, 1, 3) if number & 4 else images
        turned = turned[:, ::-1] if number & 2 else turned
        turned = turned[:, :, ::-1] if number & 1 else turned
        yield number, np.ascontiguousarray(turned)


def originals(images: np.ndarray, real: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The real image `[n]` that equals each in every pixel, -1 for none, and if it was turned."""
    known: dict[bytes, int] = {}
    for number, image in enumerate(real):
        known.setdefault(digest_of(image), number)
    row, changed = np.full(len(images), -1), np.zeros(len(images), np.int64)
    for turn, turned in reversed([*all_turns(images)]):  # a symmetric image is exact, not flipped
        for number, image in enumerate(turned):
            original = known.get(digest_of(image))
            if original is not None:
                row[number], changed[number] = original, int(turn != 0)
    return row, changed


def digests_of(images: np.ndarray) -> frozenset[bytes]:
    """The digests of images."""
    return frozenset(digest_of(image) for image in images)


def in_any_turn(images: np.ndarray, known: frozenset[bytes]) -> np.ndarray:
    """Which images are, as they are, mirrored or turned, among those known: bool [n]."""
    equal = np.zeros(len(images), dtype=bool)
    for _, turned in all_turns(images):
        equal |= [digest_of(image) in known for image in turned]
    return equal


def digest_of(image: np.ndarray) -> bytes:
    """What an image is known by, pixel by pixel."""
    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()
