"""The console: where the command line prints, whatever it is.

No command may fail, or end with another exit code, because of what it prints: the work is done, and
what a pipe, a code page or a closed stream makes of the words about it is another matter. All of
that is decided here. `Console` stands in for `sys.stdout` and `sys.stderr` while the command line
runs, so that progress bars, warnings, errors, help texts and tracebacks go through it, too.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import os
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any, TextIO

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
