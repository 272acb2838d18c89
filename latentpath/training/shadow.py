"""Many small classifiers trained at once, each on its own part of the images.

Membership inference needs dozens of "shadow" models. Here S of them share every step: their
weights are stacked, their images lie side by side in the channels, and one grouped convolution
per layer serves them all. Nothing is shared between the models, so each comes out as if it had
been trained alone: with its own initial weights, order of images and AdamW state.

On one CPU core 16 models at once took 1.4 times (width 16) to 2.5 times (width 8) less time than
one after the other; with more the activations no longer fit the caches. `torch.func.vmap` over
stacked modules becomes the same grouped convolutions with copies between them and took 1.2 to 1.4
times as long as these; convolutions as batched matrix products took about twice as long.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentpath.core import (
    LARGEST_BATCH,
    WIDEST,
    DataError,
    Progress,
    ShapeError,
    channels_last,
    check_above_zero,
    check_at_least,
    check_within,
    silent,
)
from latentpath.models import reduced

# Side of the last feature map, which the linear layer sees pixel by pixel.
_POOLED = 4

# (kernel, padding) of the convolutions; each halves the side.
_LAYERS = ((5, 2), (3, 1), (3, 1))


@dataclass(frozen=True)
class ShadowConfig:
    """How the small classifiers are built and trained: no augmentation, as that hides members."""

    steps: int = 1000
    """Optimiser steps of every model."""
    batch: int = 32
    """Images per step and model."""
    width: int = 8
    """Channels of the first convolution; the second has twice, the third four times as many."""
    side: int = 32
    """Larger images are reduced to this side, pixels; time grows with its square."""
    lr: float = 3e-3
    """Highest learning rate: a short linear rise, then a cosine to zero."""
    weight_decay: float = 0.0
    """AdamW's decoupled weight decay. More makes the models forget single images."""
    at_once: int = 16
    """Models trained together. More need more memory; the result is the same."""
    seed: int = 0
    """Seed; every model draws its weights and its order of images from its own stream."""

    def __post_init__(self) -> None:
        check_at_least(1, steps=self.steps)
        check_within(1, WIDEST, width=self.width, at_once=self.at_once)
        check_within(1, LARGEST_BATCH, batch=self.batch)
        check_within(8, 1024, side=self.side)
        check_at_least(0, weight_decay=self.weight_decay, seed=self.seed)
        check_above_zero(lr=self.lr)


@dataclass(frozen=True, eq=False)
class ShadowModels:
    """S trained classifiers.

    Attributes:
        weights: per layer weight and bias, each [S, ...]: three convolutions, one linear layer.
        config: how they were trained.
    """

    weights: tuple[Tensor, ...]
    config: ShadowConfig

    def __len__(self) -> int:
        return len(self.weights[0])

    @torch.no_grad()
    def logits(
        self,
        images: Tensor,  # [n, C, H, W] in [-1, 1]
        batch: int = 256,
    ) -> Tensor:  # [S, n, K]
        """Answers of all models to all images."""
        parts = []
        for first in range(0, len(self), self.config.at_once):
            some = [weight[first : first + self.config.at_once] for weight in self.weights]
            count = len(some[0])
            answers = [
                _forward(some, reduced(part, self.config.side).repeat(1, count, 1, 1))
                for part in images.split(batch)
            ]
            parts.append(torch.cat(answers).transpose(0, 1))
        return torch.cat(parts)

    def module(self, number: int) -> nn.Module:
        """One of the models as an ordinary module, [n, C, H, W] -> [n, K], in eval mode."""
        _, width, channels, *_ = self.weights[0].shape
        model = _ShadowNet(self.config, width, channels, num_classes=self.weights[-1].shape[1])
        model.to(self.weights[0])
        with torch.no_grad():
            for parameter, weight in zip(model.parameters(), self.weights, strict=True):
                parameter.copy_(weight[number])
        return model.eval().requires_grad_(False)


def train_shadows(
    images: Tensor,  # [n, C, H, W] in [-1, 1]
    labels: Tensor,  # [n]
    inside: Tensor,  # bool [S, n], the images that each model is trained on
    *,
    num_classes: int,
    config: ShadowConfig | None = None,
    progress: Progress = silent,
    stage: str = "shadow models",
) -> ShadowModels:
    """Train one small classifier per row of `inside`.

    Args:
        images: float in [-1, 1]; the models work in its precision.
        labels: class of each image, 0 to num_classes - 1.
        inside: which images each model learns; models may learn different numbers of them.
        num_classes: K.
        config: network and schedule.
        progress: told after every step, with the mean loss of the models in training.
        stage: what the progress is called.

    Raises:
        ShapeError: arrays that do not fit each other.
        DataError: a model without images, or labels out of range.
    """
    config = config or ShadowConfig()
    _check(images, labels, inside, num_classes)
    pixels = reduced(images, config.side).permute(0, 2, 3, 1).contiguous()  # [n, H, W, C]
    trained: list[tuple[Tensor, ...]] = []
    for first in range(0, len(inside), config.at_once):
        numbers = range(first, min(first + config.at_once, len(inside)))
        streams = [stream(config.seed, number) for number in numbers]
        weights = _initial(streams, images, num_classes, config)
        orders = [
            rows_in_order(inside[number].nonzero()[:, 0].cpu(), config.batch, generator)
            for number, generator in zip(numbers, streams, strict=True)
        ]
        optimizer, schedule = _optimizer(weights, config)
        for step in range(config.steps):
            rows = torch.stack([next(order) for order in orders], 1).to(images.device)  # [B, s]
            loss = _loss(weights, pixels[rows], labels[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            done = first * config.steps + (step + 1) * len(numbers)
            if (step + 1) % 20 == 0 or step + 1 == config.steps:
                figures = {"loss": loss.item() / len(numbers)}
                progress(stage, done, len(inside) * config.steps, figures)
        trained.append(tuple(weight.detach() for weight in weights))
    return ShadowModels(tuple(torch.cat(layer) for layer in zip(*trained, strict=True)), config)


def _train_shadow_reference(
    images: Tensor,  # [n, C, H, W]
    labels: Tensor,  # [n]
    inside: Tensor,  # bool [n]
    number: int,
    *,
    num_classes: int,
    config: ShadowConfig,
) -> nn.Module:
    """The plain way: train the model of row `number` alone, as an ordinary module."""
    generator = stream(config.seed, number)
    weights = _initial([generator], images, num_classes, config)
    model = ShadowModels(tuple(weights), config).module(0).train().requires_grad_(True)
    order = rows_in_order(inside.nonzero()[:, 0], config.batch, generator)
    optimizer, schedule = _optimizer(list(model.parameters()), config)
    for _ in range(config.steps):
        rows = next(order)
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(model(images[rows]), labels[rows]).backward()
        optimizer.step()
        schedule.step()
    return model.eval().requires_grad_(False)


class _ShadowNet(nn.Module):
    """One of the small classifiers: three convolutions of stride 2, pooling, a linear layer."""

    def __init__(self, config: ShadowConfig, width: int, channels: int, num_classes: int) -> None:
        super().__init__()
        self.side = config.side
        widths = (channels, width, 2 * width, 4 * width)
        self.convs = nn.ModuleList(
            nn.Conv2d(widths[i], widths[i + 1], kernel, stride=2, padding=padding)
            for i, (kernel, padding) in enumerate(_LAYERS)
        )
        self.head = nn.Linear(4 * width * _POOLED**2, num_classes)

    def forward(self, images: Tensor) -> Tensor:  # [n, C, H, W] -> [n, K]
        x = reduced(images, self.side)
        for conv in self.convs:
            x = conv(x).relu()
        return self.head(F.adaptive_avg_pool2d(x, _POOLED).flatten(1))


def _forward(
    weights: list[Tensor],  # each [s, ...]
    x: Tensor,  # [B, s * C, H, W], the images of one model after those of the other
) -> Tensor:  # [B, s, K]
    """What every model answers to its own images."""
    count = len(weights[0])
    x = channels_last(x)
    for layer, (_, padding) in enumerate(_LAYERS):
        kernel, bias = weights[2 * layer].flatten(0, 1), weights[2 * layer + 1].flatten()
        x = F.conv2d(x, kernel, bias, stride=2, padding=padding, groups=count).relu()
    if x.shape[2:] != (_POOLED, _POOLED):
        x = F.adaptive_avg_pool2d(x, _POOLED)
    features = x.reshape(len(x), count, -1).transpose(0, 1)  # [s, B, F]
    return torch.baddbmm(weights[7][:, None], features, weights[6].transpose(1, 2)).transpose(0, 1)


def _loss(weights: list[Tensor], pixels: Tensor, labels: Tensor) -> Tensor:
    """Sum over the models of their mean loss: pixels [B, s, H, W, C], labels [B, s]."""
    batch, count, height, width, channels = pixels.shape
    x = pixels.permute(0, 2, 3, 1, 4).reshape(batch, height, width, count * channels)
    logits = _forward(weights, x.permute(0, 3, 1, 2))  # [B, s, K]
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum") / batch


def _initial(
    streams: list[torch.Generator], images: Tensor, num_classes: int, config: ShadowConfig
) -> list[Tensor]:
    """He's normal initial weights, zero biases; every model's from its own stream."""
    widths = (images.shape[1], config.width, 2 * config.width, 4 * config.width)
    shapes: list[tuple[int, ...]] = [
        (widths[i + 1], widths[i], kernel, kernel) for i, (kernel, _) in enumerate(_LAYERS)
    ]
    shapes.append((num_classes, widths[-1] * _POOLED**2))
    weights = []
    for shape in shapes:
        scale = math.sqrt(2 / math.prod(shape[1:]))
        drawn = [torch.randn(shape, generator=g, dtype=torch.float64) * scale for g in streams]
        weights.append(torch.stack(drawn).to(images))
        weights.append(torch.zeros(len(streams), shape[0]).to(images))
    return [weight.requires_grad_() for weight in weights]


def _optimizer(
    weights: list[Tensor] | list[nn.Parameter], config: ShadowConfig
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
    optimizer = torch.optim.AdamW(weights, lr=config.lr, weight_decay=config.weight_decay)
    rise = max(1, config.steps // 20)

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, config.steps - rise)))

    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def stream(seed: int, number: int) -> torch.Generator:
    """The random numbers of one model, independent of how many others there are."""
    state = np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


def rows_in_order(rows: Tensor, batch: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Batches of `rows` for ever: every row once before any comes again, in a new order each."""
    order = torch.empty(0, dtype=torch.int64)
    while True:
        while len(order) < batch:
            order = torch.cat([order, rows[torch.randperm(len(rows), generator=generator)]])
        yield order[:batch]
        order = order[batch:]


def _check(images: Tensor, labels: Tensor, inside: Tensor, num_classes: int) -> None:
    n = len(images)
    shapes = (images.ndim, labels.shape, inside.ndim, inside.shape[-1:], inside.dtype)
    if shapes != (4, (n,), 2, (n,), torch.bool) or not images.is_floating_point():
        raise ShapeError(
            expected="float images [n, C, H, W], labels [n] and bool inside [S, n]",
            got=f"{list(images.shape)}, {list(labels.shape)}, {inside.dtype} {list(inside.shape)}",
            fix="give one label per image, and one row of booleans per model",
        )
    if len(inside) == 0 or not inside.any(1).all():
        raise DataError(
            expected="at least one model, and images for every model",
            got=f"{len(inside)} models, {int((~inside.any(1)).sum())} of them without images",
            fix="use more images, or larger parts of them",
        )
    if n and not 0 <= int(labels.min()) <= int(labels.max()) < num_classes:
        raise DataError(
            expected=f"labels from 0 to {num_classes - 1}",
            got=f"{int(labels.min())} to {int(labels.max())}",
            fix="number the classes from 0",
        )
