"""Files of `torch.save` within the file, each of which holds one storage.

The published code pickles networks with plain `pickle.dump`, where each storage becomes a call of
`torch.storage._load_from_bytes`, an unrestricted `torch.load`. Here those bytes are read by the
same machine with names of storage classes only. `torch.load(weights_only=True)` would be no
substitute: it takes memory for whatever sizes the bytes name, and copies them.

Two formats occur. The old one, which all versions of PyTorch write here: five pickles (a magic
number, the version, facts about the machine, the object, the storages' keys), then the elements.
And the zip archive that `torch.save` writes by default.
"""

from __future__ import annotations

from typing import Any

import torch

from latentpath.generators.published.errors import shown
from latentpath.generators.published.instructions import unpickle
from latentpath.generators.published.machine import Machine, Names
from latentpath.generators.published.reading import Reading
from latentpath.generators.published.records import Name, Storage
from latentpath.generators.published.source import Blob, Source
from latentpath.generators.published.zipped import ZIP_HEAD, ZipEntries

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_VERSION = 1001
_STORAGES = {
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "DoubleStorage": torch.float64,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
# Up to PyTorch 1.x, storages on a GPU had classes of their own. All are read to the CPU.
STORAGE_NAMES: Names = {
    (module, name): Name(f"{module}.{name}", dtype=dtype)
    for module in ("torch", "torch.cuda")
    for name, dtype in _STORAGES.items()
}


def read_storage(blob: Blob, reading: Reading) -> Storage:
    """Read the bytes that `torch.save(storage)` wrote, in either format.

    Raises:
        WeightsError: they hold anything but one storage, or more or fewer elements than they say.
    """
    if blob.startswith(ZIP_HEAD):
        return _read_zip(blob, reading)
    return _read_stream(blob, reading)


def is_torch_stream(blob: Blob) -> bool:
    """Whether bytes begin as a file of `torch.save` in the old format does."""
    return blob.startswith(b"\x80\x02\x8a\x0a" + _MAGIC_NUMBER.to_bytes(10, "little"))


def _read_stream(blob: Blob, reading: Reading) -> Storage:
    source = Source(blob, reading)

    def value(**options: Any) -> Any:
        return unpickle(Machine(source, options.pop("names", {}), reading, **options))

    if value() != _MAGIC_NUMBER:
        raise reading.damaged("a storage that is no file of torch.save")
    if (version := value()) != _VERSION:
        raise reading.damaged(f"a storage in version {shown(version)} of torch.save's format")
    # Byte order and sizes of the writing machine: elements are little-endian from all of them.
    if not isinstance(facts := value(), dict):
        raise reading.damaged(f"{shown(facts)} as a storage's facts about its machine")
    announced = _Announced(6, reading)
    storage = value(names=STORAGE_NAMES, persistent=announced)
    if storage is not announced.storage or storage is None:
        raise reading.damaged(f"{shown(storage)} in the place of a storage")
    if (keys := value()) != [announced.key]:
        raise reading.damaged(f"{shown(keys)} as keys of one storage")
    elements = source.number(8)
    data = source.blob(source.left)
    return _checked(announced, elements, data, reading)


def _read_zip(blob: Blob, reading: Reading) -> Storage:
    entries = ZipEntries(blob, reading)
    announced = _Announced(5, reading)
    source = Source(entries.read("data.pkl"), reading)
    storage = unpickle(Machine(source, STORAGE_NAMES, reading, persistent=announced))
    if storage is not announced.storage or storage is None:
        raise reading.damaged(f"{shown(storage)} in the place of a storage")
    if entries.has("byteorder") and bytes(entries.read("byteorder").view()) != b"little":
        raise reading.damaged("a storage in big-endian byte order")
    data = entries.read(f"data/{announced.key}")
    return _checked(announced, announced.elements, data, reading)


class _Announced:
    """Takes the persistent id that stands for the one storage of a file.

    It is ("storage", class, key, device, elements), and in the old format a sixth item for views
    on other storages, which PyTorch last wrote before version 0.4.
    """

    def __init__(self, length: int, reading: Reading) -> None:
        self.length, self.reading = length, reading
        self.storage: object | None = None
        self.key, self.elements, self.dtype = "", 0, torch.float32

    def __call__(self, key: Any) -> object:
        plain = isinstance(key, tuple) and len(key) == self.length and key[0] == "storage"
        if not plain or key[5:] not in ((), (None,)):
            raise self.reading.unsafe(f"{shown(key)} as persistent id, instead of a storage")
        _, kind, name, device, elements = key[:5]
        if not isinstance(kind, Name) or kind.dtype is None:
            raise self.reading.damaged(f"{shown(kind)} as class of a storage")
        if not isinstance(name, str) or not isinstance(device, str):
            raise self.reading.damaged("a storage without key or device")
        if type(elements) is not int or not 0 <= elements <= self.reading.limits.elements:
            raise self.reading.damaged(f"a storage of {shown(elements)} elements")
        if self.storage is not None:
            raise self.reading.damaged("two storages in the place of one")
        self.storage, self.key, self.elements, self.dtype = object(), name, elements, kind.dtype
        return self.storage


def _checked(announced: _Announced, elements: int, data: Blob, reading: Reading) -> Storage:
    there = len(data)
    if elements != announced.elements or there != elements * announced.dtype.itemsize:
        raise reading.damaged(
            f"a storage announced with {announced.elements:,} elements, counted as {elements:,}, "
            f"of {announced.dtype.itemsize} bytes each in {there:,} bytes"
        )
    return Storage(announced.dtype, elements, data)
