"""Engines: who does a plan's shards. An engine only computes; the driver alone keeps the books.

Shards are given in portions: of as many walks as fill a device's batches, and as are done in a
minute or so, by what earlier portions took. The set does not depend on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from latentpath.production.plan import Task
from latentpath.production.run.run_config import RunConfig
from latentpath.production.worker import Job, Outcome

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
        from latentpath.production.run.engines.ray import RayEngine

        return RayEngine(job, config, device=device, arithmetic=arithmetic)
    from latentpath.production.run.engines.local import LocalEngine

    return LocalEngine(job, threads, config.portion_walks)
