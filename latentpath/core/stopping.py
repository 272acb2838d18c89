"""Ctrl-C and SIGTERM: the first stops a run cleanly at a shard, the second at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from latentpath.core.errors import RunError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StoppedError(RunError):
    """The run was asked to stop and did so at a shard."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        self.number, self.exit_code = number, 128 + number
        super().__init__(
            expected="the run to finish",
            got="a stop at a shard, as asked",
            fix="go on with --resume; what is finished is kept",
        )

    def __reduce__(self) -> tuple:
        return type(self), (self.number,)


class StopRequest:
    """Whether somebody asked to stop, and by which signal."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.number: int = signal.SIGINT

    def __bool__(self) -> bool:
        return self._event.is_set()

    def ask(self, number: int = signal.SIGINT) -> None:
        """Ask for a clean stop."""
        self.number = number
        self._event.set()


@contextmanager
def stoppable() -> Iterator[StopRequest]:
    """Yield a request that Ctrl-C and SIGTERM set; a second one ends the process at once.

    Outside the main thread, which alone is told of signals, it stays unset.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if request:
            # No cleaning up, as after kill -9: what is on the disk is sound at any moment.
            os._exit(128 + number)
        request.ask(number)
        print(
            "latentpath: stopping after the shards in hand; once more stops at once",
            file=sys.stderr,
            flush=True,
        )

    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
