"""The engine of a Ray cluster: one worker on each GPU, or on groups of processors.

Workers are actors that load the networks once and then take shards as they have room for them. A
worker that dies is replaced, and its shards go to others; machines that join the cluster get
workers, too. Nothing but the Ray cluster connects the machines: networks and private images travel
through its object store, and the driver alone writes to the run's folder.
"""

from __future__ import annotations

import itertools
import os
import pickle
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from latentpath.core import InputError, RunError, describe_error, require_extra
from latentpath.production.fingerprints import differences
from latentpath.production.plan import Task
from latentpath.production.run.engines import MOST_IN_HAND, PORTION_SECONDS, PortionSize
from latentpath.production.run.run_config import RunConfig
from latentpath.production.worker import (
    ON_DEVICE,
    Computed,
    Job,
    Outcome,
    Worker,
    attempt,
    compute_each,
)

# Seconds between looks at the cluster for machines that came or went.
_CHECK_SECONDS = 10.0
# Workers in a row that do not start before the run gives up.
_START_ATTEMPTS = 3


class RayWorker:
    """What runs as an actor. Two calls at a time: one keeps the device, the other encodes."""

    def __init__(self, packed_job: bytes, device: str, name: str) -> None:
        job: Job = pickle.loads(packed_job)  # from our own driver, through the cluster's store
        self._name, self._device_free = name, threading.Lock()
        self._worker = Worker(job.on(device))
        self._encoders = ThreadPoolExecutor(max(1, job.plan.settings["threads"]), "encode")

    def arithmetic(self) -> dict[str, str]:
        """What decides the last bits of this worker's shards; the answer says that it is ready."""
        return self._worker.arithmetic

    def run(self, tasks: Sequence[Task]) -> list[Outcome]:
        """Make shards."""
        with self._device_free:
            computed = list(compute_each(self._worker, tasks, self._name))
        return [self._encoded(shard) for shard in computed]

    def _encoded(self, computed: Computed | Outcome) -> Outcome:
        if isinstance(computed, Outcome):
            return computed

        def encode() -> Outcome:
            return self._worker.encode(computed, self._encoders, self._name)

        return attempt(encode, computed.shard.number, self._name)


@dataclass
class _Actor:
    """A worker as the driver sees it."""

    handle: Any
    name: str
    ready: Any
    """Reference of the answer that says that it is ready; None once it came."""
    portions: dict[Any, list[int]] = field(default_factory=dict)
    """Shards in hand, by the reference of their outcomes."""

    def has(self, number: int) -> bool:
        """Whether it has a shard in hand."""
        return any(number in portion for portion in self.portions.values())


class RayEngine:
    """Hands shards to the workers of a Ray cluster.

    Args:
        job: what to do; networks are moved to the workers' devices.
        config: address of the cluster and number of workers.
        device: "cpu" keeps the workers off GPUs; anything else takes those that the cluster has.
        arithmetic: what decided the last bits of the shards so far. Workers on which it is
            different are sent away, unless `config.any_machine`.

    Raises:
        MissingExtraError: Ray is not installed.
        InputError: no such cluster, or one without room for a worker.
    """

    name = "ray"

    def __init__(
        self,
        job: Job,
        config: RunConfig,
        *,
        device: str = "auto",
        arithmetic: dict[str, str] | None = None,
    ) -> None:
        self._ray = require_extra("ray", "ray")
        self._config, self._arithmetic = config, arithmetic
        self._threads = job.plan.settings["threads"]
        self._plan = job.plan
        self._given_up: list[int] = []
        self._started_here = not self._ray.is_initialized()
        if self._started_here:
            self._connect()
        resources = self._ray.cluster_resources()
        self._gpu = device != "cpu" and resources.get("GPU", 0) >= 1
        at_once = job.plan.walks_at_once("cuda" if self._gpu else "cpu")
        self._size = PortionSize(at_once, job.plan.walks_of(0), config.portion_walks)
        self._actors: list[_Actor] = []
        self._names = itertools.count()
        self._failed_starts = 0
        self._last_check = 0.0
        self._job = self._ray.put(pickle.dumps(replace(job.on("cpu"), reference=None), protocol=5))
        # Machines may yet join a cluster that was there before, but not one that was started here.
        may_grow = bool(config.workers) and not (self._started_here and not config.ray_address)
        if not self._room_in_cluster() and not may_grow:
            self.close()
            raise InputError(
                expected=f"a Ray cluster with a GPU or {self._threads} processors for a worker",
                got=f"{resources.get('GPU', 0):g} GPUs and {resources.get('CPU', 0):g} processors",
                fix="add machines, or take fewer --threads",
            )
        self._start_missing()

    def _connect(self) -> None:
        # Neither figures about the use of Ray nor the workers' output leave the machines.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            self._ray.init(
                address=self._config.ray_address or "local",
                include_dashboard=False if not self._config.ray_address else None,
                log_to_driver=False,
                logging_level="ERROR",
                configure_logging=True,
            )
        except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
            raise InputError(
                expected="a Ray cluster at --ray-address that answers",
                got=type(error).__name__,
                fix="start one (`ray start --head`), or leave --ray-address out",
            ) from error

    def _room_in_cluster(self) -> int:
        """Workers that the cluster's machines have room for."""
        resources = self._ray.cluster_resources()
        if self._gpu:
            return int(resources.get("GPU", 0))
        return int(resources.get("CPU", 0)) // self._threads

    def _start_missing(self) -> None:
        """Start workers that are missing, at the beginning and as machines come and go."""
        self._last_check = time.monotonic()
        wanted = self._config.workers or self._room_in_cluster()
        while len(self._actors) < wanted:
            self._start()

    def _start(self) -> None:
        needs = {"num_gpus": 1} if self._gpu else {"num_cpus": self._threads}
        actor_class = self._ray.remote(RayWorker).options(
            max_concurrency=MOST_IN_HAND, max_restarts=0, **needs
        )
        name = f"ray-{next(self._names)}"
        handle = actor_class.remote(self._job, "cuda:0" if self._gpu else "cpu", name)
        self._actors.append(_Actor(handle, name, handle.arithmetic.remote()))

    @property
    def workers(self) -> int:
        """Workers that compute now."""
        return sum(actor.ready is None for actor in self._actors)

    def room(self) -> int:
        """How many more walks it takes now."""
        return self._size.walks * sum(
            self._size.in_hand - len(actor.portions) for actor in self._free()
        )

    def _free(self) -> list[_Actor]:
        """Workers that have room."""
        ready = [actor for actor in self._actors if actor.ready is None]
        return [actor for actor in ready if len(actor.portions) < self._size.in_hand]

    def spare(self, number: int) -> bool:
        """Whether a worker has nothing to do but a second attempt at this shard."""
        return any(actor.ready is None and not actor.portions for actor in self._actors)

    def submit(self, tasks: Sequence[Task]) -> None:
        """Give equal portions to the workers with the fewest, and no shard twice to one of them."""
        walks = sum(len(task.pairs) for task in tasks)
        idle = sum(not actor.portions for actor in self._free())
        count = min(len(tasks), max(idle, -(-walks // self._size.walks)))
        for i in range(count):
            self._give(tasks[i::count])

    def _give(self, tasks: Sequence[Task]) -> None:
        ready = [actor for actor in self._actors if actor.ready is None]
        others = [actor for actor in ready if not any(actor.has(task.number) for task in tasks)]
        actor = min(others or ready, key=lambda actor: len(actor.portions))
        actor.portions[actor.handle.run.remote(tasks)] = [task.number for task in tasks]

    def poll(self, timeout: float) -> list[Outcome]:
        """Outcomes that came in; workers that died are replaced on the way."""
        if time.monotonic() - self._last_check > _CHECK_SECONDS:
            self._start_missing()
        waiting = {reference: actor for actor in self._actors for reference in actor.portions}
        waiting |= {actor.ready: actor for actor in self._actors if actor.ready is not None}
        if not waiting:
            time.sleep(timeout)
            return []
        done, rest = self._ray.wait(list(waiting), num_returns=1, timeout=timeout)
        if done and rest:
            done += self._ray.wait(rest, num_returns=len(rest), timeout=0)[0]
        outcomes: list[Outcome] = []
        for reference in done:
            actor = waiting[reference]
            if reference == actor.ready:
                self._accept_worker(actor)
            elif reference in actor.portions:
                outcomes += self._fetch(actor, reference)
        return outcomes

    def _accept_worker(self, actor: _Actor) -> None:
        """A worker is ready, or could not start."""
        try:
            arithmetic = self._ray.get(actor.ready)
            different = differences(self._arithmetic or arithmetic, arithmetic)
            if different and not self._config.any_machine:
                raise RunError(
                    expected="workers of one kind",
                    got=f"one with other entries ({', '.join(different)})",
                    fix="go on with machines of one kind, or accept other last bits with "
                    "--any-machine",
                )
        except (self._ray.exceptions.RayError, RunError) as error:
            self._dismiss(actor)
            self._failed_starts += 1
            if self._failed_starts >= _START_ATTEMPTS and not self.workers:
                raise _no_workers(error) from error
            return
        actor.ready, self._failed_starts = None, 0
        self._arithmetic = self._arithmetic or arithmetic

    def _fetch(self, actor: _Actor, reference: Any) -> list[Outcome]:
        portion = actor.portions.pop(reference)
        try:
            outcomes: list[Outcome] = self._ray.get(reference)
            done = [outcome for outcome in outcomes if outcome.seconds]
            if done:
                seconds = sum(o.seconds.get(s, 0.0) for o in done for s in ON_DEVICE if o.seconds)
                self._size.note(sum(self._plan.walks_of(o.number) for o in done), seconds)
            return outcomes
        except self._ray.exceptions.RayError as error:
            # The worker is gone, or the machine that held its answer.
            lost = list(itertools.chain(portion, *actor.portions.values()))
            actor.portions.clear()
            self._dismiss(actor)
            self._start_missing()
            reason = f"the worker was lost ({type(error).__name__})"
            return [Outcome(number, actor.name, error=reason) for number in lost]

    def _dismiss(self, actor: _Actor) -> None:
        self._ray.kill(actor.handle)
        if actor in self._actors:
            self._actors.remove(actor)

    def withdraw(self) -> list[int]:
        """Shards whose workers were sent away; the others have begun all they have."""
        numbers, self._given_up = self._given_up, []
        return numbers

    def advanced(self) -> float:
        """What workers are at is not known here."""
        return 0.0

    def give_up(self) -> None:
        """Send workers away whose portions do not end in a minute: theirs would all be lost, as
        it is not known here how far they are."""
        if self._size.per_walk is not None and self._size.seconds <= PORTION_SECONDS:
            return
        for actor in list(self._actors):
            if actor.portions:
                self._given_up += itertools.chain(*actor.portions.values())
                actor.portions.clear()
                self._dismiss(actor)

    def close(self) -> None:
        """Give up what is in hand and free the workers."""
        for actor in list(self._actors):
            self._dismiss(actor)
        if self._started_here:
            self._ray.shutdown()


def _no_workers(error: Exception) -> RunError:
    if isinstance(error, RunError):
        return error
    cause = getattr(error, "cause", None) or error
    return RunError(
        expected="workers that start on the Ray cluster",
        got=f"{_START_ATTEMPTS} that did not ({describe_error(cause)})",
        fix="install the same version of latentpath and its packages on all machines",
    )
