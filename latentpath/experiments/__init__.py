"""Experiments: the comparison of the paper's table on named recipes, with several seeds."""

from latentpath.core.faces import lazy_face

__getattr__, __dir__, __all__ = lazy_face(__name__)
