"""Entries of a zip archive that `torch.save` wrote: stored as they are, a handful of them.

Python's `zipfile` makes objects for as many entries as an archive names and inflates what is
compressed, so the few structures that occur are read here (PKWARE's APPNOTE, sections 4.3.7 to
4.3.16).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from latentpath.generators.published.errors import shown
from latentpath.generators.published.reading import Reading
from latentpath.generators.published.source import Blob, Source

ZIP_HEAD = b"PK\x03\x04"
_DIRECTORY_HEAD = b"PK\x01\x02"
_END_HEAD = b"PK\x05\x06"
_END_BYTES, _LONGEST_COMMENT = 22, 0xFFFF
_MOST_ENTRIES = 64
_STORED = 0


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

    def __init__(self, blob: Blob, reading: Reading) -> None:
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
