"""Real sets in, synthetic sets out: labelled images as arrays."""

from latentpath.core.faces import lazy_face

__getattr__, __dir__, __all__ = lazy_face(__name__)
