"""The made-up private set and its random networks, made once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("monai")
pytest.importorskip("safetensors")

# tests/tiny_models.py is shared; pytest's importlib mode would not find it.
sys.path.insert(0, str(Path(__file__).parents[1]))

import tiny_models

from latentpath.similarity import LPIPS


@pytest.fixture(scope="session")
def tiny_lpips():
    return LPIPS.load()


@pytest.fixture(scope="session")
def data():
    return tiny_models.private_set()


@pytest.fixture(scope="session")
def bundle(data, tiny_lpips):
    return tiny_models.bundle_for(data, lpips=tiny_lpips)
