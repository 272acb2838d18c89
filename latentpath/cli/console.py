"""The console: where the command line prints, whatever it is, progress bars among it.

No command may fail, or end with another exit code, because of what it prints: the work is done, and
what a pipe, a code page or a closed stream makes of the words about it is another matter. All of
that is decided here. `Console` stands in for `sys.stdout` and `sys.stderr` while the command line
runs, so that progress bars, warnings, errors, help texts and tracebacks go through it, too.

Bars are shown from the `Progress` callbacks of long work.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import importlib
import math
import os
import sys
import time
from collections.abc import Callable, Mapping
from types import ModuleType, TracebackType
from typing import Any, TextIO

from latentpath.core import duration

# What our texts hold beyond ASCII; everything else that a console lacks is escaped.
_READABLE = {
    "\N{EN DASH}": "-",
    "\N{LEFT DOUBLE QUOTATION MARK}": '"',
    "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
    "\N{HORIZONTAL ELLIPSIS}": "...",
    "\N{MULTIPLICATION SIGN}": "x",
    "\N{PLUS-MINUS SIGN}": "+-",
    "\N{INFINITY}": "inf",
}


def _escape(error: UnicodeError) -> tuple[str | bytes, int]:
    """Error handler of `str.encode`: a readable form in ASCII, or an escape such as \\u6b63."""
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end]
    escaped = (
        _READABLE.get(sign) or sign.encode("ascii", "backslashreplace").decode() for sign in lacking
    )
    return "".join(escaped), error.end


codecs.register_error("latentpath.escape", _escape)


class ConsoleStream:
    """A text stream that takes any text, and goes on where there is nobody to read it.

    Args:
        stream: where to write.
        before_write: called before every write.
    """

    def __init__(self, stream: TextIO, before_write: Callable[[], None] | None = None) -> None:
        self._stream, self._before_write = stream, before_write
        self.failure: OSError | None = None
        """Why what was written did not arrive, if it did not; a reader that left is no failure."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write `text`, with escapes for what the stream's encoding lacks."""
        if self._before_write is not None:
            self._before_write()
        try:
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                self._stream.write(self._encodable(text))
        except RuntimeError:
            # A signal came in the middle of a write, and its handler writes as well.
            self._write_past_buffer(text)
        except (OSError, ValueError) as error:
            self._give_up(error)
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write every line."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Hand on what is buffered."""
        try:
            self._stream.flush()
        except RuntimeError:
            pass  # as in `write`: whoever was interrupted flushes
        except (OSError, ValueError) as error:
            self._give_up(error)

    def _encodable(self, text: str) -> str:
        encoding = self._stream.encoding or "ascii"
        return text.encode(encoding, "latentpath.escape").decode(encoding)

    def _write_past_buffer(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            os.write(self._stream.fileno(), self._encodable(text).encode(self._stream.encoding))

    def _give_up(self, error: OSError | ValueError) -> None:
        """Send this stream's text nowhere from now on, what is still buffered included.

        Without it, Python would try once more when it ends, and end with exit code 120.
        """
        if not isinstance(error, OSError):  # a closed stream
            return
        if error.errno != errno.EPIPE:
            self.failure = error
        with contextlib.suppress(OSError, ValueError):  # no file of the system, or a closed one
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


class Console:
    """Stands in for standard output and standard error between `__enter__` and `__exit__`."""

    def __init__(self) -> None:
        self.before_output: Callable[[], None] | None = None
        """Called before text goes to standard output: progress bars get out of the way."""
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> Console:
        _open_standard_descriptors()
        self._output = ConsoleStream(self._usable(sys.stdout), self._announce)
        self._errors = ConsoleStream(self._usable(sys.stderr))
        self._undo.enter_context(contextlib.redirect_stdout(self._output))
        self._undo.enter_context(contextlib.redirect_stderr(self._errors))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.output_arrived()
        self._errors.flush()
        self._undo.close()

    def output_arrived(self) -> bool:
        """Whether all text for standard output was taken; if not, standard error says why."""
        self._output.flush()
        failure, self._output.failure = self._output.failure, None
        if failure is not None:
            print(
                f"latentpath: warning: standard output is incomplete ({failure.strerror})",
                file=self._errors,
            )
        return failure is None

    def _usable(self, stream: TextIO | None) -> TextIO:
        """`stream`, or where there is none (`>&-`, `pythonw`) one that leads nowhere."""
        if stream is not None and not stream.closed:
            return stream
        return self._undo.enter_context(open(os.devnull, "w", encoding="utf-8"))

    def _announce(self) -> None:
        if self.before_output is not None:
            self.before_output()


def _open_standard_descriptors() -> None:
    """Open what is closed of descriptors 0 to 2, which the system would give to the next file.

    What a library or a worker prints would then be written into a weights file or a ledger.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number is taken, which is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


# Seconds between two looks at figures; bars are not drawn more often either.
_LOOK_EVERY = 0.1


class Bars:
    """A `Progress` that shows one bar per stage with rich, on standard error.

    Where standard error is no terminal, or one that cannot move its cursor, or where rich is not
    installed, a line is printed at the end of every stage instead, and every 30 seconds in between.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._started: dict[str, tuple[float, int]] = {}
        self._printed, self._looked = time.monotonic(), -math.inf
        self._rich = None if quiet else _rich()
        self._bars: Any = None
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Bars:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.leave()

    def leave(self) -> None:
        """Leave the bars as they are; the next stage draws new ones below.

        To be called before text goes to standard output: rich would otherwise take that for text
        of its own, break its lines, and print it on standard error.
        """
        if self._bars is not None:
            bars, self._bars = self._bars, None
            self._tasks = {}
            bars.stop()

    def say(self, text: str) -> None:
        """Print a line about the work, unless it is to be quiet."""
        if not self._quiet:
            self.leave()
            print(f"latentpath: {text}", file=sys.stderr)

    def __call__(self, stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        if self._quiet:
            return
        if self._rich is not None:
            self._draw(self._rich, stage, done, total, figures)
        else:
            self._print(stage, done, total, figures)

    def _draw(
        self, rich: ModuleType, stage: str, done: int, total: int, figures: Mapping[str, float]
    ) -> None:
        if self._bars is None:
            self._bars = rich.Progress(
                rich.TextColumn("{task.description:<18}"),
                rich.BarColumn(),
                rich.MofNCompleteColumn(),
                rich.TimeElapsedColumn(),
                rich.TimeRemainingColumn(),
                rich.TextColumn("{task.fields[figures]}"),
                console=importlib.import_module("rich.console").Console(stderr=True),
                redirect_stdout=False,
            )
            self._bars.start()
        task = self._tasks.get(stage)
        if task is None:
            task = self._bars.add_task(stage, total=total, figures="")
        # Figures may be on a GPU, which is waited for when they are looked at.
        now, more = time.monotonic(), {}
        if done >= total or now - self._looked >= _LOOK_EVERY:
            self._looked, more = now, {"figures": _in_words(figures)}
        self._bars.update(task, completed=done, total=total, **more)
        # A stage that starts again gets a bar of its own.
        self._tasks[stage] = None if done >= total else task

    def _print(self, stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        now = time.monotonic()
        # What was there when it began, such as an earlier training's steps, took no time of it.
        started, before = self._started.setdefault(stage, (now, done))
        rest = ""
        if done >= total:
            del self._started[stage]
        elif now - self._printed < 30:
            return
        elif done > before:
            left = (now - started) * (total - done) / (done - before)
            rest = f", about {duration(left)} left"
        self._printed = now
        taken = f"{now - started:.0f} s{rest}"
        print(f"{stage}: {done}/{total} in {taken}  {_in_words(figures)}", file=sys.stderr)


def _in_words(figures: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in figures.items())


def _rich() -> ModuleType | None:
    """The module that draws bars, where they can be drawn."""
    if not sys.stderr.isatty() or os.environ.get("TERM", "").lower() in ("dumb", "unknown"):
        return None
    try:
        return importlib.import_module("rich.progress")
    except ImportError:  # an extra, and no command may fail for want of a bar
        return None
