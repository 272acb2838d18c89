"""The made-up private set and its random networks, made once."""

from __future__ import annotations

import pytest

pytest.importorskip("monai")
pytest.importorskip("safetensors")

from latentpath.similarity import LPIPS
from support import tiny_models


@pytest.fixture(scope="session")
def tiny_lpips():
    return LPIPS.load()


@pytest.fixture(scope="session")
def data():
    return tiny_models.private_set()


@pytest.fixture(scope="session")
def bundle(data, tiny_lpips):
    return tiny_models.bundle_for(data, lpips=tiny_lpips)
