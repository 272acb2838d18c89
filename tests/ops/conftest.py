"""Every implementation of every op, as a fixture; Triton runs through its interpreter."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

# Read when Triton is imported and when a kernel is defined, so it must be set before either.
os.environ.setdefault("TRITON_INTERPRET", "1")

import pytest

if TYPE_CHECKING:
    from support.conformance import Backend


@pytest.fixture
def backend(request):
    """The implementation that a test is parametrised over, with its instruction set chosen."""
    from latentpath.ops import dispatch  # not above: pytest-xdist's own process reads this too

    chosen: Backend = request.param
    module = dispatch.extension()
    if chosen.isa is None:
        yield chosen.impl
        return
    before = module.isa()
    module.choose_isa(chosen.isa)
    yield chosen.impl
    module.choose_isa(before)
