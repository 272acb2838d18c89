"""Memory that threads leave behind."""

from __future__ import annotations

import ctypes
import os

# mallopt's number for the option, in glibc's malloc.h.
_M_ARENA_MAX = -8


def share_arenas(most: int = 2) -> None:
    """Let the threads that this program begins take memory from a few arenas (glibc's malloc).

    Otherwise each thread has an arena of its own, which keeps what it once took: a sixth of
    the demo's memory lay in those of threads that had nothing to do any more. Other C libraries
    have no such option.
    """
    if os.name == "posix" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        library.mallopt(_M_ARENA_MAX, most)
