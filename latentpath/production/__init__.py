"""The whole pipeline: private set in, gated synthetic set and report out."""

from latentpath.core.faces import lazy_face

__getattr__, __dir__, __all__ = lazy_face(__name__)
