"""Checks of single numbers that several parts make of their options."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

from latentpath.core.errors import InputError


def check_at_least(least: float, **values: float) -> None:
    """Raise InputError that names the first value below `least`, or not finite."""
    for name, value in values.items():
        if not (value >= least and math.isfinite(value)):
            raise InputError(
                expected=f"{name} of at least {least:g}",
                got=str(value),
                fix=f"raise {name}, or leave it at its default",
            )


def check_above_zero(**values: float) -> None:
    """Raise InputError that names the first value that is not above zero, or not finite."""
    for name, value in values.items():
        if not (value > 0 and math.isfinite(value)):
            raise InputError(
                expected=f"{name} above 0",
                got=str(value),
                fix=f"raise {name}, or leave it at its default",
            )


def check_whole(least: int, **values: Any) -> None:
    """Raise InputError that names the first value that is no integer of at least `least`.

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


def check_finite(**values: Any) -> None:
    """Raise InputError that names the first value that is no finite number."""
    for name, value in values.items():
        if not isinstance(value, Real) or isinstance(value, bool) or not math.isfinite(value):
            raise InputError(
                expected=f"{name}, a finite number",
                got=f"{value!r}",
                fix=f"leave {name} at its default",
            )
