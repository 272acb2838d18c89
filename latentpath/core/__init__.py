"""The ground floor: errors, checks, files, canonical values, modes, long work; knows no more."""

from latentpath.core.faces import lazy_face

__getattr__, __dir__, __all__ = lazy_face(__name__)
