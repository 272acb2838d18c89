"""The error taxonomy: what was expected, what came, what to do.

Three families. `InputError`: what was asked is impossible, with the way out.
`UnsupportedError`: sensible, but this version cannot do it. `MissingExtraError`:
an optional dependency is needed. All of them are `LatentpathError`, and each
message is one line. The command line prints that line and exits with code 2.
"""

from __future__ import annotations

import importlib
import importlib.util
import traceback
from pathlib import PurePath
from types import ModuleType

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
        return " ".join(line.split())

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
