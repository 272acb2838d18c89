"""The ledger of a run: what became of every shard, in an SQLite file that survives any stop.

One process writes it, the one that holds the run's lock; any number may read it meanwhile (WAL
mode). Every row carries a hash of itself, so that damage which leaves a sound database is found
too. A row "done" is written only when the shard's file is on the disk.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

from latentpath.core import REBUILD, IntegrityError, hash_bytes, new_file, option
from latentpath.production.plan import Plan
from latentpath.production.run.run_folder import disk_error
from latentpath.production.selection import Schedule
from latentpath.production.shard import ShardCounts
from latentpath.production.worker import ON_DEVICE, STAGES

RUNNING, DONE, FAILED = "running", "done", "failed"
_APPLICATION = 0x6C70_6C67  # "lplg"
_VERSION = 1


@dataclass(frozen=True)
class ShardRow:
    """A shard that was begun."""

    number: int
    """Place in the plan."""
    state: str
    """"running", "done" or "failed"."""
    attempts: int
    """How often it was begun since the run was last started."""
    worker: str = ""
    """Who had it last."""
    started: float = 0.0
    """Unix time in seconds of the last attempt's beginning."""
    finished: float = 0.0
    """Unix time at which it was stored."""
    sha256: str = ""
    """Of its file."""
    bytes: int = 0
    """Of its file."""
    tested: int = 0
    """Samples that went to the gate."""
    accepted: int = 0
    """Samples that passed."""
    rejected: str = "{}"
    """JSON: samples turned away by reason."""
    seconds: str = "{}"
    """JSON: time of each stage."""
    error: str = ""
    """What went wrong last."""

    @property
    def counts(self) -> ShardCounts:
        """How many samples it brought."""
        return ShardCounts(self.number, self.tested, self.accepted, json.loads(self.rejected))

    @property
    def times(self) -> dict[str, float]:
        """Seconds of each stage."""
        return json.loads(self.seconds)


@dataclass(frozen=True)
class SessionRow:
    """A process that worked on the run."""

    number: int
    engine: str
    workers: int
    process: int
    """Its process number."""
    started: float
    """Unix time in seconds."""
    seen: float
    """Unix time at which it last wrote."""
    ended: str = ""
    """How it ended: "finished", "stopped", "failed"; empty while it works, or if it was killed."""


_SHARD_COLUMNS = [field.name for field in fields(ShardRow)]
_SESSION_COLUMNS = [field.name for field in fields(SessionRow)]
_SCHEMA = f"""
CREATE TABLE run (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE shards (number INTEGER PRIMARY KEY, state TEXT NOT NULL, attempts INTEGER NOT NULL,
  worker TEXT NOT NULL, started REAL NOT NULL, finished REAL NOT NULL, sha256 TEXT NOT NULL,
  bytes INTEGER NOT NULL, tested INTEGER NOT NULL, accepted INTEGER NOT NULL,
  rejected TEXT NOT NULL, seconds TEXT NOT NULL, error TEXT NOT NULL, seal TEXT NOT NULL) STRICT;
CREATE TABLE sessions (number INTEGER PRIMARY KEY, engine TEXT NOT NULL, workers INTEGER NOT NULL,
  process INTEGER NOT NULL, started REAL NOT NULL, seen REAL NOT NULL, ended TEXT NOT NULL) STRICT;
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_VERSION};
"""


class Ledger:
    """An open ledger. Made by `create`, `open` or `read`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.isolation_level = None  # transactions are begun and ended in `_writing`
        self._session = 0

    @classmethod
    def create(cls, path: Path, plan: str) -> Ledger:
        """Make an empty ledger for the plan of this hash: complete, or not at all."""
        # SQLite gives its further files the mode of the first.
        with new_file(path) as partial, _naming_damage():
            connection = sqlite3.connect(partial)
            connection.executescript(f"BEGIN; {_SCHEMA} COMMIT;")
            connection.execute("INSERT INTO run VALUES ('plan', ?)", [plan])
            connection.commit()
            connection.close()
        return cls(_connect(path))

    @classmethod
    def open(cls, path: Path, plan: str) -> Ledger:
        """Open a run's ledger to go on with it.

        Raises:
            IntegrityError: absent, damaged, or of another plan, with the way out.
        """
        if not path.is_file():
            raise _damaged("none")
        with _naming_damage():
            ledger = cls(_connect(path))
            ledger.check(plan)
        return ledger

    @classmethod
    def read(cls, path: Path, plan: str) -> Ledger:
        """Open a ledger to look at it, while a run may be writing.

        Raises:
            IntegrityError: see `open`.
        """
        if not path.is_file():
            raise _damaged("none")
        with _naming_damage():
            ledger = cls(_connect_to_read(path))
            ledger.check(plan)
        return ledger

    def close(self) -> None:
        """Close it; the WAL is folded into the file."""
        self._connection.close()

    def check(self, plan: str) -> None:
        """Raise IntegrityError unless file, rows and plan are sound."""
        with _naming_damage():
            state = self._connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if state != "ok":
                raise _damaged(str(state).splitlines()[0])
            version = self._connection.execute("PRAGMA user_version").fetchone()[0]
            application = self._connection.execute("PRAGMA application_id").fetchone()[0]
            if (application, version) != (_APPLICATION, _VERSION):
                raise _damaged("a file of another kind or version")
            stored = self._connection.execute("SELECT value FROM run WHERE key = 'plan'").fetchone()
            if stored is None or stored[0] != plan:
                raise _damaged("the ledger of another plan")
            for _ in self.shards():
                pass

    def shards(self) -> Iterator[ShardRow]:
        """All shards that were begun, in the order of the plan, each checked."""
        query = f"SELECT {', '.join(_SHARD_COLUMNS)}, seal FROM shards ORDER BY number"
        with _naming_damage():
            for *values, seal in self._connection.execute(query):
                row = ShardRow(*values)
                if seal != _seal(row):
                    raise _damaged(f"another row for shard {row.number} than was written")
                yield row

    def shard(self, number: int) -> ShardRow | None:
        """One shard, if it was begun."""
        query = f"SELECT {', '.join(_SHARD_COLUMNS)} FROM shards WHERE number = ?"
        row = self._connection.execute(query, [number]).fetchone()
        return None if row is None else ShardRow(*row)

    def sessions(self) -> list[SessionRow]:
        """All processes that worked on the run, in their order."""
        query = f"SELECT {', '.join(_SESSION_COLUMNS)} FROM sessions ORDER BY number"
        return [SessionRow(*values) for values in self._connection.execute(query)]

    @property
    def arithmetic(self) -> dict[str, str] | None:
        """What decided the last bits of the shards so far, see `fingerprints.arithmetic`."""
        query = "SELECT value FROM run WHERE key = 'arithmetic'"
        row = self._connection.execute(query).fetchone()
        return None if row is None else json.loads(row[0])

    def note_arithmetic(self, arithmetic: dict[str, str]) -> None:
        """Note what decides the last bits, with the first shard."""
        with self._writing() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO run VALUES ('arithmetic', ?)",
                [json.dumps(arithmetic, sort_keys=True)],
            )

    def begin_session(self, engine: str, workers: int) -> None:
        """Note that this process now works on the run."""
        now = time.time()
        with self._writing() as connection:
            # Attempts count anew: whoever starts a run again has changed something.
            for row in [*self.shards()]:
                if row.state != DONE:
                    self._put(connection, replace(row, state=FAILED, attempts=0))
            cursor = connection.execute(
                "INSERT INTO sessions (engine, workers, process, started, seen, ended)"
                " VALUES (?, ?, ?, ?, ?, '')",
                [engine, workers, os.getpid(), now, now],
            )
            self._session = cursor.lastrowid or 0

    def seen(self, workers: int, expected: float = 0.0, working: float = 0.0) -> None:
        """Note that this process is still at work.

        Args:
            workers: how many it has.
            expected: images that the shards in hand will bring of what is done of them.
            working: seconds since the oldest of these was begun.
        """
        with self._writing() as connection:
            connection.execute(
                "UPDATE sessions SET seen = ?, workers = ? WHERE number = ?",
                [time.time(), workers, self._session],
            )
            connection.execute(
                "INSERT OR REPLACE INTO run VALUES ('in hand', ?)",
                [json.dumps([expected, working])],
            )

    @property
    def in_hand(self) -> tuple[float, float]:
        """Images that the shards in hand will bring, and the seconds that this took; see `seen`."""
        row = self._connection.execute("SELECT value FROM run WHERE key = 'in hand'").fetchone()
        expected, working = json.loads(row[0]) if row else (0.0, 0.0)
        return expected, working

    def end_session(self, how: str) -> None:
        """Note how this process ended."""
        with self._writing() as connection:
            connection.execute(
                "UPDATE sessions SET seen = ?, ended = ? WHERE number = ?",
                [time.time(), how, self._session],
            )

    def begin(self, number: int) -> int:
        """Note that a shard is begun, and return which attempt it is."""
        old = self.shard(number) or ShardRow(number, RUNNING, 0)
        row = replace(old, state=RUNNING, attempts=old.attempts + 1, started=time.time())
        self.put(row)
        return row.attempts

    def put(self, row: ShardRow) -> None:
        """Note what became of a shard."""
        with self._writing() as connection:
            self._put(connection, row)

    @staticmethod
    def _put(connection: sqlite3.Connection, row: ShardRow) -> None:
        places = ", ".join("?" * (len(_SHARD_COLUMNS) + 1))
        values = [*astuple(row), _seal(row)]
        connection.execute(f"INSERT OR REPLACE INTO shards VALUES ({places})", values)

    def forget(self, number: int) -> None:
        """Drop what is known of a shard, whose file was lost."""
        with self._writing() as connection:
            connection.execute("DELETE FROM shards WHERE number = ?", [number])

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction; a full or closed disk becomes RunError."""
        try:
            if not self._connection.in_transaction:
                self._connection.execute("BEGIN IMMEDIATE")
            yield self._connection
            self._connection.execute("COMMIT")
        except BaseException as error:
            if self._connection.in_transaction:
                try:
                    self._connection.execute("ROLLBACK")
                except sqlite3.Error as second:
                    raise disk_error(str(second), "make room") from error
            if isinstance(error, sqlite3.DatabaseError):
                raise _explained(error) from error
            raise


def schedule_of(plan: Plan, ledger: Ledger) -> Schedule:
    """The schedule as the ledger has it."""
    finished = {
        row.number: (row.accepted, row.tested) for row in ledger.shards() if row.state == DONE
    }
    return Schedule(plan, finished)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=30)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _connect_to_read(path: Path) -> sqlite3.Connection:
    """A connection that writes nothing, not even where the folder allows it."""
    place = path.resolve().as_uri()
    try:
        connection = sqlite3.connect(f"{place}?mode=ro", uri=True, timeout=30)
        connection.execute("SELECT 1 FROM sqlite_schema").fetchone()
    except sqlite3.OperationalError:
        # A folder that is read-only has no room for the WAL's index; nobody is writing then.
        connection = sqlite3.connect(f"{place}?immutable=1", uri=True)
    return connection


def _seal(row: ShardRow) -> str:
    return hash_bytes(json.dumps(astuple(row)).encode())


@contextmanager
def _naming_damage() -> Iterator[None]:
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise _explained(error) from error


def _explained(error: sqlite3.DatabaseError) -> Exception:
    """A disk that is full or closed is no damage.

    By SQLite's words for FULL, READONLY, CANTOPEN and IOERR: its names for them are in Python 3.11
    and later alone.
    """
    text = str(error)
    if "disk is full" in text:
        return disk_error(text, "make room")
    if any(words in text for words in ("readonly", "unable to open", "disk I/O error")):
        return disk_error(text, "make the run's folder writable and sound")
    return _damaged(text)


def _damaged(got: str) -> IntegrityError:
    return IntegrityError(
        expected="the run's ledger as it was written", got=got, fix=option(REBUILD)
    )


def stage_rates(done: Sequence[ShardRow]) -> dict[str, float]:
    """Samples per second of each stage, from the shards whose times are known."""
    known = [row for row in done if row.times]
    rates = {}
    for stage in STAGES:
        seconds = sum(row.times.get(stage, 0.0) for row in known)
        # PNG files are made of the samples that passed alone, and written.
        samples = sum(row.tested if stage in ON_DEVICE else row.accepted for row in known)
        if seconds > 0:
            rates[stage] = samples / seconds
    return rates
