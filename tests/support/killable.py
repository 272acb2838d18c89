"""Runs in processes of their own that can be killed, and a loop that does so at random moments.

The processes are forked from a server that has imported everything once, so that a run begins
within milliseconds; it has no threads yet, which makes forking it safe.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from latentpath.core.errors import IntegrityError, LatentpathError, RunError
from latentpath.production import RunFolder, produce
from latentpath.production.plan import read_plan
from latentpath.production.shard import read_shard
from support import search_path, tiny_models
from support.tiny_runs import config, options

torch.set_num_threads(1)
DATA = tiny_models.private_set()
BUNDLE = tiny_models.bundle_for(DATA, monai=False)

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__])


def _serve() -> None:
    """Start the server where it finds this module."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = search_path()
    try:
        forkserver.ensure_running()
    finally:
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before


def work(root: str, said: str | None, limits: dict[int, int], given: dict) -> None:
    """What such a process does: begin or go on with a run, and exit with the command's code."""
    if said is not None:
        sys.stderr = open(said, "w", encoding="utf-8", buffering=1)  # noqa: SIM115
    for name, value in limits.items():
        resource.setrlimit(name, (value, value))
    made = config(**given.pop("config", {}))
    try:
        produce(DATA, BUNDLE, root, made, options(resume=True, **given))
    except RunError as error:
        print(f"latentpath: error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except LatentpathError as error:
        print(f"latentpath: error: {error}", file=sys.stderr)
        sys.exit(2)


def start(
    root: Path, *, said: Path | None = None, limits: dict[int, int] | None = None, **given
) -> BaseProcess:
    """Begin or go on with a run in a process of its own, whose errors go to the file `said`."""
    _serve()
    words = None if said is None else str(said)
    process = _CONTEXT.Process(target=work, args=(str(root), words, limits or {}, given))
    process.start()
    return process


def finish(process: BaseProcess, seconds: float = 120) -> int | None:
    """Wait for a process and return its exit code."""
    process.join(seconds)
    code = process.exitcode
    process.kill()
    process.join()
    return code


@dataclass
class Kills:
    """What came of killing runs again and again."""

    tries: int = 0
    """Processes killed."""
    phases: Counter = field(default_factory=Counter)
    """Where the run was when it was killed: planning, shards, set."""
    finished: int = 0
    """Runs that were gone on with until they ended."""
    lost: int = 0
    """Finished shards that were gone or made again."""
    different: int = 0
    """Runs whose set or private file differs from the undisturbed one's."""
    failed: int = 0
    """Processes that ended with an error instead of going on."""


def intact(folder: RunFolder) -> dict[int, tuple[int, int]]:
    """Finished shards on the disk: inode and time of each."""
    if not folder.has_plan():
        return {}
    plan, found = read_plan(folder.plan), {}
    for number in folder.shard_numbers():
        try:
            read_shard(folder.shard(number), number, plan.hash)
        except IntegrityError:
            continue
        status = folder.shard(number).stat()
        found[number] = status.st_ino, status.st_mtime_ns
    return found


def phase(folder: RunFolder) -> str:
    """Where a run was when it was killed."""
    if not folder.has_plan():
        return "planning"
    writing = folder.set.exists() or any(folder.root.glob(".set.partial-*"))
    return "set" if writing else "shards"


def kill_again_and_again(
    place: Path, tries: int, expected: dict[str, bytes], *, seed: int = 0, **given
) -> Iterator[Kills]:
    """Kill runs with SIGKILL at random moments, go on with them, and compare what they make.

    Args:
        place: folder for the runs.
        tries: processes to kill.
        expected: files of the set and private file of an undisturbed run, see `outcome`.
        seed: of the moments.
        given: options of the runs.

    Yields:
        The tally so far, after every kill.
    """
    rng, tally, number = random.Random(seed), Kills(), 0
    finish(start(place / "first", **given))  # the server imports everything meanwhile
    began = time.monotonic()
    finish(start(place / "measured", **given))
    whole = time.monotonic() - began
    while tally.tries < tries:
        folder, kept = RunFolder(place / f"run-{number}"), {}
        number += 1
        while True:
            process = start(folder.root, **given)
            process.join(rng.uniform(0, whole) if tally.tries < tries else 120)
            alive = process.is_alive()
            process.kill()
            process.join()
            now = intact(folder)
            tally.lost += sum(now.get(shard) != before for shard, before in kept.items())
            kept = now
            if not alive:
                tally.failed += process.exitcode != 0
                break
            tally.tries += 1
            tally.phases[phase(folder)] += 1
            yield tally
        tally.finished += 1
        tally.different += outcome(folder) != expected
        yield tally


def outcome(folder: RunFolder) -> dict[str, bytes]:
    """What a run is for: all files of its set, and the private file."""
    files = [path for path in folder.set.rglob("*") if path.is_file()]
    found = {path.relative_to(folder.set).as_posix(): path.read_bytes() for path in files}
    return {**found, "(private)": folder.private_file.read_bytes()}
