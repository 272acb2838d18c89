"""From images to latents: an encoder network, and projection by optimisation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from latentpath.core import Progress, ShapeError, silent, tf32_allowed
from latentpath.generators import Generator
from latentpath.models.classifiers import residual_trunk


class Encoder(nn.Module):
    """Images [M, C, H, H] in [-1, 1] to latents [M, latent_dim].

    Args:
        latent_dim: width D of a latent.
        img_channels: 1 grey, 3 colour.
        img_resolution: side of the images, pixels.
        width: channels of the first stage.

    The output is `centre + scale * network(image)`, with the mean and the standard deviations of
    the generator's own latents as buffers, so that an untrained encoder starts at the mean.
    """

    centre: Tensor
    scale: Tensor

    def __init__(
        self, latent_dim: int, img_channels: int = 1, img_resolution: int = 32, width: int = 16
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "latent_dim": latent_dim,
            "img_channels": img_channels,
            "img_resolution": img_resolution,
            "width": width,
        }
        self.latent_dim, self.img_channels = latent_dim, img_channels
        self.trunk = residual_trunk(img_channels, img_resolution, width)
        self.head = nn.Sequential(
            nn.Linear(8 * width, 8 * width), nn.LeakyReLU(0.2), nn.Linear(8 * width, latent_dim)
        )
        self.register_buffer("centre", torch.zeros(latent_dim))
        self.register_buffer("scale", torch.ones(latent_dim))

    def forward(self, images: Tensor) -> Tensor:  # [M, C, H, W] -> [M, D]
        if images.ndim != 4 or images.shape[1] != self.img_channels:
            raise ShapeError(
                expected=f"images [M, {self.img_channels}, H, W]",
                got=str(list(images.shape)),
                fix="use weights made for images of these channels",
            )
        return self.centre + self.scale * self.head(self.trunk(images))


@dataclass(frozen=True)
class ProjectionConfig:
    """How latents are refined towards their images."""

    steps: int = 50
    """Adam steps; 0 keeps the encoder's answer."""
    lr: float = 0.05
    """Learning rate, in units of the latents' standard deviation; falls to zero as a cosine."""
    prior: float = 0.01
    """Weight of the squared distance from the start, in standard deviations, averaged over D."""
    batch: int = 64
    """Images refined together; bounds the memory."""


def project(
    images: Tensor,  # [n, C, H, H] in [-1, 1]
    start: Tensor,  # [n, D]
    generator: Generator,
    *,
    scale: Tensor | None = None,  # [D]
    distance: Callable[[Tensor, Tensor], Tensor] | None = None,
    config: ProjectionConfig | None = None,
    progress: Progress = silent,
) -> Tensor:  # [n, D]
    """Refine latents so that the generator's images come closer to `images`.

    Minimises, per image, mean squared error + `distance(generated, image)` (e.g. LPIPS) + a pull
    back to the start, by Adam. An image keeps its best latent, so no latent gets worse.

    Args:
        images: what to reproduce.
        start: latents to start from, e.g. the encoder's.
        generator: the generator, fixed.
        scale: standard deviation of every latent coordinate; ones if left out.
        distance: perceptual distance of two image batches, [m].
        config: steps and weights.
        progress: told after every batch.
    """
    config = config or ProjectionConfig()
    if start.ndim != 2 or len(start) != len(images):
        raise ShapeError(
            expected=f"start [{len(images)}, D], one latent per image",
            got=str(list(start.shape)),
            fix="encode the same images first",
        )
    if config.steps == 0:
        return start.clone()
    scale = torch.ones_like(start[0]) if scale is None else scale
    parts = []
    for first in range(0, len(images), config.batch):
        rows = slice(first, first + config.batch)
        with tf32_allowed(False, start.device):
            part = _project_batch(images[rows], start[rows], generator, scale, distance, config)
        parts.append(part)
        progress("projection", min(first + config.batch, len(images)), len(images), {})
    return torch.cat(parts)


def _project_batch(
    images: Tensor,
    start: Tensor,
    generator: Generator,
    scale: Tensor,
    distance: Callable[[Tensor, Tensor], Tensor] | None,
    config: ProjectionConfig,
) -> Tensor:
    offset = torch.zeros_like(start, requires_grad=True)  # in standard deviations
    optimizer = torch.optim.Adam([offset], lr=config.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.steps)
    best = torch.full([len(start)], torch.inf, device=start.device)
    result = start.clone()
    for step in range(config.steps + 1):
        w = start + offset * scale
        shown = generator.synthesize(w).clamp(-1, 1)
        loss = (shown - images).square().mean(dim=[1, 2, 3])
        if distance is not None:
            loss = loss + distance(shown, images)
        loss = loss + config.prior * offset.square().mean(dim=1)
        better = loss.detach() < best
        best = torch.where(better, loss.detach(), best)
        result = torch.where(better[:, None], w.detach(), result)
        if step < config.steps:
            (offset.grad,) = torch.autograd.grad(loss.sum(), offset)
            optimizer.step()
            schedule.step()
    return result


@torch.no_grad()
def encode(encoder: Encoder, images: Tensor, batch: int = 256) -> Tensor:  # -> [n, D]
    """Latents of a whole set, batch by batch."""
    return torch.cat([encoder(part) for part in images.split(batch)])
