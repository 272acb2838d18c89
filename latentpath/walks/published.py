"""The published walk: Adam on all interior points at once, from the straight line.

Source: Pennisi et al., "A Privacy-Preserving Walk in the Latent Space of Generative Models for
Medical Applications", MICCAI 2023, section 2.3, and its published code, whose arithmetic is kept:
Adam at a constant rate, classifiers that see a path in chunks of four images and average within a
chunk, and a pairwise distance that adds 1e-6 to every coordinate difference.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from latentpath import ops
from latentpath.core import InputError, Progress, check_finite, check_whole, silent
from latentpath.energy import EnergyWeights, PathEnergy
from latentpath.walks.requests_and_results import (
    EPS_DISTANCE,
    WalkResult,
    check_finite_walk,
    chunk_weights,
)


@dataclass(frozen=True)
class PublishedConfig:
    """Options of the published walk; the defaults are the published values."""

    optim_steps: int = 500
    """Adam steps; 0 returns the straight line."""
    lr: float = 0.1
    """Adam's learning rate, in latent units per step."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of Adam's moments."""
    eps: float = 1e-8
    """Added to Adam's denominator."""
    chunk: int = 4
    """Interior points per classifier chunk. Identity and class terms are averaged within a chunk,
    so a point weighs one over the size of its chunk; the last chunk may be shorter."""
    weights: EnergyWeights = field(default_factory=EnergyWeights)
    """Weights of smoothness, identity and class terms."""

    def __post_init__(self) -> None:
        check_whole(0, optim_steps=self.optim_steps)
        check_whole(1, chunk=self.chunk)
        check_finite(lr=self.lr, eps=self.eps)
        if self.lr <= 0:
            raise InputError(
                expected="lr above 0", got=str(self.lr), fix="use the published value, 0.1"
            )


def published_walk(
    path: Tensor,  # [B, T, D]: the straight lines
    labels: Tensor,  # [B]
    energy: PathEnergy,
    config: PublishedConfig,
    progress: Progress = silent,
) -> WalkResult:
    """Optimise the interior of `path` (a copy of it) and return the last iterate.

    Raises:
        InputError: the energy or the path is not finite, before or after.
    """
    b, t, d = path.shape
    path = path.clone(memory_format=torch.contiguous_format)
    weights = chunk_weights(t, config.chunk).to(path)
    before = energy.terms(path, labels, weights, EPS_DISTANCE)
    check_finite_walk(path, before, "on the straight line")
    exp_avg = torch.zeros_like(path[:, 1:-1]).contiguous()
    exp_avg_sq = torch.zeros_like(exp_avg)
    step = torch.zeros(b, dtype=torch.int64, device=path.device)
    point_labels = labels.repeat_interleave(t - 2)  # [M]
    point_weights = weights[1:-1].repeat(b)  # [M]
    for done in range(config.optim_steps):
        points = path[:, 1:-1].reshape(-1, d)
        guide = energy.guide_gradient(points, point_labels, point_weights)
        smoothness, _ = ops.path_step_(
            path,
            guide.view(b, t - 2, d),
            exp_avg,
            exp_avg_sq,
            step,
            config.lr,
            smooth_weight=config.weights.smoothness,
            betas=config.betas,
            eps=config.eps,
        )
        figures = {"smoothness": float(smoothness.mean())}
        progress("walk", done + 1, config.optim_steps, figures)
    after = energy.terms(path, labels, weights, EPS_DISTANCE)
    remedy = "a smaller lr, or a generator and classifiers"
    check_finite_walk(path, after, f"after {config.optim_steps} steps", remedy)
    passes = torch.full((b,), config.optim_steps + 2.0)
    stopped = ("schedule",) * b
    return WalkResult(path, before, after, "published", float(passes[0]), passes, stopped)
