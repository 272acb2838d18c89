"""Every implementation of every op, as a fixture; Triton runs through its interpreter."""

from __future__ import annotations

import os
import sys

# Read when Triton is imported and when a kernel is defined, so it must be set before either.
os.environ.setdefault("TRITON_INTERPRET", "1")
# The tests of all ops share conformance.py, which pytest's importlib mode would not find.
sys.path.insert(0, os.path.dirname(__file__))

import pytest
from conformance import Backend

from latentpath.ops import dispatch


@pytest.fixture
def backend(request):
    """The implementation that a test is parametrised over, with its instruction set chosen."""
    chosen: Backend = request.param
    module = dispatch.extension()
    if chosen.isa is None:
        yield chosen.impl
        return
    before = module.isa()
    module.choose_isa(chosen.isa)
    yield chosen.impl
    module.choose_isa(before)
