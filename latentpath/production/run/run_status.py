"""How far a run is, from its plan and ledger alone: nothing is written, a run may be at work."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from latentpath.core import DataError
from latentpath.data import is_written_set, read_manifest, sharing_cautions
from latentpath.production.plan import Plan, read_plan
from latentpath.production.run.ledger import (
    DONE,
    FAILED,
    RUNNING,
    Ledger,
    SessionRow,
    ShardRow,
    schedule_of,
    stage_rates,
)
from latentpath.production.run.run_folder import RunFolder
from latentpath.production.selection import Schedule, total_rejected
from latentpath.production.worker import ON_DEVICE

# A process that holds the lock but has not written for so long, in seconds, may hang.
_SILENT = 60.0


@dataclass(frozen=True)
class RunStatus:
    """How far a run is."""

    state: str
    """"planned", "at work", "stopped", "failed", "killed" or "finished"."""
    engine: str
    """The last session's engine."""
    workers: int
    """Its workers."""
    process: int | None
    """The process at work, if there is one."""
    silent_seconds: float
    """Since the ledger was last written."""
    images: int
    """Images of the set that are there, at most those wanted."""
    expected: float
    """Images that the shards in hand will bring, of what is done of them."""
    wanted: int
    """Images of the whole set."""
    gated: bool
    """Whether a gate tests the samples."""
    tested: int
    """Samples that went to the gate, in all finished shards."""
    rejected: dict[str, int]
    """Samples that the gate turned away, by reason."""
    shards: dict[str, int]
    """Shards by state: "done", "running" (without a process at work, "given up"), "failed"."""
    images_per_second: float
    """Of this or the last session."""
    remaining_seconds: float | None
    """Until the images are there, at this rate; None where it is not known."""
    busy: float
    """Share of the session's time in which its devices were at work."""
    stages: dict[str, float]
    """Samples per second of each stage, for one worker."""
    error: str
    """What went wrong last with a shard that is not done, if anything did."""
    cautions: tuple[str, ...]
    """Why the set, where there is one, is none to share, a clause each."""

    @property
    def rejected_share(self) -> float:
        """Share of samples that the gate turned away."""
        return sum(self.rejected.values()) / self.tested if self.tested else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "rejected_share": self.rejected_share}

    def lines(self) -> list[str]:
        """The status as text."""
        share = 100 * (self.images + self.expected) / self.wanted if self.wanted else 100.0
        share = share if self.images >= self.wanted else min(share, 99.9)
        lines = [f"state: {self.state}" + (f", process {self.process}" if self.process else "")]
        if self.engine:
            lines.append(f"engine: {self.engine}, {self.workers} worker(s)")
        if self.state == "at work" and self.silent_seconds > _SILENT:
            lines.append(f"nothing was written for {_duration(self.silent_seconds)}")
        more = f", about {self.expected:.0f} more in hand" if self.expected >= 0.5 else ""
        lines.append(f"images: {self.images} of {self.wanted}{more} ({share:.1f}%)")
        counts = ", ".join(f"{count} {state}" for state, count in self.shards.items())
        lines.append(f"shards: {counts or 'none begun'}")
        reasons = "".join(f"; {count} {reason}" for reason, count in self.rejected.items() if count)
        turned = f"{100 * self.rejected_share:.1f}% of {self.tested} samples rejected{reasons}"
        lines.append(f"gate: {turned if self.gated else f'none; {self.tested} samples'}")
        if self.images_per_second:
            left = self.remaining_seconds
            rest = "" if left is None else f", {_duration(left)} left"
            lines.append(f"rate: {self.images_per_second:.2f} images/s{rest}")
            lines.append(f"device busy: {100 * self.busy:.0f}% of the time")
        if self.stages:
            rates = ", ".join(f"{name} {rate:.4g}" for name, rate in self.stages.items())
            lines.append(f"samples/s of each stage on one worker: {rates}")
        if self.error:
            lines.append(f"last error: {self.error}")
        lines += [f"the set: {caution}" for caution in self.cautions]
        return lines


def read_status(root: str | Path) -> RunStatus:
    """Look at a run.

    Raises:
        DataError: no run in that folder.
        IntegrityError: its plan or ledger is damaged.
    """
    folder = RunFolder.in_or_at(root)
    if not folder.has_plan():
        planning = folder.at_work()
        raise DataError(
            expected="the folder of a run",
            got=f"{root}, where the process {planning} is still planning"
            if planning
            else f"{root}, which holds none",
            fix="ask again when the plan is ready"
            if planning
            else "give the folder that `latentpath produce --out` or `latentpath run --out` named; "
            "a project has none before its networks are trained",
        )
    plan = read_plan(folder.plan)
    if not folder.ledger.is_file() and not folder.shard_numbers():
        return _status(folder, plan, [], [], Schedule(plan, {}), (0.0, 0.0))
    ledger = Ledger.read(folder.ledger, plan.hash)
    try:
        rows, sessions = list(ledger.shards()), ledger.sessions()
        return _status(folder, plan, rows, sessions, schedule_of(plan, ledger), ledger.in_hand)
    finally:
        ledger.close()


def _status(
    folder: RunFolder,
    plan: Plan,
    rows: list[ShardRow],
    sessions: list[SessionRow],
    schedule: Schedule,
    in_hand: tuple[float, float],
) -> RunStatus:
    last = sessions[-1] if sessions else None
    process = folder.at_work()
    done = [row for row in rows if row.state == DONE]
    recent = [row for row in done if last and row.finished >= last.started and row.times]
    images_per_second, busy = _rates(recent, last)
    complete = last is not None and last.ended == "finished" and is_written_set(folder.set)
    expected, working = in_hand if process is not None and not complete else (0.0, 0.0)
    if not images_per_second and expected and working:
        images_per_second = expected / working  # of the first shards, which are not done yet
    left = max(0.0, schedule.wanted - schedule.accepted - expected)
    errors = [row for row in rows if row.error and row.state != DONE]
    # Those in hand when nothing more was wanted, or when work stopped, are made by nobody now.
    begun = "given up" if process is None else RUNNING
    names = {DONE: DONE, RUNNING: begun, FAILED: FAILED}
    return RunStatus(
        state=_state(process, last, complete),
        engine=last.engine if last else "",
        workers=last.workers if last else 0,
        process=process,
        silent_seconds=max(0.0, time.time() - last.seen) if last else 0.0,
        images=schedule.accepted,
        expected=expected,
        wanted=schedule.wanted,
        gated=not plan.config.gate.tests_nothing,
        tested=sum(row.tested for row in done),
        rejected=total_rejected([row.counts for row in done]),
        shards={
            name: count
            for state, name in names.items()
            if (count := sum(row.state == state for row in rows))
        },
        images_per_second=images_per_second,
        remaining_seconds=left / images_per_second if images_per_second else None,
        busy=busy,
        stages=stage_rates(done),
        error=max(errors, key=lambda row: row.started).error if errors else "",
        cautions=tuple(sharing_cautions(read_manifest(folder.set))) if complete else (),
    )


def _state(process: int | None, last: SessionRow | None, complete: bool) -> str:
    if process is not None:
        return "at work"
    if complete:
        return "finished"
    if last is None:
        return "planned"
    if last.ended == "finished":  # and then the set was removed
        return "stopped"
    return last.ended or "killed"


def _rates(recent: list[ShardRow], last: SessionRow | None) -> tuple[float, float]:
    """Images per second and share of busy devices, from the session's first shard to its last."""
    if not recent or last is None:
        return 0.0, 0.0
    seconds = max(row.finished for row in recent) - min(row.started for row in recent)
    busy = sum(row.times.get(stage, 0.0) for row in recent for stage in ON_DEVICE)
    images = sum(row.accepted for row in recent)
    if seconds <= 0:
        return 0.0, 0.0
    return images / seconds, min(1.0, busy / (seconds * max(last.workers, 1)))


def _duration(seconds: float) -> str:
    """For example "2 d 3 h", "4 min 5 s"."""
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    rest, parts = round(seconds), list[str]()
    for name, size in units:
        if rest >= size or (name == "s" and not parts):
            parts.append(f"{rest // size} {name}")
            rest %= size
    return " ".join(parts[:2])
