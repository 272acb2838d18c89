"""The ground floor: errors, checks, progress, files, hashing, values, modes; knows nothing else."""

from latentpath.core.faces import lazy_face

__getattr__, __dir__, __all__ = lazy_face(__name__)
