"""Generators that the published StyleGAN2-ADA and StyleGAN3 code pickled, read and never run.

`pickle_machine` and `pickle_instructions` are an unpickler that makes plain values, the records of
`pickle_records`; `allowed_names` is the list of what files may mention, `torch_storages` reads the
files nested in the file, `published_weights` turns the records into weights, and `bounded_reading`
counts what all that costs.
"""

from latentpath.generators.published.bounded_reading import (
    DamagedPickleError,
    ForeignFileError,
    OversizedPickleError,
    UnsafePickleError,
)
from latentpath.generators.published.published_file import read_published

__all__ = [
    "DamagedPickleError",
    "ForeignFileError",
    "OversizedPickleError",
    "UnsafePickleError",
    "read_published",
]
