"""The engine of one process and one device: a thread for the device, a pool of them for PNG."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from concurrent.futures import ThreadPoolExecutor

from latentpath.production.plan import Task
from latentpath.production.worker import Computed, Job, Outcome, Worker, attempt

# Shards between being taken and being fetched: one on the device, one being encoded, one that
# waits so that the device never does.
_IN_HAND = 3
_NAME = "local"


class LocalEngine:
    """Computes shards one after another, while the last one is still being encoded."""

    name = "local"
    workers = 1

    def __init__(self, job: Job) -> None:
        self._job = job
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._in_hand = 0
        self._encoders = ThreadPoolExecutor(os.cpu_count() or 1, "encode")
        self._finishers = ThreadPoolExecutor(1, "finish")
        self._closed = threading.Event()
        # A daemon, so that an interpreter that gives up does not wait for a shard.
        self._thread = threading.Thread(target=self._run, name="device", daemon=True)
        self._thread.start()

    def room(self) -> int:
        """How many more shards it takes now."""
        return _IN_HAND - self._in_hand

    def spare(self, number: int) -> bool:
        """There is one worker."""
        return False

    def submit(self, task: Task) -> None:
        """Take a shard."""
        self._in_hand += 1
        self._tasks.put(task)

    def poll(self, timeout: float) -> list[Outcome]:
        """Outcomes that came in."""
        outcomes: list[Outcome] = []
        try:
            outcomes.append(self._outcomes.get(timeout=timeout))
            while True:
                outcomes.append(self._outcomes.get_nowait())
        except queue.Empty:
            self._in_hand -= len(outcomes)
            return outcomes

    def withdraw(self) -> list[int]:
        """Take back the shards that wait for the device."""
        numbers: list[int] = []
        with contextlib.suppress(queue.Empty):
            while (task := self._tasks.get_nowait()) is not None:
                numbers.append(task.number)
        self._in_hand -= len(numbers)
        return numbers

    def close(self) -> None:
        """Give up what is in hand; the shard on the device is waited for."""
        self._closed.set()
        self._tasks.put(None)
        self._thread.join()
        self._finishers.shutdown(cancel_futures=True)
        self._encoders.shutdown(cancel_futures=True)

    def _run(self) -> None:
        worker: Worker | None = None
        while (task := self._tasks.get()) is not None and not self._closed.is_set():
            number = task.number
            if worker is None:
                made = attempt(lambda: Worker(self._job), number, _NAME)
                if isinstance(made, Outcome):
                    self._outcomes.put(made)
                    continue
                worker = made
            self._one(worker, task)

    def _one(self, worker: Worker, task: Task) -> None:
        computed = attempt(lambda: worker.compute(task), task.number, _NAME)
        if isinstance(computed, Outcome):
            self._outcomes.put(computed)
        else:
            self._finishers.submit(self._finish, worker, computed)

    def _finish(self, worker: Worker, computed: Computed) -> None:
        def encode() -> Outcome:
            return worker.encode(computed, self._encoders, _NAME)

        self._outcomes.put(attempt(encode, computed.shard.number, _NAME))
