"""The error taxonomy: what was expected, what came, what to do; with checks of single numbers.

Three families. `InputError`: what was asked is impossible, with the way out.
`UnsupportedError`: sensible, but this version cannot do it. `MissingExtraError`:
an optional dependency is needed. All of them are `LatentpathError`, and each
message is one line. The command line prints that line and exits with code 2.

Their texts name options as the command line has them; shown to whoever calls from Python, they name
arguments (`latentpath.core.option_words`).
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import traceback
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from pathlib import PurePath
from types import ModuleType
from typing import Any

from latentpath.core.option_words import as_here

_PACKAGE = PurePath(__file__).parents[1]


class LatentpathError(Exception):
    """Base of every error that latentpath raises on purpose.

    Args:
        expected: what would have been right.
        got: what came instead.
        fix: what the user can do about it.
    """

    def __init__(self, *, expected: str, got: str, fix: str) -> None:
        self.expected, self.got, self.fix = expected, got, fix
        super().__init__(expected, got, fix)

    def __str__(self) -> str:
        line = f"expected {self.expected}, got {self.got}: {self.fix}"
        return as_here(" ".join(line.split()))

    def __reduce__(self) -> tuple:
        # Exceptions pickle by positional arguments; ours are keyword-only.
        return _rebuild, (type(self), self.expected, self.got, self.fix)


def _rebuild(cls: type[LatentpathError], expected: str, got: str, fix: str) -> LatentpathError:
    return cls(expected=expected, got=got, fix=fix)


class InputError(LatentpathError, ValueError):
    """An argument or option is impossible."""


class ShapeError(InputError):
    """A tensor or array has the wrong shape, dtype or device."""


class DataError(InputError):
    """A data set cannot be used: unreadable, empty, mixed sizes, NaNs, labels that do not match."""


class IntegrityError(DataError):
    """Something that was written is not as it was written: changed, missing or added to."""


class WeightsError(InputError):
    """A weights file is damaged, of another kind, or of the wrong shape."""


class PrivacyError(InputError):
    """A privacy promise cannot be kept, for example fewer identities than k in a class."""


class OutputExistsError(InputError, FileExistsError):
    """An output folder already holds something that would be overwritten."""


class RunError(LatentpathError):
    """A run could not go on; what is finished is kept, and the run can be resumed."""

    exit_code: int = 3
    """What the command line ends with."""


class UnsupportedError(LatentpathError, NotImplementedError):
    """Sensible, but not supported by this version."""


class MissingExtraError(LatentpathError, ImportError):
    """An optional dependency is not installed; the message names the extra to install."""


def joined(errors: Sequence[DataError]) -> DataError:
    """One error that says several, numbered.

    Args:
        errors: one or more.
    """
    if len(errors) == 1:
        return errors[0]

    def numbered(part: str) -> str:
        texts = (getattr(error, part) for error in errors)
        return "; ".join(f"({number}) {text}" for number, text in enumerate(texts, start=1))

    return DataError(**{part: numbered(part) for part in ("expected", "got", "fix")})


def describe_error(error: BaseException) -> str:
    """Return an error in words that name no file, path or machine.

    Our own errors' sentences speak of numbers and options; those of others may quote anything, so
    of them only the kind is told, and the place in our code.
    """
    if isinstance(error, LatentpathError):
        return f"{type(error).__name__}: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if PurePath(frame.filename).is_relative_to(_PACKAGE)]
    place = ""
    if ours:
        inside = PurePath(ours[-1].filename).relative_to(_PACKAGE.parent).as_posix()
        place = f" in {inside}:{ours[-1].lineno}"
    return f"{type(error).__name__}{place}"


def require_extra(module: str, extra: str) -> ModuleType:
    """Import an optional module, or raise MissingExtraError that names the extra to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            expected=f"the optional package {module.split('.')[0]!r}",
            got=f"an import error ({error})",
            fix=f"pip install 'latentpath[{extra}]'",
        ) from error


def check_extra(extra: str, *packages: str) -> None:
    """Raise MissingExtraError unless all packages are installed; imports none of them.

    For the beginning of long work that needs them at its end.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(
                expected=f"the optional package {package!r}",
                got="an installation without",
                fix=f"pip install 'latentpath[{extra}]'",
            )


class LatentpathWarning(UserWarning):
    """Something works, but not in the best way; the message says how to mend it."""

    def __str__(self) -> str:
        return as_here(super().__str__())


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
