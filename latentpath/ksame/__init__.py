"""k-same: groups of at least k real people, their centroids, the pairs to walk between."""

from latentpath.core.faces import lazy_face

__getattr__, __dir__, __all__ = lazy_face(__name__)
