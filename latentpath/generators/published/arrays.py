"""NumPy's values in a pickle: dtypes, scalars and arrays of plain numbers, never of objects.

Networks hold scalars (`1 / np.sqrt(fan_in)`); arrays occur in StyleGAN3, which is read far enough
to be recognised.
"""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np

from latentpath.generators.published.errors import shown
from latentpath.generators.published.reading import Reading
from latentpath.generators.published.source import Blob

# Booleans, signed and unsigned integers, floats; complex numbers, texts, dates and objects
# occur in no network.
_CODE = re.compile(r"b1|[iu][1248]|f[248]")
_ORDERS = ("<", ">", "|", "=")


class DtypeRecord:
    """A dtype of plain numbers, by its letter and bytes (`f8`) and its byte order."""

    __slots__ = ("code", "order")
    title = "a NumPy dtype"

    def __init__(self, code: str) -> None:
        self.code, self.order = code, "<"

    def set_state(self, state: tuple, reading: Reading) -> None:
        """Take NumPy's state tuple: version, byte order, and what only structured dtypes have."""
        # (3, "<", None, None, None, -1, -1, 0): no subarray, no names, no fields.
        plain = len(state) in (8, 9) and state[2:5] == (None, None, None)
        if not plain or state[1] not in _ORDERS:
            raise reading.unsafe("a NumPy dtype that is not of plain numbers")
        self.order = state[1]

    @property
    def dtype(self) -> np.dtype:
        """As NumPy knows it."""
        return np.dtype(self.order + self.code)


class ArrayRecord:
    """An array that is waiting for its state, or has it."""

    __slots__ = ("values",)
    title = "a NumPy array"

    def __init__(self, values: np.ndarray | None = None) -> None:
        self.values = values

    def set_state(self, state: tuple, reading: Reading) -> None:
        """Take NumPy's state tuple: version, shape, dtype, whether in Fortran's order, bytes."""
        if len(state) != 5 or type(state[3]) is not bool:
            raise reading.damaged("a NumPy array with a state of another form")
        _, shape, dtype, fortran, data = state
        self.values = _array(data, dtype, shape, "F" if fortran else "C", reading)


def make_dtype(arguments: tuple, reading: Reading) -> DtypeRecord:
    """`numpy.dtype("f8", False, True)`: code, align, copy."""
    code = arguments[0] if arguments else None
    if not isinstance(code, str) or not _CODE.fullmatch(code) or len(arguments) > 3:
        raise reading.unsafe(f"a NumPy dtype {shown(code)}, which is not of plain numbers")
    return DtypeRecord(code)


def make_scalar(arguments: tuple, reading: Reading) -> bool | int | float:
    """`numpy.core.multiarray.scalar(dtype, bytes)`, as a number of Python's."""
    if len(arguments) != 2:
        raise reading.damaged("a NumPy scalar with arguments of another form")
    return _array(arguments[1], arguments[0], (), "C", reading).item()


def make_empty_array(arguments: tuple, reading: Reading) -> ArrayRecord:
    """`numpy.core.multiarray._reconstruct(ndarray, (0,), b"b")`: its state follows."""
    if not arguments or getattr(arguments[0], "title", None) != "numpy.ndarray":
        raise reading.unsafe("a NumPy array of another class")
    return ArrayRecord()


def make_array(arguments: tuple, reading: Reading) -> ArrayRecord:
    """`numpy.core.numeric._frombuffer(bytes, dtype, shape, order)`, of pickle protocol 5."""
    if len(arguments) not in (4, 5) or arguments[3] not in ("C", "F"):
        raise reading.damaged("a NumPy array with arguments of another form")
    data, dtype, shape, order = arguments[:4]
    return ArrayRecord(_array(data, dtype, shape, order, reading))


def _array(data: Any, dtype: Any, shape: Any, order: str, reading: Reading) -> np.ndarray:
    """A read-only view of the file's bytes."""
    if not isinstance(dtype, DtypeRecord) or not isinstance(data, Blob):
        raise reading.unsafe(f"a NumPy array of {shown(dtype)} in {shown(data)}")
    if not isinstance(shape, tuple) or len(shape) > reading.limits.dimensions:
        raise reading.damaged(f"{shown(shape)} as shape of a NumPy array")
    for size in shape:
        if type(size) is not int or not 0 <= size <= reading.limits.elements:
            raise reading.damaged(f"{shown(size)} as size of a NumPy array")
    wanted = math.prod(shape) * dtype.dtype.itemsize
    if wanted != len(data):
        raise reading.damaged(f"a NumPy array of {wanted:,} bytes in {len(data):,} bytes")
    flat = np.frombuffer(data.view(), dtype=dtype.dtype)
    return flat.reshape(shape, order=order)  # type: ignore[call-overload]
