"""Generators: the protocol, adapters, StyleGAN2, and weights on disk."""

from latentpath.core.faces import lazy_face

__getattr__, __dir__, __all__ = lazy_face(__name__)
