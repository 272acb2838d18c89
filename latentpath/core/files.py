"""Files and folders that appear under their final name only when they are complete, and locks.

Either is written under a temporary name beside its own, `.<name>.partial-<random>`, forced to the
disk, and renamed; the list of names above it is forced to the disk too. Whoever is killed on the
way leaves at most what has the temporary name, and whatever was there before stays.

Of a folder, the next run for the same name removes what was left; a lock on it tells a killed run
from one at work. What may be replaced is for the caller to say, with a predicate on folders.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import glob
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from latentpath.core.errors import InputError, OutputExistsError

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


IsOurs = Callable[[Path], bool]
"""Whether a folder holds what this package wrote, and may replace if asked to."""

# The disk is full, read-only or closed to us: the user's to mend, no bug.
_NOT_WRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
_RENAME_EXCHANGE = 2
_AT_FDCWD = -100


def check_output_is_free(out: str | Path, overwrite: bool = False, *, is_ours: IsOurs) -> None:
    """Refuse an output folder that must not be written to; call it before any work.

    Args:
        out: the folder to be. Absent or empty is fine.
        overwrite: allow a folder that holds a set of ours.
        is_ours: tells whether it does, such as `latentpath.data.is_written_set`.

    Raises:
        OutputExistsError: `out` is a file, or holds anything else.
        InputError: no folder can be made there.
    """
    target = _resolve(out)
    if os.path.ismount(target):
        raise InputError(
            expected="an output folder that can be put in place by renaming",
            got=f"{out}, where a file system is mounted",
            fix="name a folder inside it",
        )
    if not target.exists():
        _check_parent(out, target)
        return
    if not target.is_dir():
        raise OutputExistsError(
            expected="a new or empty output folder", got=f"{out}, a file", fix="choose another name"
        )
    if not any(target.iterdir()):
        return
    if is_ours(target):
        if overwrite:
            return
        raise OutputExistsError(
            expected="a new or empty output folder",
            got=f"{out}, which holds a set that latentpath wrote",
            fix="choose another folder, or ask to overwrite it",
        )
    raise OutputExistsError(
        expected="a new or empty output folder",
        got=f"{out}, which holds other files"
        + (" and is not a set that latentpath wrote" if overwrite else ""),
        fix="choose another folder",
    )


@contextmanager
def new_folder(out: str | Path, overwrite: bool = False, *, is_ours: IsOurs) -> Iterator[Path]:
    """Yield a folder to fill; when the block ends, it is there as `out`, complete.

    An exception in the block leaves nothing behind. A set of ours that is replaced
    (`overwrite`) stays in place until the new one is on the disk.

    Raises:
        OutputExistsError: see `check_output_is_free`; also if another run was faster.
        InputError: the disk is full or cannot be written to.
    """
    check_output_is_free(out, overwrite, is_ours=is_ours)
    target = _resolve(out)
    partial, lock = None, None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(target)
        partial, lock = make_locked(lambda: _make_partial(target))
        yield partial
        _flush_tree(partial)
        _put_in_place(partial, target, out, overwrite, is_ours)
        flush(target.parent)
    except OSError as error:
        if error.errno not in _NOT_WRITABLE:
            raise
        raise InputError(
            expected=f"that {out} can be written",
            got=str(error.strerror).lower(),
            fix="make room or choose another place; nothing was left behind",
        ) from error
    finally:
        if partial is not None:
            # After an exchange, the set that was replaced lies here.
            shutil.rmtree(partial, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def remove_leftovers(target: Path) -> None:
    """Remove what killed runs for `target` left beside it; runs still at work are left alone."""
    if not locks_are_known():
        return
    for sibling in sorted(target.parent.glob(f".{glob.escape(target.name)}{PARTIAL}*")):
        if sibling.is_symlink() or not sibling.is_dir():
            continue
        try:
            lock = take_lock(sibling)
        except NoLocksError:
            return  # a run may be at work there
        if lock is not None:
            shutil.rmtree(sibling, ignore_errors=True)
            os.close(lock)


def _resolve(out: str | Path) -> Path:
    # A link as output folder stays a link: what it points to is filled.
    return Path(os.path.realpath(out))


def _check_parent(out: str | Path, target: Path) -> None:
    parent = next(folder for folder in target.parents if os.path.lexists(folder))
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise InputError(
            expected="an output folder in a place that can be written to",
            got=f"{out}",
            fix="choose another place",
        )


def _make_partial(target: Path) -> Path:
    partial = partial_path(target)
    partial.mkdir()
    return partial


def _flush_tree(folder: Path) -> None:
    """Force files and folders to the disk, so that the rename cannot outrun their content."""
    if _flush_file_system(folder):
        return
    for parent, _, files in os.walk(folder):
        for name in files:
            flush(Path(parent, name))
        flush(Path(parent))


def _flush_file_system(folder: Path) -> bool:
    """Flush the whole file system in one commit (Linux syncfs): for thousands of small files
    hundreds of times faster than one commit per file.
    """
    syncfs = _libc("syncfs")
    if syncfs is None:
        return False
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        return syncfs(descriptor) == 0
    finally:
        os.close(descriptor)


def _libc(function: str) -> Callable[..., int] | None:
    """Return a function of the C library that Python does not wrap, if it is there."""
    try:
        return getattr(ctypes.CDLL(None, use_errno=True), function, None)
    except (OSError, TypeError):  # Windows has no C library under that name
        return None


def _put_in_place(
    partial: Path, target: Path, out: str | Path, overwrite: bool, is_ours: IsOurs
) -> None:
    check_output_is_free(out, overwrite, is_ours=is_ours)  # much time may have passed
    if target.exists() and any(target.iterdir()):
        _replace(partial, target)
        return
    try:
        if target.exists() and os.name != "posix":
            target.rmdir()
        partial.rename(target)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise
        raise OutputExistsError(
            expected="a new or empty output folder",
            got=f"{out}, which another run filled in the meantime",
            fix="choose another folder",
        ) from error


def _replace(partial: Path, target: Path) -> None:
    """Put `partial` in the place of the set at `target`, which moves to `partial`."""
    if _exchange(partial, target):
        return
    # No atomic exchange on this system: for an instant neither is there under the final name,
    # but both are complete beside it.
    aside = target.with_name(f".{target.name}.replaced-{secrets.token_hex(8)}")
    target.rename(aside)
    try:
        partial.rename(target)
    except OSError:
        aside.rename(target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _exchange(first: Path, second: Path) -> bool:
    """Swap two folders in one step, where kernel and file system can (Linux renameat2)."""
    renameat2 = _libc("renameat2")
    if renameat2 is None:
        return False
    names = os.fsencode(first), os.fsencode(second)
    return renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0
