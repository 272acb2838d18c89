"""One call from private images to a synthetic set and its report: `latentpath run`."""

from latentpath.core.faces import lazy_face

__getattr__, __dir__, __all__ = lazy_face(__name__)
