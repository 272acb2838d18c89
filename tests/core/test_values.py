"""Plain values equal what JSON gives back."""

import json
from pathlib import Path

import numpy as np
import pytest

from latentpath.core import plain_values


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
