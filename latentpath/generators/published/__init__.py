"""Generators that the published StyleGAN2-ADA (PyTorch) code pickled, read without running them.

`machine` and `instructions` are an unpickler that makes plain values, `names` is the list of what
files may mention, `storages` reads the files nested in the file, `configuration` and `stylegan2`
turn the records into weights.
"""

from latentpath.generators.published.errors import (
    DamagedPickleError,
    ForeignFileError,
    OversizedPickleError,
    UnsafePickleError,
)
from latentpath.generators.published.read import read_published

__all__ = [
    "DamagedPickleError",
    "ForeignFileError",
    "OversizedPickleError",
    "UnsafePickleError",
    "read_published",
]
