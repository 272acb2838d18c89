"""The ground floor: errors, checks, progress, files, modes; it knows nothing of the rest."""

from latentpath.core.faces import lazy_face

__getattr__, __dir__, __all__ = lazy_face(__name__)
