"""The fast walk: coarse to fine, with a surrogate between true gradients.

Three ideas, each of which saves generator passes:

- Coarse to fine (`latentpath.walks.levels`). Most of the way is found with 6 and 12 knots, where
  an evaluation of the path costs an eighth and a quarter of one of 48 points.
- Between two true evaluations the path moves several steps on a model of the guide energy around
  the points w_0 where it was last evaluated,

      m(w) = s(w) + <grad g(w_0) - grad s(w_0), w - w_0> + damping / 2 |w - w_0|^2,

  with s a latent surrogate (`latentpath.models.Surrogate`), which costs no generator call. At w_0
  the model has the true gradient g, so a wrong surrogate can slow a walk down and not lead it
  astray. (This is first-order model management, as in Alexandrov et al., "Approximation and Model
  Management in Aerodynamic Optimization with Variable-Fidelity Models", Journal of Aircraft 2001.)
  Without a surrogate there is one step per evaluation.
- Paths stop one by one, when their true energy has stopped falling.

Long, stiff paths take Sobolev steps: Adam's step is smoothed along the path (`ops.path_smooth_`),
since steps that differ from point to point cost more smoothness than they gain.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from latentpath import ops
from latentpath.energy import EnergyWeights, PathEnergy
from latentpath.energy.surrogate import SurrogateGuide
from latentpath.errors import InputError, check_above_zero, check_at_least
from latentpath.generators.checks import check_finite, check_whole
from latentpath.walks.levels import Level, plan_levels, resample

# A level's learning rate falls to this share of its first one.
_LAST_RATE = 0.2
# Evaluations in a row without progress after which a path has settled.
_PATIENCE = 2


@dataclass(frozen=True)
class FastConfig:
    """Options of the fast walk."""

    passes: float = 36.0
    """Most true gradients per point of the path. Fewer are faster; long paths take fewer anyway."""
    inner_steps: int = 5
    """Steps on the surrogate's model for each true gradient; 1 does without the surrogate."""
    lr: float = 0.08
    """First learning rate of the coarsest level, latent units per step; it falls with the
    distance of the knots."""
    betas: tuple[float, float] = (0.9, 0.99)
    """Decay of Adam's moments."""
    eps: float = 1e-8
    """Added to Adam's denominator."""
    damping: float = 20.0
    """Curvature that keeps the path near the points last evaluated, nats per squared latent
    unit; larger trusts the surrogate less."""
    tolerance: float = 1e-3
    """A path stops on the finest level when its true energy falls by less than this share per
    evaluation; 0 always uses all passes."""
    coarsest: int = 6
    """Interior knots of the coarsest level."""
    chunk: int = 4
    """The published energy's chunk: guide terms of a point weigh one over it; see `PlanConfig`."""
    weights: EnergyWeights = field(default_factory=EnergyWeights)
    """Weights of smoothness, identity and class terms."""

    def __post_init__(self) -> None:
        check_whole(1, inner_steps=self.inner_steps, coarsest=self.coarsest, chunk=self.chunk)
        check_finite(passes=self.passes, lr=self.lr, damping=self.damping, eps=self.eps)
        check_above_zero(passes=self.passes, lr=self.lr, eps=self.eps)
        check_at_least(0, damping=self.damping, tolerance=self.tolerance)
        if not all(0 <= beta < 1 for beta in self.betas):
            raise InputError(
                expected="betas from 0 to below 1", got=str(self.betas), fix="use (0.9, 0.99)"
            )


@dataclass
class Flight:
    """A path that is being walked."""

    number: int
    """Its place in the order of the inputs."""
    label: int
    level: int
    """Index of its level."""
    path: Tensor
    """[n + 2, D], the knots of its level."""
    exp_avg: Tensor
    """[n, D], Adam's first moment."""
    exp_avg_sq: Tensor
    """[n, D], Adam's second moment."""
    adam_steps: int = 0
    """Steps that the moments hold."""
    evaluations: int = 0
    """True gradients on this level."""
    evaluated_points: int = 0
    """Points that went through the generator, over all levels."""
    energy: float = math.inf
    """True energy of the level's path when last evaluated, without the weight of smoothness's
    offset for eps."""
    idle: int = 0
    """Evaluations in a row that hardly lowered it."""
    stopped: str = ""
    """Why it ended; empty while it flies."""


class FastSolver:
    """Moves paths that are in flight, one true evaluation of each at a time.

    Args:
        energy: the true energy; its gradients may be of lower precision.
        config: options.
        steps: points T of the finished paths.
        guide: the surrogate's energy, None to do without.
        visited: told the points [m, D] of every true evaluation.
    """

    def __init__(
        self,
        energy: PathEnergy,
        config: FastConfig,
        steps: int,
        guide: SurrogateGuide | None = None,
        visited: Callable[[Tensor], None] | None = None,
    ) -> None:
        self.energy, self.config, self.guide, self.visited = energy, config, guide, visited
        self.levels = plan_levels(steps, config.passes, config.coarsest)
        self.inner_steps = config.inner_steps if guide is not None else 1
        interior = steps - 2
        # The mean of one over the chunk sizes: see plan.chunk_weights.
        self.point_weight = math.ceil(interior / config.chunk) / interior
        weights = config.weights
        scale = weights.identity or 0.1 * weights.classification
        self.damping = config.damping * scale if guide is not None else 0.0

    def take_off(self, number: int, label: int, start: Tensor, end: Tensor) -> Flight:  # [D] x2
        """A path on the straight line, with the knots of the first level."""
        ends = torch.stack([start, end])
        path = resample(ends, self.levels[0].points)
        return self._on_level(Flight(number, label, 0, path, path, path), 0, path)

    @torch.no_grad()
    def advance(self, flights: list[Flight]) -> None:
        """Evaluate all paths once and move them; those that ended are marked.

        What a path does depends on itself alone, not on the others.
        """
        gradients, energies = self._evaluate(flights)
        groups: dict[int, list[int]] = {}
        for i, flight in enumerate(flights):
            groups.setdefault(flight.level, []).append(i)
        for level, members in sorted(groups.items()):
            self._move(
                [flights[i] for i in members],
                self.levels[level],
                torch.stack([gradients[i] for i in members]),
                torch.stack([energies[i] for i in members]),
            )

    def _evaluate(self, flights: list[Flight]) -> tuple[list[Tensor], list[Tensor]]:
        """True gradients, [n, D] of each path, and weighted energies per knot, [n] of each."""
        sizes = [len(flight.path) - 2 for flight in flights]
        points = torch.cat([flight.path[1:-1] for flight in flights])
        labels = torch.tensor([flight.label for flight in flights], device=points.device)
        counts = torch.tensor(sizes, device=points.device)
        per_level = [self._point_weight(self.levels[flight.level]) for flight in flights]
        weights = torch.tensor(per_level, device=points.device)
        energies = torch.empty(len(points), device=points.device)
        gradients = self.energy.guide_gradient(
            points,
            labels.repeat_interleave(counts),
            weights.repeat_interleave(counts),
            energies,
        )
        if self.visited is not None:
            self.visited(points)
        return list(gradients.split(sizes)), list(energies.split(sizes))

    def _point_weight(self, level: Level) -> float:
        return self.point_weight * level.guide_scale

    def _move(
        self,
        flights: list[Flight],
        level: Level,
        gradient: Tensor,  # [B, n, D]
        energies: Tensor,  # [B, n]
    ) -> None:
        """Steps after one evaluation, for paths of one level."""
        b, n, d = gradient.shape
        path = torch.stack([flight.path for flight in flights])
        exp_avg = torch.stack([flight.exp_avg for flight in flights])
        exp_avg_sq = torch.stack([flight.exp_avg_sq for flight in flights])
        taken = torch.tensor([flight.adam_steps for flight in flights], device=path.device)
        rates = torch.tensor([self._rate(flight, level) for flight in flights], device=path.device)
        weight = self._point_weight(level)
        anchor = path[:, 1:-1].clone()
        labels = torch.tensor([flight.label for flight in flights], device=path.device)
        labels = labels.repeat_interleave(n)
        weights = torch.full((b * n,), weight, device=path.device)
        smoothness: Tensor | None = None
        correction = gradient
        for step in range(self.inner_steps):
            slope = gradient
            if self.guide is not None and self.inner_steps > 1:
                predicted = self.guide.gradient(path[:, 1:-1].reshape(-1, d), labels, weights)
                predicted = predicted.view(b, n, d)
                if step == 0:
                    correction = gradient - predicted
                away = path[:, 1:-1] - anchor
                slope = predicted + correction + (self.damping * weight) * away
            before = path.clone() if level.alpha else None
            energy, _ = ops.path_step_(
                path,
                slope,
                exp_avg,
                exp_avg_sq,
                taken,
                rates,
                smooth_weight=self.config.weights.smoothness * level.smoothness_scale,
                betas=self.config.betas,
                eps=self.config.eps,
            )
            smoothness = energy if smoothness is None else smoothness
            if before is not None:
                moved = ops.path_smooth_(path - before, level.alpha, ends="zero")
                path[:, 1:-1] = before[:, 1:-1] + moved[:, 1:-1]
        assert smoothness is not None
        stiffness = self.config.weights.smoothness * level.smoothness_scale
        totals = (stiffness * smoothness + weight * energies.sum(dim=1)).tolist()
        for i, flight in enumerate(flights):
            flight.path, flight.exp_avg, flight.exp_avg_sq = path[i], exp_avg[i], exp_avg_sq[i]
            flight.adam_steps += self.inner_steps
            flight.evaluations += 1
            flight.evaluated_points += n
            self._judge(flight, totals[i])

    def _rate(self, flight: Flight, level: Level) -> float:
        """Cosine from the level's first learning rate to its last."""
        done = flight.evaluations / level.evaluations
        first = self.config.lr * min(1.0, self.levels[0].interior / level.interior)
        share = _LAST_RATE + (1 - _LAST_RATE) * 0.5 * (1 + math.cos(math.pi * done))
        return first * share

    def _judge(self, flight: Flight, energy: float) -> None:
        """Send a path to its next level, or end it."""
        level = self.levels[flight.level]
        last = flight.level == len(self.levels) - 1
        small = self.config.tolerance * abs(energy)
        flight.idle = flight.idle + 1 if flight.energy - energy < small else 0
        flight.energy = energy
        if last and self.config.tolerance and flight.idle >= _PATIENCE:
            flight.stopped = "settled"
        elif flight.evaluations >= level.evaluations:
            if last:
                flight.stopped = "schedule"
            else:
                finer = self.levels[flight.level + 1]
                self._on_level(flight, flight.level + 1, resample(flight.path, finer.points))

    def _on_level(self, flight: Flight, level: int, path: Tensor) -> Flight:
        flight.level, flight.path = level, path
        flight.exp_avg = torch.zeros_like(path[1:-1])
        flight.exp_avg_sq = torch.zeros_like(path[1:-1])
        flight.adam_steps = flight.evaluations = flight.idle = 0
        flight.energy = math.inf
        return flight
