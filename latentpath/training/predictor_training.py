"""Training the path predictor: the energy itself is the loss, on paths that nobody has solved.

Every batch is of new pairs of averages of real latents, of one class each. The predictor says where
their paths lead, the networks say how the energy changes there, and the predictor's weights follow
that gradient: amortised optimisation (see `latentpath.models.PathPredictor`). A batch costs one
pass of the generator for each of its points, and no path has to be walked.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from latentpath.core import (
    DEEPEST,
    LARGEST_BATCH,
    MOST_POINTS,
    WIDEST,
    InputError,
    Progress,
    check_above_zero,
    check_at_least,
    check_whole,
    check_within,
    seeded,
    silent,
)
from latentpath.energy import EnergyWeights, PathEnergy
from latentpath.models import Networks, PathPredictor
from latentpath.training.checkpoint import Checkpointer, fingerprint
from latentpath.training.surrogate_points import check_latents, endpoints
from latentpath.training.training_steps import Figures, take_steps
from latentpath.walks import EPS_DISTANCE, LatentMetric, PublishedConfig, chunk_weights

# Points of a path that one batch asks the networks about; on longer paths they are drawn.
_ROWS = 8
# Larger gradients are cut: a pair that goes wrong must not undo what others taught.
_LARGEST_GRADIENT = 1.0


@dataclass(frozen=True)
class PredictorConfig:
    """How the path predictor is built and trained."""

    points: int = 200_000
    """Points at which the true energy's gradient is taken, all batches together."""
    batch: int = 256
    """Points per step."""
    walk_steps: int = 8
    """Most points of a path, both ends counted: each batch is of paths of 3 to so many."""
    people: int = 5
    """Most latents that an end of a path averages."""
    width: int = 512
    """Width of the hidden layers."""
    depth: int = 4
    """Number of hidden layers."""
    lr: float = 1e-3
    """Highest learning rate of the one-cycle schedule."""
    weight_decay: float = 1e-4
    """AdamW's decoupled weight decay."""
    weights: EnergyWeights = field(default_factory=lambda: EnergyWeights(identity=0.15))
    """Weights of the energies, by default those of `latentpath produce`; that of smoothness is for
    paths of 50 points, and rescaled by ((T - 1) / 49)^2 for others, as there."""
    seed: int = 0
    """Seed of weights, pairs and order."""

    def __post_init__(self) -> None:
        check_whole(0, seed=self.seed)
        check_within(1, MOST_POINTS, points=self.points)
        check_within(1, LARGEST_BATCH, batch=self.batch, people=self.people)
        check_within(3, LARGEST_BATCH, walk_steps=self.walk_steps)
        check_within(1, WIDEST, width=self.width)
        check_within(1, DEEPEST, depth=self.depth)
        check_at_least(0, weight_decay=self.weight_decay)
        check_above_zero(lr=self.lr)

    @property
    def steps(self) -> int:
        """Optimiser steps."""
        return max(1, self.points // self.batch)


def train_predictor(
    networks: Networks,
    latents: Tensor,  # [n, D]
    labels: Tensor,  # [n]
    *,
    config: PredictorConfig | None = None,
    metric: LatentMetric | None = None,
    checkpoint: str | Path | None = None,
    progress: Progress = silent,
) -> PathPredictor:
    """Train a predictor for these networks and return it in eval mode, without gradients.

    Args:
        networks: what the energy is made of, fixed. Surrogate and predictor are not looked at.
        latents: latents of the real images, as the encoder gives them, or endpoints of walks.
        labels: their classes.
        config: weights of the energy, network and schedule.
        metric: how far apart latents are, in the smoothness energy; as the walks will have it.
        checkpoint: file to continue from, saved to about once a minute and at the end.
        progress: told after every step, as stage "predictor".

    Raises:
        DataError: latents or labels of the wrong shape, or not finite.
        InputError: a network without a state, such as a function, one through which no gradient
            flows, or labels that the class classifier does not know.
        WeightsError: `checkpoint` belongs to another run.
    """
    config = config or PredictorConfig()
    trained_for = networks.fingerprint()
    check_latents(latents, labels)
    latents, labels = latents.detach().float(), labels.long()
    with seeded(config.seed, latents.device):
        measured = () if metric is None else (metric.mean, metric.root)
        data = fingerprint(latents, labels, *measured) + trained_for
        run = _PredictorRun(networks, latents, labels, config, metric)
        run.predictor.trained_for = trained_for
        run.train(Checkpointer(checkpoint, config=config, data=data), progress)
    return run.predictor.eval().requires_grad_(False)


def evaluate_predictor(
    networks: Networks,
    latents: Tensor,  # [n, D]
    labels: Tensor,  # [n]
    *,
    config: PredictorConfig | None = None,
    metric: LatentMetric | None = None,
    paths: int = 64,
    seed: int = 1,
) -> dict[str, float]:
    """What the paths of the networks' predictor save of the energy of straight lines.

    Args:
        networks: the predictor and the networks that it was trained for.
        latents: latents of the real images; likewise `labels`, as in training.
        config: what it was trained with.
        metric: as in training.
        paths: new pairs, which share their latents with those of the training.
        seed: of these pairs.

    Returns:
        "predicted energy ratio": the mean true energy of predicted paths of `config.walk_steps`
        points, in float32, over that of the straight lines.

    Raises:
        InputError: no predictor among the networks.
    """
    config = config or PredictorConfig()
    if networks.predictor is None:
        raise InputError(
            expected="networks with a predictor", got="none", fix="use train_predictor first"
        )
    with seeded(seed, latents.device):
        run = _PredictorRun(networks, latents.float(), labels.long(), config, metric)
        run.predictor = networks.predictor
        predicted, line = run.energies(paths)
    return {"predicted energy ratio": predicted / line}


class _PredictorRun:
    """One training run: the networks, the predictor, and the latents that paths join."""

    def __init__(
        self,
        networks: Networks,
        latents: Tensor,
        labels: Tensor,
        config: PredictorConfig,
        metric: LatentMetric | None,
    ) -> None:
        self.networks = networks.for_latents(latents.shape[1])
        self.latents, self.labels, self.config, self.metric = latents, labels, config, metric
        # Small batches of many pairs: what the gradients' own precision costs is lost among them.
        self.energy = PathEnergy(
            replace(self.networks, surrogate=None, predictor=None),
            weights=config.weights,
            precision="auto",
            fold_norms=True,
        )
        self.predictor = PathPredictor(
            latents.shape[1], int(labels.max()) + 1, config.width, config.depth
        ).to(latents.device)
        spread = latents.std(dim=0, correction=0).mean()
        self.predictor.centre.copy_(latents.mean(dim=0))
        self.predictor.spread.copy_(torch.where(spread > 0, spread, torch.ones_like(spread)))

    def train(self, saver: Checkpointer, progress: Progress) -> None:
        """All steps, from the checkpoint on."""
        config = self.config

        def loss_of_batch() -> tuple[Tensor, Figures]:
            loss, energy = self._loss()
            return loss, Figures(energy=energy)

        take_steps(
            "predictor",
            self.predictor,
            loss_of_batch,
            lr=config.lr,
            steps=config.steps,
            weight_decay=config.weight_decay,
            device=self.latents.device,
            saver=saver,
            progress=progress,
            largest_gradient=_LARGEST_GRADIENT,
        )

    def _pairs(self, paths: int) -> tuple[Tensor, Tensor, Tensor]:  # -> [B, D], [B, D], [B]
        """Random ends of paths, and their classes."""
        rows = torch.randint(len(self.labels), (paths,), device=self.labels.device)
        classes, people = self.labels[rows], self.config.people
        start, end = (endpoints(self.latents, self.labels, classes, people) for _ in range(2))
        return start, end, classes

    def _path(self, ends: tuple[Tensor, Tensor, Tensor], points: int) -> Tensor:  # -> [B, T, D]
        start, end, classes = ends
        places = torch.linspace(0, 1, points, device=start.device)[1:-1]
        between = self.predictor(start, end, classes, places)
        return torch.cat([start[:, None], between, end[:, None]], dim=1)

    def _smoothness(self, path: Tensor) -> Tensor:  # [B, T, D] -> [B]
        path = path if self.metric is None else self.metric.into(path)
        return (path[:, 1:] - path[:, :-1]).square().sum(dim=(1, 2))

    def _loss(self) -> tuple[Tensor, Tensor]:
        """What has the energy's gradient in the predictor's weights; the mean energy of a path."""
        points = int(torch.randint(3, self.config.walk_steps + 1, ()))
        inner = points - 2
        rows = min(inner, _ROWS)
        ends = self._pairs(max(1, self.config.batch // rows))
        path, paths = self._path(ends, points), len(ends[2])
        device = path.device
        weights = chunk_weights(points, PublishedConfig().chunk).to(device)[1:-1] * (inner / rows)
        chosen = torch.rand(paths, inner, device=device).topk(rows, dim=1).indices  # [B, r]
        at = path[:, 1:-1].gather(1, chosen[..., None].expand(-1, -1, path.shape[2]))
        guides = torch.empty(chosen.numel(), device=device)
        slope = self.energy.guide_gradient(
            at.detach().flatten(0, 1),
            ends[2].repeat_interleave(rows),
            weights[chosen].flatten(),
            guides,
        )
        smoothness = self.config.weights.for_points(points).smoothness * self._smoothness(path)
        loss = ((slope * at.flatten(0, 1)).sum() + smoothness.sum()) / paths
        energy = (guides * weights[chosen].flatten()).sum() / paths + smoothness.detach().mean()
        return loss, energy

    @torch.no_grad()
    def energies(self, paths: int) -> tuple[float, float]:
        """Mean true energy of predicted paths between new pairs, and of the straight lines."""
        points = self.config.walk_steps
        ends = self._pairs(paths)
        weights = chunk_weights(points, PublishedConfig().chunk).to(self.latents.device)
        share = self.config.weights.for_points(points).smoothness
        line = torch.lerp(
            ends[0][:, None],
            ends[1][:, None],
            torch.linspace(0, 1, points, device=weights.device)[None, :, None],
        )
        means = []
        for path in (self._path(ends, points), line):
            terms = self.energy.terms(path, ends[2], weights, EPS_DISTANCE)
            guides = terms.total - self.config.weights.smoothness * terms.smoothness
            means.append(float((guides + share * self._smoothness(path)).mean()))
        return means[0], means[1]
