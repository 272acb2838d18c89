"""Training the witness: an identity classifier that the walk has never met."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from latentpath.core import WIDEST, Progress, check_within, place, silent
from latentpath.models import Witness
from latentpath.training.augmentation import AugmentConfig
from latentpath.training.checkpoint import Checkpointer
from latentpath.training.classify import ClassifierConfig, fit_classifier
from latentpath.training.gan import check_training_images
from latentpath.training.reproducibility import fingerprint, seeded


@dataclass(frozen=True)
class WitnessConfig(ClassifierConfig):
    """How the witness is built and trained: another network and seed than the walk's classifier."""

    steps: int = 2500
    """Optimiser steps."""
    batch: int = 128
    """Images per step."""
    width: int = 24
    """Channels of the network's first convolution; the last have 4 times as many."""
    embedding: int = 128
    """Width of the embedding in which people are compared."""
    augment: AugmentConfig = field(
        default_factory=lambda: AugmentConfig(shift=0.08, rotate=10.0, shear=0.08, noise=0.1)
    )
    """Random changes of the training images; other ones than the walk's classifier sees."""
    seed: int = 90_001
    """Seed of weights, order and augmentation."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_within(1, WIDEST, embedding=self.embedding)


def train_witness(
    images: Tensor,  # [n, C, H, W] in [-1, 1]
    people: Tensor,  # [n]
    *,
    num_people: int,
    config: WitnessConfig | None = None,
    checkpoint: str | Path | None = None,
    progress: Progress = silent,
) -> Witness:
    """Train a witness and return it in eval mode, without gradients for its weights.

    Args:
        images: the private set's images, float in [-1, 1].
        people: person of each image, 0 to num_people - 1.
        num_people: N.
        config: network and schedule.
        checkpoint: file to continue from, saved to about once a minute and at the end.
        progress: told after every step as stage "witness".

    Raises:
        DataError: images or people of the wrong shape or range.
        WeightsError: `checkpoint` belongs to another run.
    """
    config = config or WitnessConfig()
    check_training_images(images, people, num_people)
    saver = Checkpointer(checkpoint, config=config, data=fingerprint(images, people))
    with seeded(config.seed, images.device):
        model = Witness(num_people, images.shape[1], config.width, config.embedding)
    place(model, images.device)
    fit_classifier(model, images, people, config, saver, progress, stage="witness")
    return model.eval().requires_grad_(False)
