"""Files that appear under their final name only when they are complete and on the disk, and locks.

A file is written under a temporary name beside its own, `.<name>.partial-<random>`, forced to the
disk, and renamed; the folder's list of names is forced to the disk too. Whoever is killed on the
way leaves at most the temporary file, and whatever was there before stays. Folders that appear as a
whole are in `folders`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: no advisory locks, so leftovers stay for the user to remove
    fcntl = None  # type: ignore[assignment]

PARTIAL = ".partial-"
"""In the name of everything that is not complete yet."""
OWNER_ONLY = 0o600
"""Permission bits of what was made from real images."""
# How a lock is refused that somebody else holds.
_HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)


def partial_path(path: Path) -> Path:
    """A temporary name beside `path` that no other writer has."""
    return path.with_name(f".{path.name}{PARTIAL}{secrets.token_hex(8)}")


@contextlib.contextmanager
def new_file(path: str | Path, mode: int = OWNER_ONLY) -> Iterator[Path]:
    """Yield the name of an empty file to fill; when the block ends, it lies at `path`, complete.

    An exception in the block leaves nothing behind, and what was at `path` stays.

    Args:
        path: the file to be; its folder is made if absent.
        mode: permission bits, less what the process masks.

    Raises:
        OSError: the disk is full or cannot be written to.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(path)
    try:
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
        yield partial
        put_in_place(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def write_file(path: str | Path, content: bytes, mode: int = OWNER_ONLY) -> None:
    """Write a file, whole or not at all, and compare what the disk gives back.

    Raises:
        OSError: see `new_file`; also if what was written reads back differently.
    """
    with new_file(path, mode) as partial:
        partial.write_bytes(content)
        flush(partial)
        if partial.read_bytes() != content:
            raise OSError(errno.EIO, "what was written reads back differently")


def put_in_place(partial: Path, path: Path) -> None:
    """Force a complete file to the disk and give it its name; an earlier one is replaced."""
    flush(partial)
    partial.replace(path)
    flush(path.parent)


def flush(path: Path) -> None:
    """Force a file, or a folder's list of names, to the disk."""
    if os.name != "posix" and path.is_dir():
        return  # only files can be flushed there
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class NoLocksError(OSError):
    """The file system has no such locks: NFS none on folders, others none unless mounted so."""


def take_lock(path: Path) -> int | None:
    """Lock a file or folder until the descriptor is closed or the process ends.

    None if someone else has it, if it cannot be opened, or where the system knows no locks.

    Raises:
        NoLocksError: the file system has none.
    """
    descriptor = None if fcntl is None else _open_to_lock(path)
    if descriptor is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno in _HELD:
            return None
        raise NoLocksError(error.errno, error.strerror) from error
    return descriptor


def make_locked(make: Callable[[], Path]) -> tuple[Path, int | None]:
    """Make a temporary file or folder and lock it; the lock is None where there are none.

    Args:
        make: makes it under a name that nobody has. Another process may take it for a leftover of
            a killed one before it is locked, and remove it; then it is made again.
    """
    while True:
        made = make()
        try:
            lock = take_lock(made)
        except NoLocksError:
            return made, None
        if made.exists() and (lock is not None or not locks_are_known()):
            return made, lock
        if lock is not None:
            os.close(lock)


def locks_are_known() -> bool:
    """Whether the operating system has locks of this kind."""
    return fcntl is not None


def _open_to_lock(path: Path) -> int | None:
    # NFS locks what is open for writing alone; folders and files of others cannot be opened so.
    for flags in (os.O_RDWR, os.O_RDONLY):
        try:
            return os.open(path, flags)
        except OSError:
            continue
    return None
