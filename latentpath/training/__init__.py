"""Trainers: generator, encoder, identity classifier, class classifier."""

from latentpath.training.augment import AugmentConfig, augment
from latentpath.training.classify import (
    ClassifierConfig,
    IdentityConfig,
    predict,
    train_classifier,
)
from latentpath.training.encoder import EncoderConfig, encode, train_encoder
from latentpath.training.gan import GeneratorConfig, train_generator

__all__ = [
    "AugmentConfig",
    "ClassifierConfig",
    "EncoderConfig",
    "GeneratorConfig",
    "IdentityConfig",
    "augment",
    "encode",
    "predict",
    "train_classifier",
    "train_encoder",
    "train_generator",
]
