"""How a run is carried out; what it makes is in `ProduceConfig`."""

from __future__ import annotations

from dataclasses import dataclass

from latentpath.core import InputError, check_at_least, check_one_of, check_within

ENGINES = ("local", "ray")
_MOST_WORKERS = 10_000


@dataclass(frozen=True)
class RunConfig:
    """Who does the work, in which portions, and how often it is tried."""

    engine: str = "local"
    """Who does the work: "local" is this process on one device, "ray" the workers of a Ray
    cluster, one on each GPU, or on the processors of one machine or many."""
    workers: int = 0
    """Workers of the engine "ray"; 0 takes as many as the cluster has GPUs, or processors for."""
    ray_address: str = ""
    """Ray cluster to join: host:port, or "auto" for the one that this machine is part of. Left
    out, one is started on this machine."""
    shard_walks: int = 16
    """Walks in a shard, the portion of work that is done and stored as a whole: a stop costs no
    more than the shards in hand. Part of the plan."""
    attempts: int = 3
    """How often a shard is tried before the run stops."""
    any_machine: bool = False
    """Take shards from different kinds of devices, or versions of PyTorch and zlib, for one set. It
    may then differ in its last bits from the one that a single kind makes."""

    def __post_init__(self) -> None:
        check_one_of(ENGINES, engine=self.engine)
        check_within(0, _MOST_WORKERS, workers=self.workers)
        check_at_least(1, shard_walks=self.shard_walks, attempts=self.attempts)
        if self.engine == "local" and (self.workers > 1 or self.ray_address):
            raise InputError(
                expected="one worker with the engine 'local'",
                got=f"workers={self.workers}, ray_address={self.ray_address!r}",
                fix="take the engine 'ray' for several workers",
            )
