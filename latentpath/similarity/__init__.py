"""How alike images are: LPIPS, oriented gradients, nearest neighbours among embedded images."""

from latentpath.core.faces import lazy_face

__getattr__, __dir__, __all__ = lazy_face(__name__)
