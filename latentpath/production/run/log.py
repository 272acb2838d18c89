"""The log file of a run: what happened when, without people, places or names of machines."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import IO


class RunLog:
    """Appends lines to the log file; what is written is on its way to the disk at once.

    Lines are made of numbers, names of classes and our own words. Nothing that was read from a
    file name, a path or an error of another package goes in.
    """

    def __init__(self, path: Path) -> None:
        descriptor = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        self._stream: IO[str] = os.fdopen(descriptor, "a", encoding="utf-8")

    def __call__(self, message: str) -> None:
        """Add a line with the time in UTC."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        try:
            self._stream.write(f"{now} {' '.join(message.split())}\n")
            self._stream.flush()
        except OSError:  # a full disk stops the run where it stores shards, with a better message
            return

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
