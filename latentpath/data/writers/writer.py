"""What all writers share: images are added in their order, and files appear complete or not at all.

A file is written under a temporary name beside its own, forced to the disk, and renamed. The bytes
depend on the images, labels, columns and options (and the versions of the libraries that pack
them), not on how the images were cut into batches, when or where.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import IO, Any, ClassVar

from latentpath.core import InputError, hash_file, partial_path, put_in_place
from latentpath.data.writers.batch import Batch, SetForm


class Writer(ABC):
    """Writes images in one layout, below a folder.

    ```
    with writer_class(root, form) as writer:
        for batch in batches:
            writer.add(batch)
    writer.files    # {"shard-000000.tar": {"bytes": ..., "sha256": ...}}
    ```

    When the block ends in an exception, nothing of it stays. A killed process leaves a file
    `.<name>.partial-<random>`.

    Args:
        root: the folder; made if absent.
        form: of the whole set.
        file: name of the file to write, relative to `root`, with forward slashes; `default_file`
            if None. Layouts that are no single file take none.
        first: number that the first image has in the whole set.

    Raises:
        InputError: the layout cannot hold images of this form.
    """

    layout: ClassVar[str]
    """Name of the layout."""
    suffix: ClassVar[str]
    """How its file's name ends; "" where it is a tree of files."""
    default_file: ClassVar[str]
    """Where the file goes, relative to the set's folder."""
    sharded: ClassVar[bool] = False
    """Whether a set may be written as several files of this layout, each by a writer of its own."""

    files: dict[str, dict[str, Any]]
    """Once closed: bytes and SHA-256 of each file written, by its name relative to `root`."""

    def __init__(
        self, root: str | Path, form: SetForm, *, file: str | None = None, first: int = 0
    ) -> None:
        self.root, self.form = Path(root), form
        self.first, self.count = first, 0
        self.files = {}
        self.check_form(form)
        if first < 0:
            raise InputError(expected="a first number of 0 or more", got=str(first), fix="raise it")

    @classmethod
    def check_form(cls, form: SetForm) -> None:
        """Raise InputError if the layout cannot hold a set of this form; most hold any.

        MissingExtraError where a package that writes it is not installed.
        """
        return

    @classmethod
    def file_of(cls, shard: int, shards: int) -> str:
        """Return the usual name of one of the files of a set, relative to the set's folder."""
        return cls.default_file

    @abstractmethod
    def add(self, batch: Batch) -> None:
        """Write the next images.

        Raises:
            InputError: the batch has another form (ShapeError, DataError).
            OSError: the disk is full or gone; call `abort`, or leave the `with` block.
        """

    @abstractmethod
    def close(self) -> None:
        """Complete the file and put it in its place."""

    @abstractmethod
    def abort(self) -> None:
        """Remove what was written; does nothing once closed."""

    def numbers(self, batch: Batch) -> range:
        """Check a batch and return the numbers of its images in the set."""
        batch.check(self.form)
        start = self.first + self.count
        self.count += len(batch)
        return range(start, start + len(batch))

    def __enter__(self) -> Writer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.abort()
            return
        try:
            self.close()
        except BaseException:
            self.abort()
            raise


class FileWriter(Writer):
    """A writer of one file."""

    def __init__(
        self, root: str | Path, form: SetForm, *, file: str | None = None, first: int = 0
    ) -> None:
        super().__init__(root, form, first=first)
        self.file = file or self.default_file
        self.path = self.root / self.file
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.partial = partial_path(self.path)
        self.stream: IO[bytes] = self.partial.open("wb")
        try:
            self.begin()
        except BaseException:
            self.stream.close()
            self.partial.unlink(missing_ok=True)
            raise

    @abstractmethod
    def begin(self) -> None:
        """Open the archive on `self.stream`."""

    @abstractmethod
    def end(self) -> None:
        """Complete the archive; the stream is closed afterwards."""

    def discard(self) -> None:
        """Let go of whatever `begin` opened beside the stream; called by `abort`."""

    def close(self) -> None:
        self.end()
        self.stream.close()
        entry = describe_file(self.partial)
        put_in_place(self.partial, self.path)
        self.files[self.file] = entry

    def abort(self) -> None:
        if self.file in self.files:
            return
        self.discard()
        self.stream.close()
        self.partial.unlink(missing_ok=True)


def describe_file(path: Path) -> dict[str, Any]:
    """Return size and checksum of a file, as manifests list them."""
    return {"bytes": path.stat().st_size, "sha256": hash_file(path)}
