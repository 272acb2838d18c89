"""A production run: a folder with a plan, a ledger, shards and, at the end, the set."""

from latentpath.core.faces import lazy_face

__getattr__, __dir__, __all__ = lazy_face(__name__)
