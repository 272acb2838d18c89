"""Checks of single numbers that several parts make of their options."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

from latentpath.core.errors import InputError

# A count, seed or size beyond this is no exact number in JSON, and beyond 2^63 none to PyTorch.
LARGEST = 2**53
# Channels of a layer, and rows that go through a network together: more is a slip of the pen.
WIDEST = 2**16
LARGEST_BATCH = 2**20
# Likewise layers of a network, and points of the latent space that a training looks at.
DEEPEST = 64
MOST_POINTS = 10**9


def check_within(least: float, most: float, /, **values: float) -> None:
    """Raise InputError that names the first value that is not from `least` to `most`."""
    for name, value in values.items():
        if not least <= value <= most:
            raise InputError(
                expected=f"{name} from {_written(least)} to {_written(most)}",
                got=str(value)[:40],
                fix=f"choose another {name}, or leave it at its default",
            )


def check_at_least(least: float, /, **values: float) -> None:
    """Raise InputError that names the first value below `least`, above `LARGEST`, or NaN."""
    for name, value in values.items():
        if not value >= least:
            raise InputError(
                expected=f"{name} of at least {least:g}",
                got=str(value),
                fix=f"raise {name}, or leave it at its default",
            )
    check_within(least, LARGEST, **values)


def check_above_zero(**values: float) -> None:
    """Raise InputError that names the first value not above zero, above `LARGEST`, or NaN."""
    for name, value in values.items():
        if not value > 0:
            raise InputError(
                expected=f"{name} above 0",
                got=str(value),
                fix=f"raise {name}, or leave it at its default",
            )
    check_within(0, LARGEST, **values)


def check_whole(least: int, /, **values: Any) -> None:
    """Raise InputError that names the first value that is no integer from `least` to `LARGEST`.

    NumPy integers pass; booleans, and floats such as 3.0, do not.
    """
    for name, value in values.items():
        whole = isinstance(value, Integral) and not isinstance(value, bool)
        if not whole or int(value) < least:
            raise InputError(
                expected=f"{name}, a whole number of at least {least}",
                got=f"{value!r}",
                fix=f"pass an integer as {name}",
            )
    check_within(least, LARGEST, **values)


def check_finite(**values: Any) -> None:
    """Raise InputError that names the first value that is no finite number."""
    for name, value in values.items():
        if not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(value):
            raise InputError(
                expected=f"{name}, a finite number",
                got=f"{value!r}",
                fix=f"leave {name} at its default",
            )


def check_one_of(choices: Iterable[str], **values: str) -> None:
    """Raise InputError that names the first value that is none of `choices`."""
    for name, value in values.items():
        if value not in choices:
            raise InputError(
                expected=f"{name} as one of {', '.join(choices)}", got=repr(value), fix="choose one"
            )


def _written(limit: float) -> str:
    """A limit as people write it: whole numbers whole."""
    return f"{int(limit):,}" if float(limit).is_integer() else f"{limit:g}"
