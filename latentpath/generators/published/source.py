"""Bytes that a pickle is read from, without copying them."""

from __future__ import annotations

from latentpath.generators.published.reading import Reading


class Blob:
    """A run of bytes of the file, as pickles hold tensors' data."""

    __slots__ = ("data", "start", "stop")
    title = "bytes"

    def __init__(self, data: bytes, start: int = 0, stop: int | None = None) -> None:
        self.data, self.start = data, start
        self.stop = len(data) if stop is None else stop

    def __len__(self) -> int:
        return self.stop - self.start

    def view(self) -> memoryview:
        """The bytes, still those of the file."""
        return memoryview(self.data)[self.start : self.stop]

    def startswith(self, head: bytes) -> bool:
        """Whether the bytes begin with `head`."""
        return self.data.startswith(head, self.start, self.stop)


class Source:
    """A position in a `Blob`; every step is checked against its end."""

    def __init__(self, blob: Blob, reading: Reading) -> None:
        self.data, self.position, self.stop = blob.data, blob.start, blob.stop
        self.reading = reading

    def byte(self) -> int:
        """The next byte."""
        if self.position >= self.stop:
            raise self._ended(1)
        self.position += 1
        return self.data[self.position - 1]

    def read(self, size: int) -> bytes:
        """The next few bytes, copied; for numbers and names."""
        blob = self.blob(size)
        return self.data[blob.start : blob.stop]

    def blob(self, size: int) -> Blob:
        """The next `size` bytes, in place."""
        if size > self.stop - self.position:
            raise self._ended(size)
        self.position += size
        return Blob(self.data, self.position - size, self.position)

    def number(self, size: int, signed: bool = False) -> int:
        """The next `size` bytes as a little-endian integer."""
        return int.from_bytes(self.read(size), "little", signed=signed)

    def line(self, longest: int) -> bytes:
        """The bytes up to the next line feed, which is passed over."""
        limit = min(self.stop, self.position + longest + 1)
        end = self.data.find(b"\n", self.position, limit)
        if end < 0 and limit == self.stop:
            raise self._ended(1)
        if end < 0:
            raise self.reading.oversized(f"a line of more than {longest:,} bytes")
        line = self.data[self.position : end]
        self.position = end + 1
        return line

    @property
    def left(self) -> int:
        """Bytes up to the end."""
        return self.stop - self.position

    def _ended(self, size: int) -> Exception:
        return self.reading.damaged(
            f"an end at byte {self.stop:,}, in the middle of an instruction"
            + (f" that is {size:,} bytes long" if size > 1 else "")
        )
