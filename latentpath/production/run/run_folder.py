"""The folder of a run: what lies where, and that one run at a time works in it.

RUN/
  set/              the synthetic set, complete or absent: what may be shared
  private/          for the data holder alone
    plan.safetensors  what will be made and from what, fixed before any work
    config.toml       the options of the run, without places
    ledger.sqlite     state of every shard
    shards/           finished shards
    set.safetensors   the set's private file: who is behind which of its endpoints
    baselines/        sets to compare with, which promise nothing
    run.log           what happened when
    timing.json       where the time of the last session went
    lock              held by the process at work
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from latentpath.core import (
    PARTIAL,
    RESUME,
    InputError,
    NoLocksError,
    OutputExistsError,
    RunError,
    option,
    take_lock,
    write_file,
)
from latentpath.data import is_written_set

SHARD_SUFFIX = ".safetensors"
# What the environment takes from a run and may give back, and how.
_WAYS_OUT = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room"),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "make the run's folder writable"),
    **dict.fromkeys((errno.EIO, errno.ESTALE), "check the disk"),
}
_LOCK_TRIES, _LOCK_PAUSE = 5, 0.05


@dataclass(frozen=True)
class RunFolder:
    """Where the parts of a run lie."""

    root: Path
    """The folder that the user named."""

    @classmethod
    def at(cls, out: str | Path) -> RunFolder:
        """The folder of a run by the name that a user gave it."""
        return cls(Path(out))

    @classmethod
    def in_or_at(cls, place: str | Path) -> RunFolder:
        """The run that a user means who names it, or the project that it is part of."""
        named, part = cls.at(place), cls.at(Path(place) / "run")
        return part if part.has_plan() and not named.has_plan() else named

    @property
    def set(self) -> Path:
        """The synthetic set."""
        return self.root / "set"

    @property
    def private(self) -> Path:
        """All that must not be shared."""
        return self.root / "private"

    @property
    def plan(self) -> Path:
        """The plan."""
        return self.private / "plan.safetensors"

    @property
    def ledger(self) -> Path:
        """The ledger."""
        return self.private / "ledger.sqlite"

    @property
    def shards(self) -> Path:
        """Folder of the finished shards."""
        return self.private / "shards"

    @property
    def log(self) -> Path:
        """What happened when."""
        return self.private / "run.log"

    @property
    def times(self) -> Path:
        """Seconds of each stage of the last session."""
        return self.private / "timing.json"

    @property
    def options(self) -> Path:
        """The resolved options, without places."""
        return self.private / "config.toml"

    @property
    def private_file(self) -> Path:
        """The set's private file."""
        return self.private / "set.safetensors"

    def baseline(self, name: str) -> Path:
        """Folder of a set to compare with."""
        return self.private / "baselines" / name

    @property
    def _lock(self) -> Path:
        return self.private / "lock"

    def shard(self, number: int) -> Path:
        """File of a finished shard, in folders of a thousand."""
        return self.shards / f"{number // 1000:06d}" / f"{number:09d}{SHARD_SUFFIX}"

    def shard_numbers(self) -> list[int]:
        """Numbers of all shard files that are there, ascending."""
        files = self.shards.glob(f"*/*{SHARD_SUFFIX}")
        names = [path.name.removesuffix(SHARD_SUFFIX) for path in files]
        return sorted(int(name) for name in names if name.isdigit())

    def has_plan(self) -> bool:
        """Whether a run was planned here."""
        return self.plan.is_file()

    def check(self, *, resume: bool, overwrite: bool) -> None:
        """Refuse a folder in which no run may be started, before any work.

        Raises:
            InputError, OutputExistsError: what is there, and the way out.
        """
        if self.root.exists() and not self.root.is_dir():
            raise OutputExistsError(
                expected="a folder for the run", got=f"{self.root}, a file", fix="choose another"
            )
        if self.has_plan():
            if resume or overwrite:
                return
            raise OutputExistsError(
                expected="a new folder for the run",
                got=f"{self.root}, which holds a run",
                fix="go on with it (--resume), replace it (--overwrite), or choose another folder",
            )
        if is_written_set(self.root):
            raise OutputExistsError(
                expected="a new folder for the run",
                got=f"{self.root}, which holds a set",
                fix="choose another folder: the set will be in the folder 'set' inside it",
            )
        ours = {"private"}
        if (resume or overwrite) and self._lock.exists() and is_written_set(self.set):
            ours.add("set")  # a run that was being replaced by another when it was killed
        if self.root.exists() and {path.name for path in self.root.iterdir()} - ours:
            raise OutputExistsError(
                expected="a new or empty folder for the run",
                got=f"{self.root}, which holds other files",
                fix="choose another folder",
            )
        if self.private.exists() and not (self._lock.exists() or not any(self.private.iterdir())):
            raise OutputExistsError(
                expected="a new or empty folder for the run",
                got=f"{self.root}, whose folder 'private' is not of a run",
                fix="choose another folder",
            )
        parent = next(folder for folder in (self.root, *self.root.parents) if folder.exists())
        if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
            raise InputError(
                expected="a run folder in a place that can be written to",
                got=f"{self.root}",
                fix="choose another place",
            )

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder and hold its lock; what comes to no plan leaves nothing behind.

        Raises:
            RunError: another process is at work here, or the place cannot be written to.
        """
        with named_disk_errors():
            existed = self.root.exists()
            self.root.mkdir(parents=True, exist_ok=True)
            self.private.mkdir(exist_ok=True, mode=0o700)
            os.close(os.open(self._lock, os.O_CREAT | os.O_RDWR, 0o600))
        lock = self._take_lock()
        if lock is None and os.name == "posix":
            raise RunError(
                expected="a run folder in which no other run is at work",
                got=f"the process {self._holder()} at work in {self.root}",
                fix="wait for it or stop it; `latentpath status` shows how far it is",
            )
        try:
            with named_disk_errors():
                self._lock.write_text(f"{os.getpid()}\n", encoding="ascii")
            yield
        finally:
            if not self.has_plan():
                self._leave_nothing(existed)
            if lock is not None:
                os.close(lock)

    def _take_lock(self) -> int | None:
        """Try for a while, because a look at the lock (`at_work`) holds it for an instant."""
        try:
            for _ in range(_LOCK_TRIES):
                lock = take_lock(self._lock)
                if lock is not None:
                    return lock
                time.sleep(_LOCK_PAUSE)
        except NoLocksError as error:
            raise RunError(
                expected="a file system with locks for the run's folder",
                got=str(error.strerror).lower(),
                fix="mount it with locks, or choose another one: nothing else would keep a second "
                "run out",
            ) from error
        return None

    def _leave_nothing(self, existed: bool) -> None:
        """Remove what a run left that came to no plan; never the private file of a set."""
        if self.private_file.exists():
            self.forget()
            return
        shutil.rmtree(self.private, ignore_errors=True)
        if not existed:
            with contextlib.suppress(OSError):  # others may have put something there
                self.root.rmdir()

    def _holder(self) -> str:
        try:
            return self._lock.read_text(encoding="ascii").strip() or "unknown"
        except OSError:
            return "unknown"

    def at_work(self) -> int | None:
        """Process that holds the lock, if one does."""
        if not self._lock.exists():
            return None
        try:
            lock = take_lock(self._lock)
        except NoLocksError:
            return None  # then no run begins here
        if lock is not None:
            os.close(lock)
            return None
        holder = self._holder()
        return int(holder) if holder.isdigit() else None

    def forget(self) -> None:
        """Remove plan, ledger and shards; the set and its private file stay for now."""
        self.plan.unlink(missing_ok=True)  # first: without it, the rest is no run
        for path in self.private.iterdir():
            if path in (self._lock, self.private_file):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def remove_partial(self) -> None:
        """Remove what was being written when a run was killed."""
        for path in list(self.private.rglob(f".*{PARTIAL}*")):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


@contextmanager
def named_disk_errors() -> Iterator[None]:
    """Turn a full, read-only or closed disk into RunError, which names no path."""
    try:
        yield
    except (OSError, InputError) as error:
        # `new_folder` has its own words for it.
        cause = error.__cause__ if isinstance(error, InputError) else error
        if not isinstance(cause, OSError) or cause.errno not in _WAYS_OUT:
            raise
        raise disk_error(str(cause.strerror).lower(), _WAYS_OUT[cause.errno]) from error


def disk_error(got: str, way_out: str) -> RunError:
    """What to say of a disk that is full or cannot be written to."""
    return RunError(
        expected="that the run's folder can be written",
        got=got,
        fix=f"{way_out} and {option(RESUME)}; what is finished is kept",
    )


def write_durably(path: Path, content: bytes) -> None:
    """Write a file under a temporary name, force it to the disk, check it, and rename it.

    Raises:
        RunError: the disk is full or cannot be written to; nothing is left then.
    """
    with named_disk_errors():
        write_file(path, content)


class RunLog:
    """Appends lines to the log file; what is written is on its way to the disk at once.

    Lines are made of numbers, names of classes and our own words. Nothing that was read from a
    file name, a path or an error of another package goes in.
    """

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        self._stream: IO[str] = os.fdopen(descriptor, "a", encoding="utf-8")

    def __call__(self, message: str) -> None:
        """Add a line with the time in UTC."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        try:
            self._stream.write(f"{now} {' '.join(message.split())}\n")
            self._stream.flush()
        except OSError:  # a full disk stops the run where it stores shards, with a better message
            return

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
