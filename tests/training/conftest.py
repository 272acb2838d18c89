"""What helpers of walks are trained on."""

from __future__ import annotations

import pytest

from support import drawn_networks


@pytest.fixture(scope="module")
def networks():
    return drawn_networks.networks()


@pytest.fixture(scope="module")
def real():
    return drawn_networks.latents()
