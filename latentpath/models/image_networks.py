"""Networks that look at images: classifiers, the witness, and the encoder with projection.

Classifiers are a MONAI residual network with a linear head. A walk bends away from its own identity
classifier, so that classifier may be fooled where the person is still plain to others. The witness
is an identity classifier of another kind, that the walk has never met, and shares nothing with it:
no residual network but plain strided convolutions that keep where things are, and no linear head
but a comparison of directions, as face recognition does it: the logit of a person is the cosine
between the image's embedding and the person's, times a scale.

Source of the witness's head: Wang, Xiang, Cheng, Yuille, "NormFace: L2 Hypersphere Embedding for
Face Verification", ACM Multimedia 2017.

From images to latents lead an encoder network, and projection by optimisation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentpath.core import (
    InputError,
    Progress,
    ShapeError,
    require_extra,
    silent,
    tf32_allowed,
    without_faulty_layers,
)
from latentpath.generators import Generator
from latentpath.models.networks import ImageModel


def reduced(
    images: Tensor,  # [n, C, H, W]
    side: int,
) -> Tensor:  # [n, C, h, w]
    """Images whose longer side is at most `side`, by averaging over areas; small ones as they are.

    Example:
        >>> import torch
        >>> reduced(torch.zeros(1, 1, 64, 32), 16).shape
        torch.Size([1, 1, 16, 8])
    """
    longer = max(images.shape[2:])
    if longer <= side:
        return images
    size = [max(1, round(pixels * side / longer)) for pixels in images.shape[2:]]
    return F.interpolate(images, size=size, mode="area")


def residual_trunk(img_channels: int, img_resolution: int, width: int) -> nn.Module:
    """MONAI's 2-D ResNet with one basic block per stage, widths `width * (1, 2, 4, 8)`.

    Small images keep their resolution in the stem; from 64 pixels on the first convolution has
    stride 2, from 128 on a max pooling follows. Returns features [M, 8 * width].
    Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016.
    """
    resnet = require_extra("monai.networks.nets.resnet", "pipeline")
    network = resnet.ResNet(
        block="basic",
        layers=[1, 1, 1, 1],
        block_inplanes=[width, 2 * width, 4 * width, 8 * width],
        spatial_dims=2,
        n_input_channels=img_channels,
        conv1_t_size=3,
        conv1_t_stride=1 if img_resolution < 64 else 2,
        no_max_pool=img_resolution < 128,
        feed_forward=False,
    )
    return without_faulty_layers(network)


class Classifier(nn.Module):
    """Images [M, C, H, H] in [-1, 1] to logits [M, num_classes].

    Serves as identity classifier (num_classes = N people) and as class classifier.

    Args:
        num_classes: width of the output.
        img_channels: 1 grey, 3 colour.
        img_resolution: side of the images, pixels; chooses the stem.
        width: channels of the first stage; features are 8 times as wide.
    """

    def __init__(
        self, num_classes: int, img_channels: int = 1, img_resolution: int = 32, width: int = 16
    ) -> None:
        super().__init__()
        if num_classes < 1 or width < 1:
            raise InputError(
                expected="num_classes and width of at least 1",
                got=f"num_classes={num_classes}, width={width}",
                fix="raise them",
            )
        self.config: dict[str, Any] = {
            "num_classes": num_classes,
            "img_channels": img_channels,
            "img_resolution": img_resolution,
            "width": width,
        }
        self.num_classes, self.img_channels = num_classes, img_channels
        self.trunk = residual_trunk(img_channels, img_resolution, width)
        self.head = nn.Linear(8 * width, num_classes)

    def features(self, images: Tensor) -> Tensor:  # [M, C, H, W] -> [M, 8 * width]
        """What the head sees."""
        if images.ndim != 4 or images.shape[1] != self.img_channels:
            raise ShapeError(
                expected=f"images [M, {self.img_channels}, H, W]",
                got=str(list(images.shape)),
                fix="use weights made for images of these channels",
            )
        return self.trunk(images)

    def forward(self, images: Tensor) -> Tensor:  # [M, C, H, W] -> [M, num_classes]
        return self.head(self.features(images))


# Larger images are reduced to this side, pixels.
SIDE = 64

# Side of the last feature map.
_POOLED = 4


class Witness(nn.Module):
    """Images [M, C, H, W] in [-1, 1] to logits [M, people].

    Args:
        people: N, number of people to tell apart.
        img_channels: 1 grey, 3 colour.
        width: channels of the first convolution; the others have twice and four times as many.
        embedding: width of the embedding.
    """

    def __init__(
        self, people: int, img_channels: int = 1, width: int = 24, embedding: int = 128
    ) -> None:
        super().__init__()
        if min(people, width, embedding) < 1:
            raise InputError(
                expected="people, width and embedding of at least 1",
                got=f"people={people}, width={width}, embedding={embedding}",
                fix="raise them",
            )
        self.img_channels = img_channels
        layers: list[nn.Module] = []
        channels = img_channels
        for kernel, stride, factor in ((5, 2, 1), (3, 1, 2), (3, 2, 4), (3, 1, 4)):
            layers += [
                nn.Conv2d(channels, factor * width, kernel, stride, kernel // 2, bias=False),
                nn.BatchNorm2d(factor * width),
                nn.SiLU(),
            ]
            channels = factor * width
        self.trunk = nn.Sequential(*layers)
        self.embedding = nn.Linear(channels * _POOLED**2, embedding, bias=False)
        self.centre = nn.BatchNorm1d(embedding)
        self.people = nn.Parameter(torch.randn(people, embedding))
        # So large that one person can reach nearly all of the probability: the logits of the
        # others have to be about log N below.
        self.scale = nn.Parameter(torch.tensor(4.0 + 2 * math.log(max(2, people))))

    def features(self, images: Tensor) -> Tensor:  # [M, C, H, W] -> [M, embedding]
        """The image's embedding, of length 1."""
        if images.ndim != 4 or images.shape[1] != self.img_channels:
            raise ShapeError(
                expected=f"images [M, {self.img_channels}, H, W]",
                got=str(list(images.shape)),
                fix="use a witness trained on images of these channels",
            )
        x = F.adaptive_avg_pool2d(self.trunk(reduced(images, SIDE)), _POOLED)
        return F.normalize(self.centre(self.embedding(x.flatten(1))))

    def forward(self, images: Tensor) -> Tensor:  # [M, C, H, W] -> [M, people]
        return self.scale * self.features(images) @ F.normalize(self.people).T


@torch.no_grad()
def predict(model: ImageModel, images: Tensor, batch: int = 256) -> Tensor:  # -> [n, K]
    """Logits of a whole set, batch by batch."""
    with tf32_allowed(False, images.device):
        return torch.cat([model(part) for part in images.split(batch)])


def balanced_accuracy(model: ImageModel, images: Tensor, labels: Tensor) -> float:
    """Mean over the classes of the share of their images that are recognised.

    Args:
        model: a classifier in eval mode.
        images: [n, C, H, W] in [-1, 1].
        labels: [n].
    """
    right = (predict(model, images).argmax(1) == labels).double()
    return float(torch.stack([right[labels == label].mean() for label in labels.unique()]).mean())


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
