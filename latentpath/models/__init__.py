"""Networks around the generator: classifiers, encoder and projection, surrogate, path predictor."""

from latentpath.core.faces import lazy_face

__getattr__, __dir__, __all__ = lazy_face(__name__)
