"""Generators: the protocol, adapters, StyleGAN2, and weights on disk."""

from latentpath.generators.adapters import DecoderGenerator
from latentpath.generators.load import load_generator
from latentpath.generators.precision import Precision
from latentpath.generators.protocol import (
    FunctionGenerator,
    Generator,
    PublishedGenerator,
    as_generator,
)
from latentpath.generators.stylegan2 import StyleGAN2
from latentpath.generators.weights import save_generator

__all__ = [
    "DecoderGenerator",
    "FunctionGenerator",
    "Generator",
    "Precision",
    "PublishedGenerator",
    "StyleGAN2",
    "as_generator",
    "load_generator",
    "save_generator",
]
