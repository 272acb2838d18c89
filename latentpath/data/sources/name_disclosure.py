"""What errors, warnings and reports may call a file.

Names of files and folders, cells of tables and header fields often hold a patient's name or number,
and a line of an error ends up in logs and tickets. So by default a file is called by its number
among the data set's sorted files; whoever sits in front of the data asks for names with
`names_shown` (`--verbose` on the command line).
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_SHOWN: ContextVar[bool] = ContextVar("latentpath_names_shown", default=False)


@contextmanager
def names_shown(show: bool = True) -> Iterator[None]:
    """Let messages made in this block quote names and cells."""
    token = _SHOWN.set(show)
    try:
        yield
    finally:
        _SHOWN.reset(token)


def named(name: object, otherwise: str) -> str:
    """Return the quoted name where names may be shown, else `otherwise`.

    >>> named("Miller_John.png", "file 3 of 90")
    'file 3 of 90'
    >>> with names_shown():
    ...     named("Miller_John.png", "file 3 of 90")
    "'Miller_John.png'"
    """
    return repr(str(name)) if _SHOWN.get() else otherwise


def and_first(name: object) -> str:
    """Return the end of a sentence on several files: its first one, where names may be shown."""
    return f", the first is {named(name, '')}" if _SHOWN.get() else ""


def detail(error: BaseException, otherwise: str = "") -> str:
    """Return what another library says of an error, which may quote anything, or else its type."""
    if _SHOWN.get():
        return " ".join(f"{type(error).__name__}: {error}".split())
    return otherwise or type(error).__name__


def damaged(error: BaseException) -> str:
    """Return the reason for a file that a library cannot read; the library's words on request."""
    said = detail(error) if _SHOWN.get() else "--verbose says what its reader meets"
    return f"damaged, so that it cannot be read ({said})"


@contextmanager
def loggers_quiet() -> Iterator[None]:
    """Let imaging libraries not log in this block; around a loop, each file need not ask again.

    Another level empties what every logger remembers: with hundreds of them, milliseconds a file.
    """
    loggers = [logging.getLogger(name) for name in ("PIL", "pydicom")]
    levels = {logger: logger.level for logger in loggers if logger.level <= logging.CRITICAL}
    try:
        for logger in levels:
            logger.setLevel(logging.CRITICAL + 1)
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


@contextmanager
def libraries_quiet() -> Iterator[None]:
    """Let imaging libraries neither warn nor log in this block: their words quote the files'."""
    with loggers_quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
