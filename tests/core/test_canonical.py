"""Plain values as JSON gives them back, CSV of the same bytes everywhere, and hashes."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from latentpath.core import (
    csv_writer,
    hash_arrays,
    hash_bytes,
    hash_file,
    hash_json,
    hash_tensors,
    plain_values,
)


def test_equals_what_is_read_back():
    value = {
        "scalar": np.float32(0.1),
        "count": np.int64(3),
        "flag": np.bool_(True),
        "array": np.arange(6).reshape(2, 3),
        "pair": (1, None),
        7: "a number as a key",
        "nested": {"deeper": [np.float64(2.5), "ä"]},
    }
    plain = plain_values(value)
    assert plain == json.loads(json.dumps(plain, allow_nan=False))
    assert plain["array"] == [[0, 1, 2], [3, 4, 5]]
    assert plain["flag"] is True
    assert plain["7"] == "a number as a key"


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (float("nan"), ValueError),
        (np.array([1, np.inf]), ValueError),
        ({1, 2}, TypeError),
        (Path("x"), TypeError),
        ({(1, 2): 3}, TypeError),
        ({None: 3}, TypeError),
    ],
)
def test_what_json_cannot_hold(value, error):
    with pytest.raises(error, match="JSON"):
        plain_values({"value": value} if not isinstance(value, dict) else value)


def test_for_readers():
    value = {"nan": np.float64("nan"), "place": Path("x"), (1, 2): [np.inf]}
    assert plain_values(value, for_readers=True) == {"nan": None, "place": "x", "(1, 2)": [None]}


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


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 7])
def test_files_of_any_size(tmp_path, size):
    content = np.random.default_rng(0).bytes(size)
    (tmp_path / "x").write_bytes(content)
    assert hash_file(tmp_path / "x") == hash_bytes(content) == hashlib.sha256(content).hexdigest()


def test_json_is_canonical():
    expected = hashlib.sha256(b'{"a":[1,2.5],"b":"\\u00e4"}').hexdigest()
    assert hash_json({"b": "ä", "a": [1, 2.5]}) == expected
    with pytest.raises(ValueError, match="JSON"):
        hash_json({"a": float("nan")})


def test_arrays():
    base = np.arange(6)
    others = [
        base.reshape(2, 3),
        base.astype(np.int32),
        base[::-1],
        np.append(base, 6),
    ]
    hashes = {hash_arrays([array]) for array in [base, *others]}
    assert len(hashes) == 5
    assert hash_arrays([base[::-1]]) == hash_arrays([base[::-1].copy()])
    assert hash_arrays({"a": base}) != hash_arrays({"b": base})
    assert hash_arrays([base], "x") != hash_arrays([base])
    assert hash_arrays([base, base]) != hash_arrays([base])
    digest = hashlib.sha256(b"x(6,) int64" + base.tobytes()).hexdigest()
    assert hash_arrays([base], "x") == digest


def test_tensors_of_every_dtype():
    base = torch.arange(6.0)
    others = [base.bfloat16(), base.half(), base.double(), base.reshape(2, 3), -base]
    assert len({hash_tensors({"a": tensor}) for tensor in [base, *others]}) == 6
    assert hash_tensors({"a": base}) != hash_tensors({"b": base})
    assert hash_tensors({"a": base.reshape(2, 3).t()}) == hash_tensors(
        {"a": base.reshape(2, 3).t().contiguous()}
    )
    digest = hashlib.sha256(b"a (6,) torch.float32" + base.numpy().tobytes()).hexdigest()
    assert hash_tensors({"a": base.requires_grad_()}) == digest
