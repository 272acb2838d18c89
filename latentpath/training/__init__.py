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
from latentpath.training.surrogate import SurrogateConfig, evaluate_surrogate, train_surrogate

__all__ = [
    "AugmentConfig",
    "ClassifierConfig",
    "EncoderConfig",
    "GeneratorConfig",
    "IdentityConfig",
    "SurrogateConfig",
    "augment",
    "encode",
    "evaluate_surrogate",
    "predict",
    "train_classifier",
    "train_encoder",
    "train_generator",
    "train_surrogate",
]
