"""Networks around the generator: LPIPS, classifiers, encoder and projection, the surrogate."""

from latentpath.core.faces import lazy_face

__getattr__, __dir__, __all__ = lazy_face(__name__)
