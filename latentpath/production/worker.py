"""What a worker does: the networks loaded once, then shards, several together.

A shard takes two steps: one on the device (walk, generate, gate), and one that only needs
processors (PNG encoding), which overlaps with the next shards' first. The walks of several shards
fill the networks' batches where one shard's would not; no walk depends on those beside it.
"""

from __future__ import annotations

import copy
import itertools
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from latentpath.core import (
    InputError,
    Progress,
    describe_error as describe,
    hash_bytes,
    seeded,
    side_by_side,
    silent,
    tf32_allowed,
    using_threads,
)
from latentpath.data import ImageSet, encode_pngs
from latentpath.energy import EnergyTerms
from latentpath.production.bundle import Bundle
from latentpath.production.fingerprints import arithmetic
from latentpath.production.gate import Gate, Verdict
from latentpath.production.plan import MOST_BESIDE, Plan, Planned, Task, centroids_of, metric_of
from latentpath.production.shard import ENERGIES, Shard, ShardCounts
from latentpath.production.walking import render, sample_places, walk_pairs
from latentpath.similarity import KEPT_BYTES, RealReference, memory_on, prepare_real
from latentpath.walks import WalkResult

# Stages of a shard that are timed, in their order: the first three keep the device, and the last
# is the driver's.
STAGES = ("walk", "generate", "gate", "encode", "write")
ON_DEVICE = STAGES[:3]


_Made = TypeVar("_Made")


@dataclass(frozen=True, eq=False)
class Job:
    """All that workers need to know; it can be pickled."""

    plan: Plan
    """The plan."""
    bundle: Bundle
    """Networks."""
    real: ImageSet
    """The private images at the generator's resolution, which the gate compares with."""
    device: str
    """Where to compute."""
    reference: RealReference | None = None
    """The private images embedded on that device, if that was done already."""

    def prepared(self, progress: Progress = silent) -> Job:
        """The same with the private images embedded, as workers on its device need them."""
        if self.reference is not None:
            return self
        with using_threads(self.plan.settings["threads"]), tf32_allowed(False, self.device):
            most = memory_on(self.device, KEPT_BYTES)
            reference = prepare_real(
                self.real, self.bundle.lpips, max_bytes=most, progress=progress
            )
        return replace(self, reference=reference)

    def on(self, device: str) -> Job:
        """The same on another device, with networks of its own there."""
        if device == self.device:
            return self
        return replace(self.copied(device), reference=None)

    def copied(self, device: str) -> Job:
        """The same with a copy of the networks, on this device or another."""
        parts = {field.name: getattr(self.bundle, field.name) for field in fields(self.bundle)}
        moved: dict[str, Any] = {
            name: copy.deepcopy(part).to(device) if isinstance(part, nn.Module) else part
            for name, part in parts.items()
        }
        bundle = replace(self.bundle, **moved)
        return replace(self, bundle=bundle, device=device)


def job_of(planned: Planned, bundle: Bundle) -> Job:
    """The work of a plan that was just made, on the device where it was made."""
    device = str(bundle.encoder.centre.device)
    return Job(planned.plan, bundle, planned.endpoints.real, device, planned.reference)


@dataclass(frozen=True)
class Outcome:
    """What became of an attempt at a shard."""

    number: int
    """The shard."""
    worker: str
    """Who tried, a name that says nothing about the machine."""
    content: bytes = b""
    """The shard's file; empty after an error."""
    sha256: str = ""
    """Of the content."""
    counts: ShardCounts | None = None
    """Of the samples; None after an error."""
    seconds: dict[str, float] | None = None
    """Time of each stage."""
    arithmetic: dict[str, str] | None = None
    """What decided its last bits."""
    error: str = ""
    """What went wrong, without names of files or machines."""
    trace: str = ""
    """The same for whoever asks for more."""
    impossible: InputError | None = None
    """The error, if what was asked cannot be done by anyone."""
    withdrawn: bool = False
    """Whether it was given up because the run is to stop, which is no failure."""


@dataclass(frozen=True, eq=False)
class Computed:
    """A shard whose samples are still pixels."""

    shard: Shard
    images: np.ndarray
    """uint8 [accepted, H, W, C]."""
    seconds: dict[str, float]


@dataclass(frozen=True, eq=False)
class _Drawn:
    """A shard's samples before the gate."""

    task: Task
    places: np.ndarray
    """[n, 2] walk of the shard and step."""
    images: np.ndarray
    """uint8 [n, H, W, C]."""


class WithdrawnError(Exception):
    """Work was given up half-way, as asked."""


class Advance:
    """How far a portion of walks is, told by its workers; and whether it is to be given up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._total = 0
        self.walks = 0.0
        """Walks that are done, with parts of walks."""
        self.stopped = False
        """Whether what is on the device is given up."""

    def begin(self, walks: int) -> None:
        """A portion of so many walks begins."""
        with self._lock:
            self._total, self.walks = walks, 0.0

    def add(self, walks: float) -> None:
        """So much more is done, of a walk or of several.

        Raises:
            WithdrawnError: there is to be no more.
        """
        if self.stopped:
            raise WithdrawnError
        with self._lock:
            self.walks = min(self.walks + walks, float(self._total))

    @property
    def left(self) -> float:
        """Walks that are not done."""
        return self._total - self.walks

    def stop(self) -> None:
        """Let the work end at its next step."""
        self.stopped = True


class Worker:
    """Holds the networks and the embedded real images on one device."""

    def __init__(self, job: Job) -> None:
        if job.device.startswith("cuda"):
            # The fastest algorithm of the moment would differ from one run to the next.
            torch.backends.cudnn.benchmark = False
            torch.backends.cudnn.deterministic = True
        config = job.plan.config
        self.job = job.prepared()
        self._centroids = centroids_of(job.plan, job.device)
        self._metric = metric_of(job.plan, job.device)
        self._labels = job.plan.arrays["labels"]
        self.arithmetic = arithmetic(job.device)
        assert self.job.reference is not None, "it was prepared"
        self._gate = Gate(
            self.job.reference,
            job.bundle.networks,
            max_probability=config.gate.identity,
            in_class=config.gate.in_class,
            threshold=job.plan.settings["gate_threshold"],
        )

    @staticmethod
    def _threads(plan: Plan) -> AbstractContextManager[None]:
        return using_threads(plan.settings["threads"])

    def compute(self, tasks: Sequence[Task], advance: Advance | None = None) -> list[Computed]:
        """The device's part of shards, the same whichever are done together.

        Raises:
            WithdrawnError: `advance` says that it is given up.
        """
        with self._threads(self.job.plan), tf32_allowed(False, self.job.device):
            if self.job.plan.config.walk.solver == "fast":
                return self._compute(tasks, advance)
            # Its last bits depend on what is walked beside.
            return [computed for task in tasks for computed in self._compute([task], advance)]

    def _compute(self, tasks: Sequence[Task], advance: Advance | None) -> list[Computed]:
        plan = self.job.plan
        clock = _Clock(self.job.device)
        pairs = np.concatenate([task.pairs for task in tasks])
        walked = walk_pairs(
            self._centroids,
            self._labels,
            pairs,
            self.job.bundle,
            plan.config,
            plan.micro_batch,
            self._metric,
            None if advance is None else advance.add,
        )
        clock.lap("walk")
        ends = np.cumsum([0, *(len(task.pairs) for task in tasks)])
        rows = [slice(*pair) for pair in itertools.pairwise(ends)]
        drawn = [self._draw(task, walked.latents[of]) for task, of in zip(tasks, rows, strict=True)]
        clock.lap("generate")
        labels = [np.full(len(of.images), of.task.label) for of in drawn]
        images = [of.images for of in drawn]
        verdicts = self._gate.test_each(list(zip(images, labels, strict=True)))
        clock.lap("gate")
        return [
            self._computed(of, verdict, walked, at, clock.share(len(of.task.pairs) / len(pairs)))
            for of, verdict, at in zip(drawn, verdicts, rows, strict=True)
        ]

    def _draw(self, task: Task, latents: Tensor) -> _Drawn:  # [P, T, D]
        places = sample_places(task.first, self.job.plan.config.walk.steps)
        with seeded(task.seed, torch.device(self.job.device)):  # of a generator that adds noise
            images = render(self.job.bundle, latents[places[:, 0], places[:, 1]])
        return _Drawn(task, places, images)

    def _computed(
        self,
        drawn: _Drawn,
        verdict: Verdict,
        walked: WalkResult,
        rows: slice,
        seconds: dict[str, float],
    ) -> Computed:
        height, width, channels = drawn.images.shape[1:]
        shard = Shard(
            drawn.task.number,
            self.job.plan.hash,
            self.arithmetic,
            (height, width, channels),
            verdict.rejected,
            latents=walked.latents[rows].cpu().numpy(),
            before=_stacked(walked.before[rows]),
            after=_stacked(walked.after[rows]),
            places=drawn.places.astype(np.int32),
            passed=verdict.accepted,
        )
        return Computed(shard, drawn.images[verdict.accepted], seconds)

    def encode(self, computed: Computed, pool: Executor, worker: str) -> Outcome:
        """The processors' part: PNG files, and the shard's file of them."""
        clock = _Clock("cpu")
        pictures = tuple(encode_pngs(computed.images, pool))
        shard = replace(computed.shard, pictures=pictures)
        content = shard.encode()
        sha256 = hash_bytes(content)
        clock.lap("encode")
        return Outcome(
            shard.number,
            worker,
            content,
            sha256,
            shard.counts,
            {**computed.seconds, **clock.seconds},
            self.arithmetic,
        )


def attempt(work: Callable[[], Any], number: int, worker: str) -> Any:
    """Result of `work`, or the Outcome that says what went wrong."""
    try:
        return work()
    except Exception as error:  # whatever it is, the shard is tried again
        return Outcome(
            number,
            worker,
            error=describe(error),
            trace="".join(traceback.format_exception(error)),
            impossible=error if isinstance(error, InputError) else None,
            withdrawn=isinstance(error, WithdrawnError),
        )


def crew_size(job: Job, threads: int) -> int:
    """Workers that share so many CPU threads; one on a GPU."""
    if job.device != "cpu":
        return 1
    return min(MOST_BESIDE, max(1, threads // job.plan.settings["threads"]))


class Crew:
    """Workers of one process side by side: on processors, a few of few threads each.

    The small networks of a walk keep one thread busy and not many.

    Args:
        job: what to do.
        threads: CPU threads for all of them; 0 takes PyTorch's number.
    """

    def __init__(self, job: Job, threads: int = 0) -> None:
        self._threads = threads or torch.get_num_threads()
        first = Worker(job)
        # Networks are watched while they are made fast: each worker has its own.
        others = range(crew_size(job, self._threads) - 1)
        self.workers = [first, *(Worker(first.job.copied(job.device)) for _ in others)]
        self.walks_at_once = len(self.workers) * job.plan.walks_at_once(job.device)

    def compute(self, tasks: Sequence[Task]) -> list[Computed]:
        """The device's part of shards; one that cannot be done is an error."""
        return self._compute(tasks, lambda worker, portion: worker.compute(portion))

    def attempt(
        self, tasks: Sequence[Task], name: str, advance: Advance | None = None
    ) -> list[Computed | Outcome]:
        """The same, or what went wrong with each shard."""
        return self._compute(
            tasks, lambda worker, portion: list(compute_each(worker, portion, name, advance))
        )

    def _compute(
        self, tasks: Sequence[Task], work: Callable[[Worker, Sequence[Task]], list[_Made]]
    ) -> list[_Made]:
        portions = split_evenly(tasks, len(self.workers))
        pairs = list(zip(self.workers, portions, strict=False))
        with using_threads(self._threads):
            return list(itertools.chain(*side_by_side(lambda pair: work(*pair), pairs)))


def split_evenly(tasks: Sequence[Task], count: int) -> list[Sequence[Task]]:
    """At most so many portions of shards, with about as many walks each."""
    portions: list[list[Task]] = [[] for _ in range(min(count, len(tasks)))]
    for task in sorted(tasks, key=lambda task: -len(task.pairs)):
        min(portions, key=lambda portion: sum(len(task.pairs) for task in portion)).append(task)
    return list(portions)


def compute_each(
    worker: Worker, tasks: Sequence[Task], name: str, advance: Advance | None = None
) -> Iterator[Computed | Outcome]:
    """Shards done together, or what went wrong with each.

    Where they cannot be done together each is done alone: one that fails spoils no other, and what
    is too much for the memory may do in parts.
    """
    computed = attempt(lambda: worker.compute(tasks, advance), tasks[0].number, name)
    if not isinstance(computed, Outcome):
        yield from computed
    elif len(tasks) == 1:
        yield computed
    else:
        for task in tasks:
            yield from compute_each(worker, [task], name, advance)


class _Clock:
    """Seconds of one stage after another."""

    def __init__(self, device: str) -> None:
        self.seconds: dict[str, float] = {}
        self._gpu = device if device.startswith("cuda") else None
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        if self._gpu is not None:
            torch.cuda.synchronize(self._gpu)
        now = time.perf_counter()
        self.seconds[stage] = now - self._last
        self._last = now

    def share(self, part: float) -> dict[str, float]:
        """The seconds of a part of the work."""
        return {stage: part * seconds for stage, seconds in self.seconds.items()}


def _stacked(terms: EnergyTerms) -> np.ndarray:  # [4, P]
    return torch.stack([getattr(terms, name) for name in ENERGIES]).cpu().numpy()
