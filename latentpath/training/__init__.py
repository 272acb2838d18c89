"""Trainers: generator, encoder, identity and class classifiers, witness, shadow models."""

from latentpath.training.augment import AugmentConfig, augment
from latentpath.training.classify import (
    ClassifierConfig,
    IdentityConfig,
    predict,
    train_classifier,
)
from latentpath.training.encoder import EncoderConfig, encode, train_encoder
from latentpath.training.gan import GeneratorConfig, train_generator
from latentpath.training.shadow import ShadowConfig, ShadowModels, train_shadows
from latentpath.training.surrogate import SurrogateConfig, evaluate_surrogate, train_surrogate
from latentpath.training.witness import WitnessConfig, train_witness

__all__ = [
    "AugmentConfig",
    "ClassifierConfig",
    "EncoderConfig",
    "GeneratorConfig",
    "IdentityConfig",
    "ShadowConfig",
    "ShadowModels",
    "SurrogateConfig",
    "WitnessConfig",
    "augment",
    "encode",
    "evaluate_surrogate",
    "predict",
    "train_classifier",
    "train_encoder",
    "train_generator",
    "train_shadows",
    "train_surrogate",
    "train_witness",
]
