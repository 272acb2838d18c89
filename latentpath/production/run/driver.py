"""The driver: hands out shards, stores what comes back, keeps the ledger, stops where asked."""

from __future__ import annotations

import json
import statistics
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from latentpath.core import (
    RESUME,
    Progress,
    RunError,
    StoppedError,
    StopRequest,
    option,
    same_names,
    silent,
)
from latentpath.production.fingerprints import differences
from latentpath.production.plan import Plan
from latentpath.production.run.engines import Engine
from latentpath.production.run.ledger import DONE, FAILED, Ledger, ShardRow, schedule_of
from latentpath.production.run.run_config import RunConfig
from latentpath.production.run.run_folder import RunFolder, RunLog, write_durably
from latentpath.production.synthetic import STAGE
from latentpath.production.worker import ON_DEVICE, Outcome

_POLL = 0.2  # seconds; also how late a stop is noticed
_HEARTBEAT = 5.0  # seconds between notes in the ledger that the run is alive
_SHOW = 2.0  # seconds between looks at how far the shards in hand are
# Threads that write shards: on a network's disk each waits for its own confirmation.
_WRITERS = 4
# A shard that takes so many times the median is given to a second worker, if one is idle.
_STRAGGLES = 2.0


@dataclass
class Tally:
    """What this session did so far."""

    started: float = field(default_factory=time.monotonic)
    """When its first shard was begun."""
    begun: bool = False
    shards: int = 0
    tested: int = 0
    accepted: int = 0
    busy: float = 0.0
    """Seconds of devices at work."""
    durations: list[float] = field(default_factory=list)
    """Seconds of each shard from being begun to being back."""

    def figures(self, workers: int) -> dict[str, float]:
        """For the progress bar."""
        elapsed = max(time.monotonic() - self.started, 1e-9)
        rates = {"img/s": self.accepted / elapsed}
        if self.tested:
            rates["rejected %"] = 100 * (1 - self.accepted / self.tested)
            rates["busy %"] = min(100.0, 100 * self.busy / (elapsed * max(workers, 1)))
        return rates


class Driver:
    """Drives an engine through a plan.

    Args:
        plan: the plan.
        folder: where its shards go.
        ledger: open for writing.
        engine: who computes.
        config: how often to try.
        log: told what happens.
        stop: asked whether to stop.
        verbose: show the traces of failed shards on standard error.
        progress: told after every shard, stage "produce".
    """

    def __init__(
        self,
        plan: Plan,
        folder: RunFolder,
        ledger: Ledger,
        engine: Engine,
        config: RunConfig,
        *,
        log: RunLog,
        stop: StopRequest,
        verbose: bool = False,
        progress: Progress = silent,
    ) -> None:
        self.plan, self.folder, self.ledger, self.engine = plan, folder, ledger, engine
        self.config, self.log, self.stop, self.verbose = config, log, stop, verbose
        self.progress, self.tally = progress, Tally()
        self.schedule = schedule_of(plan, ledger)
        self._in_hand: dict[int, _InHand] = {}
        self._writing: dict[Future[float], Outcome] = {}
        self._stuck: RunError | None = None
        self._heard = 0.0
        self._showed, self._shown = time.monotonic(), 0

    def run(self) -> None:
        """Work until the finished shards make the set.

        Raises:
            StoppedError: it was asked to stop; the shards in hand are stored.
            RunError: a shard failed too often, or the disk is full or closed.
            InputError: the first shard says that what was asked is impossible.
        """
        with ThreadPoolExecutor(_WRITERS, "write", same_names()) as writers:
            self._show()
            while not self.schedule.complete:
                if not (self.stop or self._stuck):
                    self._hand_out()
                else:
                    self._withdraw()
                    self.engine.give_up()
                    if not self._in_hand and not self._writing:
                        break
                for outcome in self.engine.poll(0.0 if self._writing_done() else _POLL):
                    self._receive(outcome, writers)
                self._store()
                self._tell()
            # What is being written is wanted, whatever else is still being computed is not.
            for future in list(self._writing):
                future.exception()
            self._store()
        if self.schedule.complete:
            return
        raise self._stuck or StoppedError(self.stop.number)

    def _hand_out(self) -> None:
        while (room := self.engine.room()) > 0:
            numbers = self.schedule.take(room)
            for number in numbers:
                if not self.tally.begun:
                    self.tally.begun, self.tally.started = True, time.monotonic()
                attempt = self.ledger.begin(number)
                self._in_hand[number] = _InHand(time.monotonic())
                self.log(f"shard {number} begun, attempt {attempt}")
            if not numbers:
                late = self._straggler()
                if late is None:
                    return
                self._in_hand[late].copies += 1
                self.log(f"shard {late} is late and was given to a second worker")
                numbers = [late]
            self.engine.submit([self.plan.task(number) for number in numbers])

    def _withdraw(self) -> None:
        """Take back what nobody has begun."""
        for number in self.engine.withdraw():
            self._in_hand.pop(number, None)
            self.schedule.given_up(number)
            self.ledger.forget(number)
            self.log(f"shard {number} was taken back")

    def _straggler(self) -> int | None:
        """A shard that one worker has had for long, where another one has nothing to do."""
        if not self.tally.durations:
            return None
        limit = _STRAGGLES * statistics.median(self.tally.durations)
        now = time.monotonic()
        slow = [
            (held.since, number)
            for number, held in self._in_hand.items()
            if held.copies == 1 and now - held.since > limit and self.engine.spare(number)
        ]
        return min(slow)[1] if slow else None

    def _receive(self, outcome: Outcome, writers: ThreadPoolExecutor) -> None:
        held = self._in_hand.get(outcome.number)
        if held is not None:
            held.copies -= 1
        outcome = self._same_machine(outcome)
        if outcome.error:
            self._failed(outcome, held)
        elif held is None or held.arrived:
            self.log(f"shard {outcome.number} came a second time and was left out")
        else:
            held.arrived = True
            path = self.folder.shard(outcome.number)
            self._writing[writers.submit(_write, path, outcome.content)] = outcome

    def _same_machine(self, outcome: Outcome) -> Outcome:
        """The outcome, or a failure if it comes from another kind of machine than the others."""
        if outcome.arithmetic is None:
            return outcome
        known = self.ledger.arithmetic
        if known is None:
            self.ledger.note_arithmetic(outcome.arithmetic)
        elif not self.config.any_machine:
            different = differences(known, outcome.arithmetic)
            if different:
                return Outcome(
                    outcome.number,
                    outcome.worker,
                    error=f"another kind of machine than before ({', '.join(different)})",
                )
        return outcome

    def _failed(self, outcome: Outcome, held: _InHand | None) -> None:
        self.log(f"shard {outcome.number} failed at {outcome.worker}: {outcome.error}")
        if self.verbose and outcome.trace:
            print(outcome.trace, file=sys.stderr)
        if held is None or held.arrived or held.copies > 0:
            return  # another worker has it, or had it
        del self._in_hand[outcome.number]
        self.schedule.given_up(outcome.number)
        row = self.ledger.shard(outcome.number)
        assert row is not None  # it was begun
        self.ledger.put(replace(row, state=FAILED, worker=outcome.worker, error=outcome.error))
        if outcome.impossible is not None and not self.schedule.any_finished:
            # Not one shard could be made: that is the options' fault, not this shard's.
            raise outcome.impossible
        if row.attempts >= self.config.attempts:
            self._stuck = self._stuck or RunError(
                expected=f"shard {outcome.number} to be made",
                got=f"{row.attempts} failed attempts, the last one with {outcome.error}",
                fix=f"mend what is wrong and {option(RESUME)}; --verbose shows more",
            )

    def _writing_done(self) -> bool:
        return any(future.done() for future in self._writing)

    def _store(self) -> None:
        """Note in the ledger what has reached the disk."""
        for future in [future for future in self._writing if future.done()]:
            outcome = self._writing.pop(future)
            error = future.exception()
            held = self._in_hand.pop(outcome.number, None)
            if error is not None:
                self.schedule.given_up(outcome.number)
                if not isinstance(error, RunError):
                    raise error
                self.log(f"shard {outcome.number} could not be written: {error.got}")
                self._stuck = self._stuck or error
                continue
            self._note(outcome, held, future.result())

    def _note(self, outcome: Outcome, held: _InHand | None, write_seconds: float) -> None:
        seconds = {**(outcome.seconds or {}), "write": write_seconds}
        counts = outcome.counts
        assert counts is not None  # there was no error
        row = self.ledger.shard(outcome.number) or ShardRow(outcome.number, DONE, 1)
        self.ledger.put(
            replace(
                row,
                state=DONE,
                worker=outcome.worker,
                finished=time.time(),
                sha256=outcome.sha256,
                bytes=len(outcome.content),
                tested=counts.tested,
                accepted=counts.accepted,
                rejected=json.dumps(counts.rejected, sort_keys=True),
                seconds=json.dumps({name: round(s, 4) for name, s in seconds.items()}),
                error="",
            )
        )
        self.schedule.finished(outcome.number, counts.accepted, counts.tested)
        tally = self.tally
        tally.shards += 1
        tally.tested += counts.tested
        tally.accepted += counts.accepted
        tally.busy += sum(seconds.get(stage, 0.0) for stage in ON_DEVICE)
        if held is not None:
            tally.durations.append(time.monotonic() - held.since)
        self.log(
            f"shard {outcome.number} done by {outcome.worker}: "
            f"{counts.accepted} of {counts.tested} samples passed"
        )
        self._show()

    def _show(self) -> None:
        schedule = self.schedule
        if self._shown >= schedule.wanted:
            return  # shards that came after the last image that was needed
        # The stage ends when the set is complete, not when the last image came out of order.
        done = (
            schedule.accepted + int(self._expected())
            if not schedule.complete
            else (schedule.wanted)
        )
        done = min(done, schedule.wanted - (not schedule.complete))
        # Fewer samples may have passed than were expected: no bar goes back for that.
        done = self._shown = max(done, self._shown)
        self.progress(STAGE, done, schedule.wanted, self.tally.figures(self.engine.workers))

    def _expected(self) -> float:
        """Images that the parts of walks in hand will bring, by what passed so far."""
        walks = self.engine.advanced()
        if not walks:
            return 0.0
        passed = (self.tally.accepted + 1) / (self.tally.tested + 1) if self.tally.tested else 0.9
        return walks * (self.plan.config.walk.steps - 2) * passed

    def _tell(self) -> None:
        now = time.monotonic()
        if now - self._showed >= _SHOW:
            self._showed = now
            self._show()
        if now - self._heard >= _HEARTBEAT:
            self._heard = now
            since = [held.since for held in self._in_hand.values()]
            working = now - min(since) if since else 0.0
            self.ledger.seen(self.engine.workers, self._expected(), working)


def _write(path: Path, content: bytes) -> float:
    """Store a shard; returns the seconds that it took."""
    began = time.perf_counter()
    write_durably(path, content)
    return time.perf_counter() - began


@dataclass
class _InHand:
    """A shard that workers have."""

    since: float
    copies: int = 1
    arrived: bool = False
