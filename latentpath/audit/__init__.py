"""Would you share this set? Privacy and utility of a synthetic set, and the report on it."""

from latentpath.core.faces import lazy_face

__getattr__, __dir__, __all__ = lazy_face(__name__)
