"""Ctrl-C and SIGTERM: the first lets work end cleanly at its next stop, another ends it at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import FrameType

from latentpath.core.command_words import RESUME, option
from latentpath.core.errors import RunError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# `timeout` and shells tell a process and its group, so that one wish arrives as several signals.
_SAME_WISH_SECONDS = 1.0


class StoppedError(RunError):
    """Work was asked to stop and did so where it can go on.

    Args:
        number: the signal that asked.
        where: it stopped, such as "at a shard".
        fix: how to go on; that of runs if left out.
    """

    def __init__(
        self, number: int = signal.SIGINT, where: str = "at a shard", fix: str = ""
    ) -> None:
        fix = fix or f"{option(RESUME)}; what is finished is kept"
        self.number, self.exit_code = number, 128 + number
        self._told = number, where, fix
        super().__init__(expected="to reach the end", got=f"a stop {where}", fix=fix)

    def __str__(self) -> str:
        """No error: what was asked for."""
        _, where, fix = self._told
        return f"stopped {where}, as asked: {fix}"

    def __reduce__(self) -> tuple:
        return type(self), self._told


def _print(text: str) -> None:
    print(f"latentpath: {text}", file=sys.stderr, flush=True)


class StopRequest:
    """Whether somebody asked to stop, when, and by which signal.

    Args:
        say: shows a line about where work goes on.
    """

    def __init__(self, say: Callable[[str], None] = _print) -> None:
        self.say = say
        self._event = threading.Event()
        self.number: int = signal.SIGINT
        self.asked_at = 0.0

    def __bool__(self) -> bool:
        return self._event.is_set()

    def ask(self, number: int = signal.SIGINT) -> None:
        """Ask for a clean stop."""
        self.number, self.asked_at = number, time.monotonic()
        self._event.set()


_CURRENT: ContextVar[StopRequest | None] = ContextVar("stop request", default=None)


def stop_request() -> StopRequest | None:
    """The request of the innermost `stoppable` around this; None outside of any."""
    return _CURRENT.get()


@contextmanager
def stoppable(until: str, say: Callable[[str], None] = _print) -> Iterator[StopRequest]:
    """Yield a request that Ctrl-C and SIGTERM set; once more ends the process at once.

    Repeats within a second count as one. Outside the main thread, which alone is told of signals,
    the request stays unset.

    Args:
        until: what is waited for, as in "stopping after the shards in hand".
        say: as of `StopRequest`; on standard error if left out.
    """
    request = StopRequest(say)
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if request:
            if time.monotonic() - request.asked_at < _SAME_WISH_SECONDS:
                return
            # No cleaning up, as after kill -9: what is on the disk is sound at any moment.
            os._exit(128 + number)
        request.ask(number)
        _print(f"stopping after {until}; once more stops at once")

    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    token = _CURRENT.set(request)
    try:
        yield request
    finally:
        _CURRENT.reset(token)
        for number, handler in before.items():
            signal.signal(number, handler)
