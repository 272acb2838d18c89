"""Reading a published StyleGAN2-ADA `.pkl` without running anything in it."""

from __future__ import annotations

import os
import stat
from functools import partial
from pathlib import Path
from typing import Any

from latentpath.core import WeightsError
from latentpath.generators.published.file_kinds import HEAD_BYTES, check_is_pickle
from latentpath.generators.published.instructions import unpickle
from latentpath.generators.published.machine import Machine
from latentpath.generators.published.names import NAMES, refuse_tensorflow
from latentpath.generators.published.reading import LIMITS, WANTED, Limits, Reading
from latentpath.generators.published.source import Blob, Source
from latentpath.generators.published.stylegan2 import weights_of
from latentpath.generators.weights import Weights


def read_published(path: str | Path, limits: Limits = LIMITS) -> Weights:
    """Read the generator of a pickle that the published StyleGAN2-ADA code wrote.

    No code of the file is run and no class of it is built: the pickle is read by a machine that
    knows a few names and makes inert records (`latentpath.generators.published.names`). `G_ema`
    is taken, else `G`; what lies beside it is read past. Memory stays below five times the
    file's size plus a few hundred MB, whatever the file says.

    Args:
        path: the `.pkl` file.
        limits: bounds on what the file may ask for.

    Raises:
        WeightsError: no such file; `UnsafePickleError`, `DamagedPickleError`,
            `OversizedPickleError` or `ForeignFileError`, all of which name what they found.
    """
    data = _content(Path(path), limits)
    check_is_pickle(data[:HEAD_BYTES], path)
    reading = Reading(path, len(data), limits)
    return weights_of(read_records(data, reading), reading)


def read_records(data: bytes, reading: Reading) -> Any:
    """The inert value of a whole pickle: plain containers, numbers and records."""
    source = Source(Blob(data), reading)
    foreign = partial(refuse_tensorflow, reading=reading)
    value = unpickle(Machine(source, NAMES, reading, foreign=foreign))
    if source.left:
        raise reading.damaged(f"{source.left:,} bytes after the end of the pickle")
    return value


def _content(path: Path, limits: Limits) -> bytes:
    """The file's bytes; a device or pipe, which might never end, is refused."""
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise _unusable(path, "something that is no file")
            if facts.st_size > limits.file_bytes:
                raise _unusable(path, f"a file of more than {limits.file_bytes:,} bytes")
            data = file.read(facts.st_size + 1)
    except OSError as error:
        raise _unusable(path, f"{error.strerror or error}".lower()) from error
    if len(data) != facts.st_size:
        raise _unusable(path, "a file that something else is writing to")
    return data


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # a pipe would wait for a writer


def _unusable(path: Path, got: str) -> WeightsError:
    return WeightsError(
        expected=f"{WANTED} at {path}", got=got, fix="pass the path of a published .pkl file"
    )
