"""Training an encoder for a fixed generator.

Real images are reconstructed (squared error and LPIPS); latents drawn from the generator's prior
are recovered from their own images; a weak pull towards the prior keeps the latents where the
generator works. In-domain training after Zhu et al., "In-Domain GAN Inversion for Real Image
Editing", ECCV 2020, without its discriminator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from latentpath.core import (
    LARGEST_BATCH,
    WIDEST,
    Progress,
    ShapeError,
    check_above_zero,
    check_at_least,
    check_within,
    place,
    seeded,
    silent,
)
from latentpath.models import Encoder
from latentpath.similarity import LPIPS
from latentpath.training.checkpoint import Checkpointer, fingerprint
from latentpath.training.gan import check_training_images
from latentpath.training.training_steps import Figures, take_steps


@dataclass(frozen=True)
class EncoderConfig:
    """How the encoder is built and trained."""

    steps: int = 6000
    """Optimiser steps."""
    batch: int = 32
    """Real images per step, and as many generated ones."""
    width: int = 16
    """Channels of the network's first stage."""
    lr: float = 2e-3
    """Highest learning rate of the one-cycle schedule."""
    perceptual: float = 1.0
    """Weight of LPIPS between an image and its reconstruction."""
    latent: float = 0.1
    """Weight of the squared error of recovered latents, in standard deviations."""
    prior: float = 0.003
    """Weight of the squared size of real images' latents, in standard deviations."""
    seed: int = 0
    """Seed of weights, order and latents."""

    def __post_init__(self) -> None:
        check_at_least(1, steps=self.steps)
        check_within(1, WIDEST, width=self.width)
        check_within(2, LARGEST_BATCH, batch=self.batch)
        check_at_least(
            0,
            perceptual=self.perceptual,
            latent=self.latent,
            prior=self.prior,
            seed=self.seed,
        )
        check_above_zero(lr=self.lr)


def train_encoder(
    images: Tensor,  # [n, C, H, H] in [-1, 1]
    generator: nn.Module,
    *,
    config: EncoderConfig | None = None,
    perceptual: Callable[[Tensor, Tensor], Tensor] | None = None,
    checkpoint: str | Path | None = None,
    progress: Progress = silent,
) -> Encoder:
    """Train an encoder for `generator` and return it in eval mode, without gradients.

    Args:
        images: the images to encode later, float in [-1, 1], of the generator's size.
        generator: a fixed generator with `synthesize(w)` and `sample(n)`.
        config: network and schedule.
        perceptual: perceptual distance of two batches, [m]; the LPIPS that ships if left out.
        checkpoint: file to continue from, saved to about once a minute and at the end.
        progress: told after every step.

    Raises:
        ShapeError: images of another size than the generator's.
        WeightsError: `checkpoint` belongs to another run.
    """
    config = config or EncoderConfig()
    check_training_images(images, torch.zeros(len(images)), 1)
    wanted = (generator.img_channels, generator.img_resolution, generator.img_resolution)
    if tuple(images.shape[1:]) != wanted:
        raise ShapeError(
            expected=f"images {list(wanted)}, as the generator makes them",
            got=str(list(images.shape[1:])),
            fix="resize them to the generator's resolution",
        )
    if perceptual is None and config.perceptual:
        perceptual = LPIPS.load(images.device)
    with seeded(config.seed, images.device):
        data = fingerprint(images, *generator.parameters())
        saver = Checkpointer(checkpoint, config=config, data=data)
        encoder = Encoder(
            generator.latent_dim,  # type: ignore[arg-type]
            generator.img_channels,  # type: ignore[arg-type]
            generator.img_resolution,  # type: ignore[arg-type]
            config.width,
        )
        place(encoder, images.device)
        latents = generator.sample(4096)  # type: ignore[operator]
        encoder.centre.copy_(latents.mean(dim=0))
        encoder.scale.copy_(latents.std(dim=0))
        _fit(encoder, images, generator, config, perceptual, saver, progress)
    return encoder.eval().requires_grad_(False)


def _fit(
    encoder: Encoder,
    images: Tensor,
    generator: nn.Module,
    config: EncoderConfig,
    perceptual: Callable[[Tensor, Tensor], Tensor] | None,
    saver: Checkpointer,
    progress: Progress,
) -> None:
    encoder.train()

    def loss_of_batch() -> tuple[Tensor, Figures]:
        real = images[torch.randint(len(images), (config.batch,), device=images.device)]
        w = generator.sample(config.batch)  # type: ignore[operator]
        with torch.no_grad():
            generated = generator.synthesize(w).clamp(-1, 1)  # type: ignore[operator]
        # One pass for both, so that batch normalisation sees one distribution of latents.
        encoded, recovered = encoder(torch.cat([real, generated])).chunk(2)
        shown = generator.synthesize(encoded).clamp(-1, 1)  # type: ignore[operator]
        pixel = (shown - real).square().mean()
        loss = pixel
        if perceptual is not None and config.perceptual:
            loss = loss + config.perceptual * perceptual(shown, real).mean()
        loss = loss + config.latent * ((recovered - w) / encoder.scale).square().mean()
        size = ((encoded - encoder.centre) / encoder.scale).square().mean()
        loss = loss + config.prior * size
        return loss, Figures(loss=loss, mse=pixel)

    take_steps(
        "encoder",
        encoder,
        loss_of_batch,
        lr=config.lr,
        steps=config.steps,
        weight_decay=0.01,
        device=images.device,
        saver=saver,
        progress=progress,
    )
