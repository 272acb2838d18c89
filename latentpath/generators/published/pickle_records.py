"""What a published pickle becomes: records that hold what the file says and do nothing.

No class of the file is ever built. A network is a class name and a dict, a tensor is a place in
a storage, a storage is a run of bytes of the file. Of NumPy there are dtypes, scalars and arrays
of plain numbers, never of objects: networks hold scalars (`1 / np.sqrt(fan_in)`), and StyleGAN3
arrays of sizes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from latentpath.generators.published.bounded_reading import Blob, BoundedReading, shown

# Booleans, signed and unsigned integers, floats; complex numbers, texts, dates and objects
# occur in no network.
_CODE = re.compile(r"b1|[iu][1248]|f[248]")
_ORDERS = ("<", ">", "|", "=")


class EasyDict(dict):
    """Stands for `dnnlib.util.EasyDict`: a dict, without its attribute access."""

    title = "an EasyDict"


class LongText:
    """A text that is too long for a generator; only old protocols' bytes are spelled like that."""

    __slots__ = ("blob", "encoding")
    title = "a very long text"

    def __init__(self, blob: Blob, encoding: str) -> None:
        self.blob, self.encoding = blob, encoding


@dataclass(frozen=True)
class Name:
    """A name that a file may mention. It stands for itself; nothing is imported for it."""

    title: str
    """Module and name, as messages show it."""
    call: Callable[[tuple, BoundedReading], Any] | None = None
    """What a call of it makes: our own inert values."""
    dtype: torch.dtype | None = None
    """For the name of a storage class: the type of its elements."""


EASY_DICT = Name("dnnlib.util.EasyDict")


@dataclass(frozen=True)
class Storage:
    """Elements of one type, little-endian, where they lie in the file."""

    dtype: torch.dtype
    elements: int
    blob: Blob
    title = "a storage"


@dataclass(frozen=True)
class TensorRecord:
    """A strided window on a storage; `check_window` has seen that it lies inside."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    title = "a tensor"

    def cost(self) -> int:
        """Bytes that `build` copies and makes."""
        span = last_element(0, self.size, self.stride) + 1
        return (math.prod(self.size) + span) * self.storage.dtype.itemsize

    def build(self) -> torch.Tensor:
        """A contiguous CPU tensor with memory of its own."""
        if math.prod(self.size) == 0:
            return torch.empty(self.size, dtype=self.storage.dtype)
        width = self.storage.dtype.itemsize
        end = last_element(self.offset, self.size, self.stride) + 1
        window = self.storage.blob.view()[self.offset * width : end * width]
        # A copy, because the file's bytes are read-only and may not be aligned.
        flat = torch.frombuffer(bytearray(window), dtype=self.storage.dtype)
        return flat.as_strided(self.size, self.stride).clone(memory_format=torch.contiguous_format)


class NetworkRecord:
    """A network object: its class's name and its attributes.

    Args:
        class_name: as the file says.
        state: the object's `__dict__`.
        reading: for errors about the state.
    """

    __slots__ = ("class_name", "reading", "state")

    def __init__(self, class_name: str, state: Mapping[str, Any], reading: BoundedReading) -> None:
        self.class_name, self.state, self.reading = class_name, state, reading

    @property
    def title(self) -> str:
        """What messages call it."""
        return f"a network of class {shown(self.class_name)}"

    def attribute(self, name: str) -> Any:
        """An attribute of the object, None if it has none of that name."""
        return self.state.get(name)

    def part(self, name: str, kind: type) -> dict[str, Any]:
        """The dict `name` of the state, whose values are of `kind`; None values are left out."""
        part = self.state.get(name, {})
        if not isinstance(part, dict):
            raise self.reading.damaged(f"{shown(part)} as {name} of {self.title}")
        for key, value in part.items():
            if not isinstance(key, str) or not (value is None or isinstance(value, kind)):
                raise self.reading.damaged(
                    f"{shown(value)} as entry {shown(key)} of {name} of {self.title}"
                )
        return {key: value for key, value in part.items() if value is not None}

    def children(self) -> dict[str, NetworkRecord]:
        """Submodules by name."""
        return self.part("_modules", NetworkRecord)

    def tensors(self) -> dict[str, TensorRecord]:
        """Own parameters and persistent buffers by name."""
        passing = self.state.get("_non_persistent_buffers_set", set())
        if not isinstance(passing, (set, frozenset)):
            raise self.reading.damaged(
                f"{shown(passing)} as _non_persistent_buffers_set of {self.title}"
            )
        buffers = self.part("_buffers", TensorRecord)
        kept = {name: record for name, record in buffers.items() if name not in passing}
        return {**self.part("_parameters", TensorRecord), **kept}


def last_element(offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> int:
    """Where in its storage the last element of a tensor lies that has elements."""
    return offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))


def check_window(
    storage: Storage, offset: Any, size: Any, stride: Any, reading: BoundedReading
) -> None:
    """Raise unless (offset, size, stride) are whole numbers whose window lies in the storage."""
    for name, axes in (("size", size), ("stride", stride)):
        if not isinstance(axes, tuple):
            raise reading.damaged(f"{shown(axes)} as {name} of a tensor")
        if len(axes) > reading.limits.dimensions:
            raise reading.oversized(f"a tensor of {len(axes)} dimensions")
    for number in (offset, *size, *stride):
        if type(number) is not int or not 0 <= number <= reading.limits.elements:
            raise reading.damaged(f"{shown(number)} as size, stride or offset of a tensor")
    if len(size) != len(stride):
        raise reading.damaged(f"a tensor of {len(size)} sizes and {len(stride)} strides")
    if math.prod(size) > reading.limits.elements:
        raise reading.oversized(f"a tensor of size {list(size)}")
    if math.prod(size) > 0 and last_element(offset, size, stride) >= storage.elements:
        raise reading.damaged(
            f"a tensor of size {list(size)}, stride {list(stride)} and offset {offset}, outside "
            f"its storage of {storage.elements:,} elements"
        )


class DtypeRecord:
    """A dtype of plain numbers, by its letter and bytes (`f8`) and its byte order."""

    __slots__ = ("code", "order")
    title = "a NumPy dtype"

    def __init__(self, code: str) -> None:
        self.code, self.order = code, "<"

    def set_state(self, state: tuple, reading: BoundedReading) -> None:
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

    def set_state(self, state: tuple, reading: BoundedReading) -> None:
        """Take NumPy's state tuple: version, shape, dtype, whether in Fortran's order, bytes."""
        if len(state) != 5 or type(state[3]) is not bool:
            raise reading.damaged("a NumPy array with a state of another form")
        _, shape, dtype, fortran, data = state
        self.values = _array(data, dtype, shape, "F" if fortran else "C", reading)


def make_dtype(arguments: tuple, reading: BoundedReading) -> DtypeRecord:
    """`numpy.dtype("f8", False, True)`: code, align, copy."""
    code = arguments[0] if arguments else None
    if not isinstance(code, str) or not _CODE.fullmatch(code) or len(arguments) > 3:
        raise reading.unsafe(f"a NumPy dtype {shown(code)}, which is not of plain numbers")
    return DtypeRecord(code)


def make_scalar(arguments: tuple, reading: BoundedReading) -> bool | int | float:
    """`numpy.core.multiarray.scalar(dtype, bytes)`, as a number of Python's."""
    if len(arguments) != 2:
        raise reading.damaged("a NumPy scalar with arguments of another form")
    return _array(arguments[1], arguments[0], (), "C", reading).item()


def make_empty_array(arguments: tuple, reading: BoundedReading) -> ArrayRecord:
    """`numpy.core.multiarray._reconstruct(ndarray, (0,), b"b")`: its state follows."""
    if not arguments or getattr(arguments[0], "title", None) != "numpy.ndarray":
        raise reading.unsafe("a NumPy array of another class")
    return ArrayRecord()


def make_array(arguments: tuple, reading: BoundedReading) -> ArrayRecord:
    """`numpy.core.numeric._frombuffer(bytes, dtype, shape, order)`, of pickle protocol 5."""
    if len(arguments) not in (4, 5) or arguments[3] not in ("C", "F"):
        raise reading.damaged("a NumPy array with arguments of another form")
    data, dtype, shape, order = arguments[:4]
    return ArrayRecord(_array(data, dtype, shape, order, reading))


def _array(data: Any, dtype: Any, shape: Any, order: str, reading: BoundedReading) -> np.ndarray:
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
