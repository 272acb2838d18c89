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
    if (library := _c_library("mallopt")) is not None:
        library.mallopt(_M_ARENA_MAX, most)


def return_freed_memory() -> None:
    """Give what was freed back to the system, between stages that take memory of their own.

    The walks of the demo leave 200 MiB in pieces that what comes after them does not fit into.
    """
    if (library := _c_library("malloc_trim")) is not None:
        library.malloc_trim(0)


def _c_library(function: str) -> ctypes.CDLL | None:
    """The C library, where it has this function."""
    library = ctypes.CDLL(None) if os.name == "posix" else None
    return library if hasattr(library, function) else None
