"""Plain JSON values: what remains of a value when it was written and read back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def colour_of(channels: int) -> str:
    """What images of so many channels are called.

    >>> colour_of(1), colour_of(3), colour_of(4)
    ('grey', 'colour', '4-channel')
    """
    return {1: "grey", 3: "colour"}.get(channels, f"{channels}-channel")


def plain_values(value: Any, *, for_readers: bool = False) -> Any:
    """NumPy values, mappings and sequences as dictionaries, lists and scalars that JSON can hold.

    >>> plain_values({"mean": np.float32(0.5), "shape": (2, 3)})
    {'mean': 0.5, 'shape': [2, 3]}

    Args:
        value: the value.
        for_readers: NaN and infinity become None, and whatever JSON cannot hold its text; not for
            what is read back or hashed.

    Raises:
        TypeError, ValueError: JSON cannot hold it.
    """
    if isinstance(value, Mapping):
        return {
            str(key) if for_readers else _plain_key(key): plain_values(
                item, for_readers=for_readers
            )
            for key, item in value.items()
        }
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain_values(item, for_readers=for_readers) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        if for_readers:
            return None
        raise ValueError(f"JSON has no {value}")
    if isinstance(value, (bool, int, float, str, type(None))):
        return value
    if for_readers:
        return str(value)
    raise TypeError(f"JSON cannot hold a {type(value).__name__}")


def _plain_key(key: Any) -> str:
    if not isinstance(key, (str, int)) or isinstance(key, bool):
        raise TypeError(f"a key of JSON is a text or a whole number, not a {type(key).__name__}")
    return str(key)


def flat_values(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Nested mappings as one, by dotted names, sorted.

    >>> flat_values({"walk": {"steps": 50}, "count": 9})
    {'count': 9, 'walk.steps': 50}
    """
    flat: dict[str, Any] = {}
    for name, value in sorted(values.items()):
        if isinstance(value, Mapping):
            flat |= flat_values(value, f"{before}{name}.")
        else:
            flat[before + name] = value
    return flat
