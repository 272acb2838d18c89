"""Small sets of made-up people for the audit's tests."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from latentpath.data import ImageSet
from latentpath.similarity.lpips import LPIPS

SIZE = 16
Maker = Callable[..., ImageSet]


@pytest.fixture(scope="session")
def lpips() -> LPIPS:
    pytest.importorskip("safetensors")
    return LPIPS.load()


def _people(
    count: int,
    *,
    channels: int = 1,
    classes: tuple[str, ...] = ("dark", "bright"),
    per_person: int = 1,
    seed: int = 0,
) -> ImageSet:
    """`count` people with blocky faces of their own; a later class is brighter than an earlier."""
    rng = np.random.default_rng(seed)
    identities = np.repeat(np.arange(count), per_person)
    labels = identities % len(classes)
    faces = rng.integers(0, 100, (count, 4, 4, channels)).repeat(4, 1).repeat(4, 2)
    images = faces[identities] + rng.integers(0, 6, (len(identities), SIZE, SIZE, channels))
    images += (labels * 140 // max(1, len(classes) - 1))[:, None, None, None]
    return ImageSet(images.astype(np.uint8), labels, identities, classes)


@pytest.fixture(scope="session")
def people() -> Maker:
    return _people
