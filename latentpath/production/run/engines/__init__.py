"""Engines: who does a plan's shards. An engine only computes; the driver alone keeps the books.

Shards are given in portions of as many walks as fill a device's batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from latentpath.production.plan import Task
from latentpath.production.run.run_config import RunConfig
from latentpath.production.worker import Job, Outcome


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

    def withdraw(self) -> list[int]:
        """Take back the shards that no worker has begun; returns their numbers."""

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

    return LocalEngine(job, threads)
