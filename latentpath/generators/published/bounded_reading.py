"""One reading of one file: its bytes, what it may cost, and how it fails.

Every part of the reader gets the same `BoundedReading`, also those that read files nested in the
file, so the bounds hold for the whole. A file is unsafe, damaged, too large, or something else
altogether. Its bytes are never copied.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from latentpath.core import WeightsError

LONGEST = 80
WANTED = "a published StyleGAN2 or StyleGAN3 generator"
ANOTHER_COPY = "download it again, or restore it from a copy"


class UnsafePickleError(WeightsError):
    """The pickle asks for what no generator needs: a call, a class or an instruction."""


class DamagedPickleError(WeightsError):
    """The pickle contradicts itself or ends too early."""


class OversizedPickleError(WeightsError):
    """The pickle asks for more memory or work than any generator takes."""


class ForeignFileError(WeightsError):
    """The file is sound, but no StyleGAN generator: an archive, a web page, another model."""


def shown(value: Any) -> str:
    """A short, printable form of a value from a file, which may be of any size or nesting."""
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    if isinstance(value, str):
        text = ascii(value[:LONGEST])
        return text if len(value) <= LONGEST else f"{text[:-1]}...' ({len(value):,} characters)"
    title = getattr(value, "title", None)
    return title if isinstance(title, str) else f"a {type(value).__name__}"


@dataclass(frozen=True)
class Limits:
    """Bounds on what a file may ask for; the largest published files need a fifth."""

    file_bytes: int = 4 << 30
    """Size of the file. It is read into memory as it is, so this much memory is needed too."""
    opcodes: int = 500_000
    """Instructions of the pickle and of all pickles nested in it (a generator of 1024x1024 takes
    26,000, a snapshot of training about 80,000). Each makes at most one object of a few hundred
    bytes."""
    stack: int = 100_000
    """Values and marks that wait on the pickle's stacks."""
    text_bytes: int = 1 << 20
    """Length of one text, such as the source code that travels with a network. The texts by which
    old protocols spell bytes may be longer."""
    all_text_bytes: int = 64 << 20
    """Length of all texts together."""
    integer_bytes: int = 16
    """Length of one integer."""
    dimensions: int = 8
    """Axes of a tensor or array."""
    elements: int = 1 << 40
    """Every size, stride and offset."""
    copied_items: int = 500_000
    """Items that instructions copy from one container into another."""


LIMITS = Limits()


class BoundedReading:
    """What reading a file has cost so far, and its errors, which name the file.

    Args:
        path: the file, for messages.
        file_bytes: its size. What is copied out of it may be four times that, plus 64 MiB: the
            generator's tensors, and bytes that old pickle protocols spell as text.
        limits: bounds on everything else.
    """

    def __init__(self, path: str | Path, file_bytes: int, limits: Limits = LIMITS) -> None:
        self.path, self.limits = path, limits
        self.most_copied = 4 * file_bytes + (64 << 20)
        self._opcodes = self._text = self._items = self._copied = 0

    def count_opcode(self) -> None:
        """One more instruction."""
        self._opcodes += 1
        if self._opcodes > self.limits.opcodes:
            raise self.oversized(f"more than {self.limits.opcodes:,} instructions")

    def count_text(self, size: int) -> None:
        """`size` more bytes of text."""
        self._text += size
        if self._text > self.limits.all_text_bytes:
            raise self.oversized(f"more than {self.limits.all_text_bytes:,} bytes of text")

    def count_items(self, number: int) -> None:
        """`number` more items copied between containers."""
        self._items += number
        if self._items > self.limits.copied_items:
            raise self.oversized(f"more than {self.limits.copied_items:,} copied items")

    def count_copied(self, size: int) -> None:
        """`size` more bytes copied out of the file."""
        self._copied += size
        if self._copied > self.most_copied:
            raise self.oversized(f"more than {self.most_copied:,} bytes to copy")

    def unsafe(self, got: str) -> UnsafePickleError:
        """The file asks for something that a generator does not need."""
        return UnsafePickleError(
            expected=f"{WANTED} in {self.path}",
            got=got,
            fix="nothing of it was run; do not open it elsewhere either, and ask whoever made it "
            "for safetensors",
        )

    def damaged(self, got: str) -> DamagedPickleError:
        """The file contradicts itself or ends too early."""
        return DamagedPickleError(expected=f"{WANTED} in {self.path}", got=got, fix=ANOTHER_COPY)

    def oversized(self, got: str) -> OversizedPickleError:
        """The file asks for more than any generator takes."""
        return OversizedPickleError(
            expected=f"{WANTED} in {self.path}",
            got=got,
            fix="no published generator is like that, so the file is damaged or hostile",
        )


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

    def __init__(self, blob: Blob, reading: BoundedReading) -> None:
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
