"""A folder that appears under its final name only when it is complete.

Everything is written into a sibling `.<name>.partial-<random>` on the same file system, flushed
to the disk, and renamed. Whoever is killed on the way leaves at most such a sibling, which the
next run for the same name removes. A lock on the sibling tells a killed run from one at work.
What may be replaced is for the caller to say, with a predicate on folders.
"""

from __future__ import annotations

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
from latentpath.core.files import (
    PARTIAL,
    NoLocksError,
    flush,
    locks_are_known,
    make_locked,
    partial_path,
    take_lock,
)

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
