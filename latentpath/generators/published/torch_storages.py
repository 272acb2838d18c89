"""Files of `torch.save` within the file, each of which holds one storage.

The published code pickles networks with plain `pickle.dump`, where each storage becomes a call of
`torch.storage._load_from_bytes`, an unrestricted `torch.load`. Here those bytes are read by the
same machine with names of storage classes only. `torch.load(weights_only=True)` would be no
substitute: it takes memory for whatever sizes the bytes name, and copies them.

Two formats occur. The old one, which all versions of PyTorch write here: five pickles (a magic
number, the version, facts about the machine, the object, the storages' keys), then the elements.
And the zip archive that `torch.save` writes by default, its entries stored as they are, a handful
of them. Python's `zipfile` makes objects for as many entries as an archive names and inflates what
is compressed, so the few structures that occur are read here (PKWARE's APPNOTE, sections 4.3.7 to
4.3.16).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import torch

from latentpath.generators.published.bounded_reading import Blob, BoundedReading, Source, shown
from latentpath.generators.published.pickle_instructions import unpickle
from latentpath.generators.published.pickle_machine import Machine, Names
from latentpath.generators.published.pickle_records import Name, Storage

ZIP_HEAD = b"PK\x03\x04"
_DIRECTORY_HEAD = b"PK\x01\x02"
_END_HEAD = b"PK\x05\x06"
_END_BYTES, _LONGEST_COMMENT = 22, 0xFFFF
_MOST_ENTRIES = 64
_STORED = 0
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


@dataclass(frozen=True)
class _Entry:
    name: str
    offset: int
    size: int
    checksum: int


class ZipEntries:
    """The entries of an archive, by their names without the folder that they share.

    Args:
        blob: the archive.
        reading: bounds and errors.
    """

    def __init__(self, blob: Blob, reading: BoundedReading) -> None:
        self.blob, self.reading = blob, reading
        self._entries: dict[str, _Entry] = {}
        number, offset = self._directory()
        source = self._source(offset)
        for _ in range(number):
            entry = self._entry(source)
            name = entry.name.partition("/")[2]
            if name in self._entries:
                raise self._broken(f"with two files {shown(name)}")
            self._entries[name] = entry

    def has(self, name: str) -> bool:
        """Whether there is an entry of that name."""
        return name in self._entries

    def read(self, name: str) -> Blob:
        """An entry's content, in place; its checksum is compared."""
        if name not in self._entries:
            raise self._broken(f"without {shown(name)}")
        entry = self._entries[name]
        source = self._source(entry.offset)
        if source.read(4) != ZIP_HEAD:
            raise self._broken(f"whose {shown(name)} is not where it should be")
        source.blob(22)  # what the directory says too
        source.blob(source.number(2) + source.number(2))  # name, extra field
        content = source.blob(entry.size)
        if zlib.crc32(content.view()) != entry.checksum:
            raise self._broken(f"whose {shown(name)} does not match its checksum")
        return content

    def _source(self, offset: int) -> Source:
        source = Source(self.blob, self.reading)
        source.blob(offset)
        return source

    def _directory(self) -> tuple[int, int]:
        """Number of entries and the offset of their directory."""
        data, start, stop = self.blob.data, self.blob.start, self.blob.stop
        end = data.rfind(_END_HEAD, max(start, stop - _END_BYTES - _LONGEST_COMMENT), stop)
        if end < 0:
            raise self._broken("without a directory")
        source = self._source(end - start + 10)
        number, _, offset = source.number(2), source.number(4), source.number(4)
        if number > _MOST_ENTRIES:
            raise self.reading.oversized(f"a storage as zip archive of {number:,} files")
        return number, offset

    def _entry(self, source: Source) -> _Entry:
        if source.read(4) != _DIRECTORY_HEAD:
            raise self._broken("with a damaged directory")
        source.blob(4)
        flags, method = source.number(2), source.number(2)
        source.blob(4)
        checksum, packed, size = (source.number(4) for _ in range(3))
        lengths = [source.number(2) for _ in range(3)]
        source.blob(8)
        offset = source.number(4)
        name = source.read(lengths[0]).decode("utf-8", "backslashreplace")
        source.blob(lengths[1] + lengths[2])
        if method != _STORED or flags & 1 or packed != size:
            raise self.reading.unsafe("a storage as compressed or encrypted zip archive")
        return _Entry(name, offset, size, checksum)

    def _broken(self, how: str) -> Exception:
        return self.reading.damaged(f"a storage as zip archive {how}")


# Up to PyTorch 1.x, storages on a GPU had classes of their own. All are read to the CPU.
STORAGE_NAMES: Names = {
    (module, name): Name(f"{module}.{name}", dtype=dtype)
    for module in ("torch", "torch.cuda")
    for name, dtype in _STORAGES.items()
}


def read_storage(blob: Blob, reading: BoundedReading) -> Storage:
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


def _read_stream(blob: Blob, reading: BoundedReading) -> Storage:
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


def _read_zip(blob: Blob, reading: BoundedReading) -> Storage:
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

    def __init__(self, length: int, reading: BoundedReading) -> None:
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


def _checked(announced: _Announced, elements: int, data: Blob, reading: BoundedReading) -> Storage:
    there = len(data)
    if elements != announced.elements or there != elements * announced.dtype.itemsize:
        raise reading.damaged(
            f"a storage announced with {announced.elements:,} elements, counted as {elements:,}, "
            f"of {announced.dtype.itemsize} bytes each in {there:,} bytes"
        )
    return Storage(announced.dtype, elements, data)
