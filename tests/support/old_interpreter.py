"""Triton's interpreter before version 3.7, beside NumPy from 2.4 on.

There it takes arrays of one number for numbers (the end of a loop), which NumPy refuses since.
Kernels that are compiled have nothing to do with it.
"""

from __future__ import annotations

import importlib.metadata

import numpy as np


def _release(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")[:2]))


def mend_interpreter() -> None:
    """Let it take the number out of the array, as later versions do."""
    try:
        needed = _release(importlib.metadata.version("triton")) < (3, 7)
    except importlib.metadata.PackageNotFoundError:
        return
    if not needed or _release(np.__version__) < (2, 4):
        return
    from triton.runtime import interpreter

    prepare = interpreter._patch_lang_tensor

    def prepare_and_mend(tensor, *scope):
        prepare(tensor, *scope)
        tensor.__index__ = lambda self: int(self.handle.data.item())

    interpreter._patch_lang_tensor = prepare_and_mend
