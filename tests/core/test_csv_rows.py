"""CSV text with the same bytes from every version of Python."""

from __future__ import annotations

import csv
import io

from latentpath.core import csv_writer

ROWS = [
    ["name", "label"],
    ["\r0", 3],
    ["a\nb", 'c"d'],
    ["e,f", "正常"],
    ["g\r\n", ""],
    ["", "\r\n"],
]


def test_the_rows_come_back():
    stream = io.StringIO(newline="")
    csv_writer(stream).writerows(ROWS)
    again = csv.reader(io.StringIO(stream.getvalue(), newline=""), strict=True)
    assert list(again) == [[str(cell) for cell in row] for row in ROWS]


def test_the_bytes():
    stream = io.StringIO(newline="")
    csv_writer(stream).writerows(ROWS)
    expected = 'name,label\n"\r0",3\n"a\nb","c""d"\n"e,f",正常\n"g\r\n",\n,"\r\n"\n'
    assert stream.getvalue() == expected
