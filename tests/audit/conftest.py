"""Small sets of made-up people for the audit's tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from latentpath.data import ImageSet
from latentpath.similarity.lpips_network import LPIPS

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


@pytest.fixture(scope="session")
def x_rays(shared_data: Path) -> dict[str, ImageSet]:
    """PneumoniaMNIST as its file holds it; to look for copies among its images takes seconds."""
    with np.load(shared_data / "pneumoniamnist.npz") as file:
        return {
            split: ImageSet(
                file[f"{split}_images"][..., None],
                file[f"{split}_labels"][:, 0].astype(np.int64),
                np.arange(len(file[f"{split}_labels"])),
                ("normal", "pneumonia"),
            )
            for split in ("train", "val", "test")
        }
