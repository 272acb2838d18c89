"""Trainers: generator, encoder, identity classifier, class classifier."""

from latentpath.training.augment import AugmentConfig, augment
from latentpath.training.classify import (
    ClassifierConfig,
    IdentityConfig,
    predict,
    train_classifier,
)
from latentpath.training.gan import GeneratorConfig, train_generator

__all__ = [
    "AugmentConfig",
    "ClassifierConfig",
    "GeneratorConfig",
    "IdentityConfig",
    "augment",
    "predict",
    "train_classifier",
    "train_generator",
]
