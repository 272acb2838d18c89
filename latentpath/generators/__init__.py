"""Generators: the protocol, adapters, StyleGAN2, and weights on disk."""

from latentpath.generators.load import load_generator
from latentpath.generators.protocol import (
    FunctionGenerator,
    Generator,
    PublishedGenerator,
    as_generator,
)
from latentpath.generators.stylegan2 import StyleGAN2
from latentpath.generators.weights import save_generator

__all__ = [
    "FunctionGenerator",
    "Generator",
    "PublishedGenerator",
    "StyleGAN2",
    "as_generator",
    "load_generator",
    "save_generator",
]
