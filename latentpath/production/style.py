r"""Local style alignment: endpoints whose images have the texture of real ones.

The image of an average latent is smooth: what differs between k people cancels. k-SALSA (Jeon et
al., "k-SALSA: k-anonymous synthetic averaging of retinal images via local style alignment", ECCV
2022) moves the latent of a group so that small parts of its image get the texture of the parts of
the k source images that they resemble most. Here, for the group's latent w, its image x = G(w)
and its people's images s with weights a_s (equal for every person, shared out over a person's
images, summing to 1):

    content(w) = sum_s a_s LPIPS(x, s)
    style(w)   = sum_s a_s mean_p |gram_p(x) - gram_m(s)|^2 / sum_s a_s mean_q |gram_q(s)|^2
    loss(w)    = content(w) + style_weight * style(w)

gram_p is the Gram matrix [C, C] of the features of one crop, mean over its pixels, in a 4 x 4
grid of crops that covers the features of AlexNet's first layer; m = m(s, p) is the crop of s whose
Gram matrix has the largest cosine with gram_p(x), chosen anew at every step. AlexNet is that of
the LPIPS that ships, where the paper takes VGG.

Every person of a group has the same say in it, so the certificate of the averages holds for the
aligned latents: each is computed from at least k distinct people. How near an aligned image comes
to one of its sources is for the audit to measure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from latentpath.core import InputError, Progress, silent
from latentpath.data import ImageSet, to_tensor
from latentpath.generators import Generator
from latentpath.ksame import Grouping
from latentpath.similarity import LPIPS

_GRID = 4  # crops along each side
# Shares of the steps over which the rate rises and falls, as in StyleGAN2's projector.
_RISE, _FALL = 0.05, 0.25


@dataclass(frozen=True)
class StyleConfig:
    """Options of the alignment; steps and rate are the published ones."""

    steps: int = 100
    """Adam steps; 0 keeps the averages."""
    lr: float = 0.1
    """Adam's largest learning rate, in latent units per step; it rises over the first 5% of the
    steps and falls over the last 25%."""
    style_weight: float = 1.0
    """Weight of the style loss beside the content loss; 0 leaves content alone."""
    batch: int = 32
    """Groups that are optimised together; bounds the memory."""

    def __post_init__(self) -> None:
        if self.steps < 0 or not self.lr > 0 or not self.style_weight >= 0 or self.batch < 1:
            raise InputError(
                expected="style steps and weight of at least 0, a rate above 0, a batch above 0",
                got=f"{self.steps}, {self.style_weight}, {self.lr} and {self.batch}",
                fix="use the published 100 steps at rate 0.1, and weight 1",
            )


@dataclass(frozen=True)
class Aligned:
    """Aligned latents, and their losses before and after."""

    latents: Tensor
    """[G, D]."""
    before: Tensor
    """[G] loss of the averages."""
    after: Tensor
    """[G] loss of the aligned latents, never above `before`."""


def align_style(
    centroids: Tensor,  # [G, D]
    real: ImageSet,
    grouping: Grouping,
    generator: Generator,
    lpips: LPIPS,
    config: StyleConfig | None = None,
    progress: Progress = silent,
) -> Aligned:
    """Move average latents so that their images take on the local style of their people's.

    Groups do not influence each other, and equal input gives equal latents.

    Args:
        centroids: [G, D] averages to start from, on the generator's device.
        real: the grouped images, at the generator's resolution.
        grouping: who is in which group.
        generator: makes images of latents.
        lpips: content distance and features.
        config: options.
        progress: told after every batch of groups, stage "style".
    """
    config = config or StyleConfig()
    parts = []
    for first in range(0, len(centroids), config.batch):
        groups = range(first, min(first + config.batch, len(centroids)))
        sources = _Sources(real, grouping, groups, lpips)
        start = centroids[first : groups.stop]
        parts.append(_align(start, sources, generator, lpips, config))
        figures = {"before": float(parts[-1].before.mean()), "after": float(parts[-1].after.mean())}
        progress("style", groups.stop, len(centroids), figures)
    return Aligned(
        torch.cat([part.latents for part in parts]),
        torch.cat([part.before for part in parts]),
        torch.cat([part.after for part in parts]),
    )


class _Sources:
    """What the losses need of the source images of g groups, R images in all."""

    @torch.no_grad()
    def __init__(self, real: ImageSet, grouping: Grouping, groups: range, lpips: LPIPS) -> None:
        device = lpips.shift.device
        rows = np.flatnonzero(np.isin(grouping.assignment, groups))
        owner = grouping.assignment[rows] - groups.start
        images = to_tensor(real.images[rows]).to(device)
        self.group = torch.from_numpy(owner).to(device)  # [R]
        self.weight = torch.from_numpy(person_weights(owner, real.identities[rows])).to(device)
        embedded = lpips.embed(images)  # [R, F]
        self.centre = self._mean(embedded, len(groups))  # [g, F]
        # sum_s a_s |x - s|^2 = |x - centre|^2 + spread
        self.spread = self._mean(embedded.square().sum(1), len(groups)) - self.centre.square().sum(
            1
        )
        self.grams = local_grams(lpips.first_features(images))  # [R, P, C * C]
        self.squares = self.grams.square().sum(2)  # [R, P]
        self.scale = self._mean(self.squares.mean(1), len(groups)).clamp(min=1e-20)  # [g]

    def _mean(self, values: Tensor, num_groups: int) -> Tensor:
        """Weighted mean over each group's images, [R, ...] -> [g, ...]."""
        weight = self.weight.view(-1, *[1] * (values.ndim - 1))
        return values.new_zeros(num_groups, *values.shape[1:]).index_add_(
            0, self.group, values * weight
        )

    def losses(self, images: Tensor, lpips: LPIPS, style_weight: float) -> Tensor:
        """Loss of each group's image, [g, C, H, W] -> [g]."""
        content = (lpips.embed(images) - self.centre).square().sum(1) + self.spread
        if style_weight == 0:
            return content
        grams = local_grams(lpips.first_features(images))  # [g, P, C * C]
        squares = grams.square().sum(2)  # [g, P]
        inner = grams[self.group] @ self.grams.transpose(1, 2)  # [R, P, P]
        # The cosine's other factor, the norm of gram_p(x), does not change which crop is best.
        best = (inner.detach() / self.squares.clamp(min=1e-20).sqrt()[:, None]).argmax(2)  # [R, P]
        matched = inner.gather(2, best[..., None]).squeeze(2)
        apart = squares[self.group] + self.squares.gather(1, best) - 2 * matched  # [R, P]
        return content + style_weight * self._mean(apart.mean(1), len(images)) / self.scale


def person_weights(groups: np.ndarray, identities: np.ndarray) -> np.ndarray:
    """Weights [R] of images: 1 for each group, equal for its people, equal for a person's images.

    Args:
        groups: [R] group of each image.
        identities: [R] person of each image.
    """
    pairs, person = np.unique(np.stack([groups, identities]), axis=1, return_inverse=True)
    person = person.reshape(-1)
    people = np.bincount(pairs[0])  # people in each group
    images = np.bincount(person)  # images of each person in a group
    return (1.0 / (people[groups] * images[person])).astype(np.float32)


def local_grams(features: Tensor) -> Tensor:
    """Gram matrices of a 4 x 4 grid of crops, [M, C, H, W] -> [M, 16, C * C].

    Crops are as large as covers the map with the fewest pixels in two of them.
    """
    m, c, height, width = features.shape
    rows, columns = _crop_places(height), _crop_places(width)  # [4, h], [4, w]
    crops = features[:, :, rows][..., columns]  # [M, C, 4, h, 4, w]
    pixels = crops.permute(0, 2, 4, 1, 3, 5).reshape(m, _GRID * _GRID, c, -1)
    return (pixels @ pixels.transpose(2, 3) / pixels.shape[3]).flatten(2)


def _crop_places(size: int) -> Tensor:
    """Positions [4, ceil(size / 4)] along a side of `size` pixels."""
    extent = math.ceil(size / _GRID)
    starts = torch.linspace(0, size - extent, _GRID).round().long()
    return starts[:, None] + torch.arange(extent)


def _align(
    start: Tensor, sources: _Sources, generator: Generator, lpips: LPIPS, config: StyleConfig
) -> Aligned:
    def losses(latents: Tensor) -> Tensor:
        images = generator.synthesize(latents).clamp(-1, 1)
        return sources.losses(images, lpips, config.style_weight)

    latents = start.detach().clone().requires_grad_()
    optimiser = torch.optim.Adam([latents], lr=config.lr)
    with torch.no_grad():
        before = losses(latents)
    for step in range(config.steps):
        optimiser.param_groups[0]["lr"] = config.lr * ramps(step / config.steps)
        optimiser.zero_grad()
        with torch.enable_grad():
            losses(latents).sum().backward()
        optimiser.step()
    latents = latents.detach()
    with torch.no_grad():
        after = losses(latents)
    better = after < before
    return Aligned(
        torch.where(better[:, None], latents, start), before, torch.where(better, after, before)
    )


def ramps(done: float) -> float:
    """Share of the learning rate after this share of the steps (Karras et al., StyleGAN2)."""
    fall = min(1.0, (1.0 - done) / _FALL)
    return 0.5 * (1 - math.cos(math.pi * fall)) * min(1.0, (done + 1e-9) / _RISE)
