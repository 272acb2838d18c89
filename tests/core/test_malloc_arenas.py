"""Memory that was freed goes back to the system."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from latentpath.core import return_freed_memory


def resident() -> int:
    """Bytes of this process that are in memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


@pytest.mark.skipif(
    not (Path("/proc/self/status").exists() and hasattr(ctypes.CDLL(None), "malloc_trim")),
    reason="needs glibc and /proc",
)
def test_pieces_between_others_that_are_in_use_go_back():
    blocks = [bytearray(60_000) for _ in range(1000)]
    kept = blocks[::100]
    del blocks
    before = resident()
    return_freed_memory()
    assert before - resident() > 40_000_000
    assert len(kept) == 10
