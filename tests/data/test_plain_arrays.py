"""Plain arrays: NumPy's files, read without NumPy's parser of headers."""

import ast

import numpy as np
import pytest

from latentpath.data.pixel_files import NotPlainError, read_plain_npz

ARRAYS = {
    "scalar": np.array(2.5),
    "none": np.zeros((2, 0, 3), np.uint8),
    "row": np.arange(7, dtype=">i4"),
    "columns": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    "text": np.array(["a", "bcd"]),
    "truth": np.array([[True], [False]]),
}


@pytest.fixture
def packed(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", **ARRAYS)
    return tmp_path / "x.npz"


def check(path):
    found = read_plain_npz(path, 1000)
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        assert found[name].flags.writeable
        np.testing.assert_array_equal(found[name], array)


def test_arrays_come_back(packed):
    check(packed)


def test_headers_are_not_parsed_as_python(packed, monkeypatch):
    """Syntax trees built in two threads at once fail at random in CPython 3.11."""

    def parse(*_, **__):
        raise SystemError("AST constructor recursion depth mismatch")

    monkeypatch.setattr(ast, "parse", parse)
    check(packed)


@pytest.mark.parametrize(
    "array",
    [np.array([{}], dtype=object), np.zeros(2, [("a", "i4")]), np.array(["2020-01-01"], "M8[D]")],
    ids=["objects", "records", "dates"],
)
def test_other_arrays_are_refused(tmp_path, array):
    np.savez(tmp_path / "x.npz", array)
    with pytest.raises(NotPlainError, match="header that no plain array has"):
        read_plain_npz(tmp_path / "x.npz", 10_000)


def test_more_bytes_than_the_shape_says(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, np.zeros(3, np.uint8), np.zeros(3, np.uint8))
    content = path.read_bytes().replace(b"(3,)", b"(2,)", 1)
    path.write_bytes(content)
    with pytest.raises(NotPlainError):
        read_plain_npz(path, 10_000)
