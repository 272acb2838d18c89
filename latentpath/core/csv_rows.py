"""Rows of CSV text: the same bytes from every version of Python."""

from __future__ import annotations

import csv
from typing import Any, TextIO


class _ShortEnds:
    """A stream for `csv.writer`, which writes a row a call; the rows end with a line feed."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, row: str) -> int:
        return self._stream.write(row.removesuffix("\r\n") + "\n")


def csv_writer(stream: TextIO) -> Any:
    """Return a `csv.writer` whose rows end with a line feed and that quotes carriage returns.

    Python before 3.13 quotes line ends of no other kind than the writer's own, which a reader
    takes for the end of the row all the same. So rows are written with both characters at their
    end, and get the short one afterwards.

    Args:
        stream: open text, with `newline=""` where it is a file.
    """
    return csv.writer(_ShortEnds(stream), lineterminator="\r\n")
