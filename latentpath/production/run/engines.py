"""Engines, who do a plan's shards, and that of one process: a crew on its device, threads for PNG.

An engine only computes; the driver alone keeps the books. Shards are given in portions: of as many
walks as fill a device's batches, and as are done in a minute or so, by what earlier portions took.
The set does not depend on it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Protocol

import torch

from latentpath.core import same_names
from latentpath.production.plan import Task
from latentpath.production.run.run_config import RunConfig
from latentpath.production.worker import (
    Advance,
    Computed,
    Crew,
    Job,
    Outcome,
    attempt,
    crew_size,
)

# What a portion takes, about, and how long somebody waits who wants a run to stop, seconds.
PORTION_SECONDS, PATIENCE = 60.0, 10.0
# Portions that a worker has: one on its device, and one that is being encoded or waits, so that the
# device never does. Where a portion takes longer than this, seconds, none waits.
MOST_IN_HAND, _LONG = 2, 15.0


class PortionSize:
    """Walks in a portion of work, by what the last portion took.

    Args:
        most: walks that fill the devices' batches.
        first: walks of the first portion, which is there to be measured.
        asked: walks that were asked for, at most; 0 for no such bound.
    """

    def __init__(self, most: int, first: int, asked: int = 0) -> None:
        self._most = min(most, asked or most)
        self.walks = min(self._most, first)
        self.per_walk: float | None = None
        """Seconds that a walk took; None before the first portion."""

    def note(self, walks: int, seconds: float) -> None:
        """A portion is done."""
        self.per_walk = seconds / walks
        self.walks = max(1, min(self._most, round(PORTION_SECONDS / max(self.per_walk, 1e-9))))

    @property
    def seconds(self) -> float:
        """What the next portion takes; 0 where it is not known."""
        return (self.per_walk or 0.0) * self.walks

    @property
    def in_hand(self) -> int:
        """Portions that a worker has at a time; one until it is known how long they take."""
        return MOST_IN_HAND if self.per_walk is not None and self.seconds < _LONG else 1


class Engine(Protocol):
    """Takes shards and gives back outcomes, in any order."""

    name: str
    """As `RunConfig.engine`."""

    @property
    def workers(self) -> int:
        """Workers that compute now."""

    def room(self) -> int:
        """How many more walks it takes now."""

    def spare(self, number: int) -> bool:
        """Whether a worker has nothing to do but a second attempt at this shard."""

    def submit(self, tasks: Sequence[Task]) -> None:
        """Take shards; one that is in hand already goes to another worker as well."""

    def poll(self, timeout: float) -> list[Outcome]:
        """Outcomes that came in, after waiting for the first of them for `timeout` seconds."""

    def advanced(self) -> float:
        """Walks that are done of the shards in hand, with parts of walks; 0 where an engine does
        not know."""

    def withdraw(self) -> list[int]:
        """Take back the shards that no worker has begun, or that were given up; their numbers."""

    def give_up(self) -> None:
        """Stop work that will not end soon, as far as it can be stopped; see `withdraw`."""

    def close(self) -> None:
        """Give up what is in hand and free the workers."""


def make_engine(
    job: Job,
    config: RunConfig,
    *,
    device: str = "auto",
    threads: int = 0,
    arithmetic: dict[str, str] | None = None,
) -> Engine:
    """The engine that the configuration names.

    Args:
        job: what to do.
        config: who does it.
        device: as the user named it; "local" works where the job's networks are.
        threads: CPU threads that the workers of "local" share; 0 takes PyTorch's number.
        arithmetic: what decided the last bits of the shards so far.

    Raises:
        MissingExtraError: it needs a package that is not installed.
        InputError: the machines do not have what it needs.
    """
    if config.engine == "ray":
        from latentpath.production.run.ray_engine import RayEngine

        return RayEngine(job, config, device=device, arithmetic=arithmetic)

    return LocalEngine(job, threads, config.portion_walks)


_NAME = "local"


class LocalEngine:
    """Computes portions of shards one after another, while the last one is still being encoded."""

    name = "local"

    def __init__(self, job: Job, threads: int = 0, portion_walks: int = 0) -> None:
        self._job, self._threads = job, threads or torch.get_num_threads()
        self.workers = crew_size(job, self._threads)
        self._size = PortionSize(
            self.workers * job.plan.walks_at_once(job.device),
            self.workers * job.plan.walks_of(0),
            self.workers * portion_walks,
        )
        self._advance = Advance()
        self._given_up: list[int] = []
        self._tasks: queue.SimpleQueue[Sequence[Task]] = queue.SimpleQueue()
        self._outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._in_hand: dict[int, int] = {}  # shard -> its portion
        self._portions = itertools.count()
        names = same_names()
        self._encoders = ThreadPoolExecutor(os.cpu_count() or 1, "encode", names)
        self._finishers = ThreadPoolExecutor(1, "finish", names)
        self._closed = threading.Event()
        # A daemon, so that an interpreter that gives up does not wait for a shard.
        self._thread = threading.Thread(target=self._run, args=(names,), name="device", daemon=True)
        self._thread.start()

    def room(self) -> int:
        """How many more walks it takes now: a portion, or nothing."""
        in_hand = len(set(self._in_hand.values()))
        return self._size.walks if in_hand < self._size.in_hand else 0

    def spare(self, number: int) -> bool:
        """Its workers share every portion."""
        return False

    def submit(self, tasks: Sequence[Task]) -> None:
        """Take shards, to be done together."""
        self._in_hand |= dict.fromkeys((task.number for task in tasks), next(self._portions))
        self._tasks.put(tasks)

    def poll(self, timeout: float) -> list[Outcome]:
        """Outcomes that came in."""
        outcomes: list[Outcome] = []
        try:
            outcomes.append(self._outcomes.get(timeout=timeout))
            while True:
                outcomes.append(self._outcomes.get_nowait())
        except queue.Empty:
            for outcome in outcomes:
                del self._in_hand[outcome.number]
                if outcome.withdrawn:
                    self._given_up.append(outcome.number)
            return [outcome for outcome in outcomes if not outcome.withdrawn]

    def withdraw(self) -> list[int]:
        """Take back the shards that wait for the device, and those that were given up."""
        numbers, self._given_up = self._given_up, []
        waiting: list[int] = []
        with contextlib.suppress(queue.Empty):
            while tasks := self._tasks.get_nowait():
                waiting += [task.number for task in tasks]
        for number in waiting:
            del self._in_hand[number]
        return numbers + waiting

    def advanced(self) -> float:
        """Walks that are done of the portion on the device."""
        return self._advance.walks

    def give_up(self) -> None:
        """Stop the walks on the device, unless they end soon."""
        left = self._size.per_walk and self._size.per_walk * self._advance.left
        if left is None or left > PATIENCE:
            self._advance.stop()

    def close(self) -> None:
        """Give up what is in hand; what is on the device is waited for."""
        self._closed.set()
        self._tasks.put(())
        self._thread.join()
        self._finishers.shutdown(cancel_futures=True)
        self._encoders.shutdown(cancel_futures=True)

    def _run(self, names: Callable[[], None]) -> None:
        names()
        crew: Crew | None = None
        while (tasks := self._tasks.get()) and not self._closed.is_set():
            if crew is None:
                made = attempt(lambda: Crew(self._job, self._threads), tasks[0].number, _NAME)
                if isinstance(made, Outcome):
                    for task in tasks:
                        self._outcomes.put(replace(made, number=task.number))
                    continue
                crew = made
            walks, began = sum(len(task.pairs) for task in tasks), time.monotonic()
            self._advance.begin(walks)
            made_now = crew.attempt(tasks, _NAME, self._advance)
            self._advance.begin(0)
            if not self._advance.stopped:
                self._size.note(walks, time.monotonic() - began)
            for computed in made_now:
                if isinstance(computed, Outcome):
                    self._outcomes.put(computed)
                else:
                    self._finishers.submit(self._finish, crew, computed)

    def _finish(self, crew: Crew, computed: Computed) -> None:
        def encode() -> Outcome:
            return crew.workers[0].encode(computed, self._encoders, _NAME)

        self._outcomes.put(attempt(encode, computed.shard.number, _NAME))
