"""Why a file is not read: it is unsafe, damaged, too large, or something else altogether."""

from __future__ import annotations

from typing import Any

from latentpath.core import WeightsError

LONGEST = 80


class UnsafePickleError(WeightsError):
    """The pickle asks for what no generator needs: a call, a class or an instruction."""


class DamagedPickleError(WeightsError):
    """The pickle contradicts itself or ends too early."""


class OversizedPickleError(WeightsError):
    """The pickle asks for more memory or work than any generator takes."""


class ForeignFileError(WeightsError):
    """The file is sound, but no StyleGAN2-ADA generator: an archive, a web page, another model."""


def shown(value: Any) -> str:
    """A short, printable form of a value from a file, which may be of any size or nesting."""
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    if isinstance(value, str):
        text = ascii(value[:LONGEST])
        return text if len(value) <= LONGEST else f"{text[:-1]}...' ({len(value):,} characters)"
    title = getattr(value, "title", None)
    return title if isinstance(title, str) else f"a {type(value).__name__}"
