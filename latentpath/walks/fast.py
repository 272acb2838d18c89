"""The fast walk: coarse to fine, on a model of the energy that learns from every true gradient.

Six ideas, each of which saves generator passes:

- Coarse to fine (`latentpath.walks.levels`). Most of the way is found with 6 and 12 knots, where
  an evaluation of the path costs an eighth and a quarter of one of 48 points.
- Between two true evaluations the path moves several steps on a model of the guide energy whose
  gradient costs no generator call,

      grad m(w) = grad s(w) + e(w) + damping (w - w_0),

  with s a latent surrogate (`latentpath.models.Surrogate`; zero without one), w_0 where the knot
  was last evaluated, and e the surrogate's error: grad g - grad s of the true energy g, as at w_0.
  A wrong surrogate can so slow a walk down and not lead it astray. (This is first-order model
  management, as in Alexandrov et al., "Approximation and Model Management in Aerodynamic
  Optimization with Variable-Fidelity Models", Journal of Aircraft 2001.)
- A path remembers where it has been evaluated, and e is interpolated from all of it
  (`latentpath.walks.error_field`): so the model knows the curvature of valleys that it has crossed,
  and starts and finer levels profit from earlier ones. Levels of many knots, and paths without a
  memory, take e at w_0 alone; without a surrogate they make one step per evaluation.
- The coarsest level is walked several times, each time with shorter steps, and the best path goes
  on: its energy there foretells the energy at the end, and which steps suit the latents.
- On finer levels only some of the knots are evaluated at a time: those that moved farthest since
  they were last evaluated. The others keep their correction; settled ones wait longest.
- Paths stop one by one, when their true energy has stopped falling.

With a path predictor (`latentpath.models.PathPredictor`) paths begin where it says that they lead,
with shorter steps and one start only.

Short paths have one level and a handful of passes, so that no first step comes right by trial: a
path whose energy rose goes most of the way back to the best place where it was evaluated and on
with shorter steps. With `exploration` its inner points begin beside the line.

Long, stiff paths take Sobolev steps: Adam's step is smoothed along the path (`ops.path_smooth_`),
since steps that differ from point to point cost more smoothness than they gain.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from latentpath import ops
from latentpath.core import hash_bytes
from latentpath.energy import PathEnergy, SurrogateGuide
from latentpath.walks.error_field import ErrorField, Memory, remember
from latentpath.walks.fast_config import FastConfig
from latentpath.walks.flight import Flight, PassSchedule
from latentpath.walks.levels import Level, plan_levels, resample
from latentpath.walks.published import straight_line

# Tensors of a flight that are stacked.
_OF_A_FLIGHT = ("path", "exp_avg", "exp_avg_sq", "anchor", "correction", "energies")
# Of latents, as a share of their own size, where the ends of a path nearly meet.
_LEAST_SPREAD = 0.1
# Of the first steps' length: on paths of one level, and from predicted paths.
_ONE_LEVEL, _PREDICTED = 0.35, 0.2

Predict = Callable[[Tensor, Tensor, int, int], Tensor]
"""Ends [D] and [D] of a path, its class and a number T of points to a path [T, D]."""


@dataclass
class _Stack:
    """Paths of one level, stacked: B of them with n knots each."""

    flights: list[Flight]
    level: Level
    path: Tensor
    """[B, n + 2, D]"""
    exp_avg: Tensor
    """[B, n, D]; this one and the next four as in `Flight`."""
    exp_avg_sq: Tensor
    anchor: Tensor
    correction: Tensor
    energies: Tensor
    """[B, n]"""
    taken: Tensor
    """[B], steps that the moments hold."""
    rates: Tensor
    """[B], learning rates, latent units per step."""
    labels: Tensor
    """[B]"""
    spreads: Tensor
    """[B]"""
    damping: Tensor
    """[B, 1, 1], curvature that keeps knots near their anchors."""
    weight: float
    """What a knot's guide energies weigh."""
    stiffness: float
    """What the smoothness of the knots weighs."""

    def knots(self) -> Tensor:  # [B, n, D]
        """The points that move."""
        return self.path[:, 1:-1]

    def of_points(self, count: int) -> Tensor:  # [B count]
        """The labels of so many points of each path."""
        return self.labels[:, None].expand(-1, count).flatten()

    def unstack(self) -> None:
        """Give the flights what is theirs, in the memory of the stack."""
        for name in _OF_A_FLIGHT:
            for flight, own in zip(self.flights, getattr(self, name), strict=True):
                setattr(flight, name, own)


class FastSolver:
    """Moves paths that are in flight, one true evaluation of each at a time.

    Args:
        energy: the true energy; its gradients may be of lower precision.
        config: options.
        steps: points T of the finished paths.
        guide: the surrogate's energy, None to do without.
        visited: told the points [m, D] of every true evaluation.
        predict: where paths begin; on the straight line without it.
        spread: how far apart latents are, per coordinate; None asks the surrogate or the ends.
    """

    def __init__(
        self,
        energy: PathEnergy,
        config: FastConfig,
        steps: int,
        guide: SurrogateGuide | None = None,
        visited: Callable[[Tensor], None] | None = None,
        *,
        predict: Predict | None = None,
        spread: float | None = None,
    ) -> None:
        self.energy, self.config, self.guide, self.visited = energy, config, guide, visited
        self.predict = predict
        # Several starts find the best of several valleys; a predicted path lies in one.
        starts = config.starts if predict is None else 1
        self.levels = plan_levels(steps, config.passes, config.coarsest, starts)
        self.schedule = PassSchedule(config, self.levels)
        self.steps, interior = steps, steps - 2
        # The mean of one over the chunk sizes: see published.chunk_weights.
        self.point_weight = math.ceil(interior / config.chunk) / interior
        weights = config.weights
        self.damping = config.damping * (weights.identity or 0.1 * weights.classification)
        self.spread = spread
        if spread is None and guide is not None:
            self.spread = float(guide.surrogate.spread)

    def take_off(self, number: int, label: int, start: Tensor, end: Tensor) -> Flight:  # [D] x2
        """A path as predicted, on the straight line or beside it, with the first level's knots."""
        points = self.levels[0].points
        if self.predict is None:
            path = resample(torch.stack([start, end]), points)
        else:
            path = self.predict(start, end, label, points)
        none = torch.zeros_like(path[1:-1])
        spread, memory = self._spread(start, end), Memory(self.config.memory, start)
        rate = self.config.lr * spread / math.sqrt(len(start))
        if self.predict is not None:
            rate *= _PREDICTED
        elif self.schedule.single:
            rate *= _ONE_LEVEL
        if self.schedule.single and self.config.exploration:
            path[1:-1] += self.config.exploration * spread * _noise(start, end, len(none))
        none_yet = none, none, none, none, none[:, 0]
        flight = Flight(number, label, 0, path, *none_yet, memory, spread, rate)
        return self.schedule.enter(flight, 0, path, none)

    def _spread(self, start: Tensor, end: Tensor) -> float:  # [D] x2
        """How far apart latents are, per coordinate.

        Steps must be short against it, and the smoothness that steps cost grows with D: hence a
        learning rate of a share of spread / sqrt(D).
        """
        if self.spread is not None:
            return self.spread
        sizes = (x.square().mean().sqrt() for x in (end - start, start))
        apart, size = torch.stack([*sizes]).tolist()
        # Ends that (almost) meet say nothing about the latents.
        return max(apart, _LEAST_SPREAD * size) or 1.0

    @torch.no_grad()
    def advance(self, flights: list[Flight]) -> None:
        """Evaluate all paths once and move them; those that ended are marked.

        What a path does depends on itself alone, not on the others.
        """
        groups: dict[int, list[Flight]] = {}
        for flight in flights:
            groups.setdefault(flight.level, []).append(flight)
        stacks = [self._stacked(groups[level], self.levels[level]) for level in sorted(groups)]
        rows = [self._rows(stack) for stack in stacks]
        gradients = self._evaluate(stacks, rows)
        moved = [self._move(*each) for each in zip(stacks, rows, gradients, strict=True)]
        # Everything before this runs on without waiting for a GPU.
        verdicts = iter(torch.cat(moved, dim=1).T.tolist())
        for stack in stacks:
            for flight, (total, is_finite) in zip(stack.flights, verdicts, strict=False):
                if is_finite:
                    self.schedule.judge(flight, total)
                else:  # nothing comes back from there
                    ends = flight.path[:1], flight.path[-1:]
                    flight.path, flight.stopped = straight_line(*ends, self.steps)[0], "line"

    def _rows(self, stack: _Stack) -> Tensor:  # [B, a]
        """The knots to evaluate, ascending: new ones first, then those that moved farthest."""
        batch, n = stack.energies.shape
        count = self.schedule.active(stack.level)
        if count == n:
            return torch.arange(n, device=stack.path.device).expand(batch, n)
        moved = (stack.knots() - stack.anchor).square().sum(dim=2)
        new = stack.energies.isnan()
        # Every other knot first, so that each has a neighbour that is known.
        moved = torch.where(new, 1e30 + 1e29 * (torch.arange(n, device=moved.device) % 2), moved)
        return moved.topk(count).indices.sort().values

    def _evaluate(self, stacks: list[_Stack], rows: list[Tensor]) -> list[Tensor]:
        """True gradients of the chosen knots, [B, a, D] of each stack; their energies are noted."""
        shapes = [chosen.shape for chosen in rows]
        each = list(zip(stacks, rows, strict=True))
        points = torch.cat([_taken(stack.knots(), chosen).flatten(0, 1) for stack, chosen in each])
        labels = torch.cat([stack.of_points(chosen.shape[1]) for stack, chosen in each])
        weights = torch.cat([points.new_full((x.numel(),), stack.weight) for stack, x in each])
        energies = points.new_empty(len(points))
        gradients = self.energy.guide_gradient(points, labels, weights, energies, known_labels=True)
        if self.visited is not None:
            self.visited(points)
        sizes = [shape.numel() for shape in shapes]
        for (stack, chosen), theirs in zip(each, energies.split(sizes), strict=True):
            stack.energies.scatter_(1, chosen, theirs.view(chosen.shape))
            for flight in stack.flights:
                flight.evaluated_points += chosen.shape[1]
        return [
            theirs.view(*shape, -1)
            for shape, theirs in zip(shapes, gradients.split(sizes), strict=True)
        ]

    def _point_weight(self, level: Level) -> float:
        return self.point_weight * level.guide_scale

    def _move(
        self,
        stack: _Stack,
        rows: Tensor,  # [B, a]
        gradients: Tensor,  # [B, a, D]
    ) -> Tensor:  # [2, B]
        """Steps after one evaluation, for paths of one level: total energies, who is finite."""
        slope = self._surrogate_slope(stack)
        field = self._learn(stack, rows, gradients, slope)
        smoothness = self._step(stack, slope, field)
        steps = self._inner_steps(stack.level)
        for _ in range(steps - 1):
            self._step(stack, self._surrogate_slope(stack), field)
        totals = stack.stiffness * smoothness + stack.weight * stack.energies.sum(dim=1)
        finite = torch.isfinite(stack.path).flatten(1).all(dim=1)
        stack.unstack()
        for flight in stack.flights:
            flight.adam_steps += steps
            flight.evaluations += 1
        return torch.stack([totals, finite.to(totals.dtype)])

    def _stacked(self, flights: list[Flight], level: Level) -> _Stack:
        """Paths of one level as one batch."""
        tensors = {
            name: torch.stack([getattr(flight, name) for flight in flights])
            for name in _OF_A_FLIGHT
        }
        path = tensors["path"]
        weight = self._point_weight(level)
        rates = [self.schedule.rate(flight, level) for flight in flights]
        # One copy to a GPU for all numbers.
        rows = [
            (f.spread, rate, f.adam_steps, f.label) for f, rate in zip(flights, rates, strict=True)
        ]
        numbers = torch.tensor(rows, dtype=torch.float64, device=path.device).T
        spreads = numbers[0].to(path.dtype)
        return _Stack(
            flights,
            level,
            **tensors,
            taken=numbers[2].long(),
            rates=numbers[1].to(path.dtype),
            labels=numbers[3].long(),
            spreads=spreads,
            damping=self.damping * weight / spreads.square()[:, None, None],
            weight=weight,
            stiffness=self.config.weights.smoothness * level.smoothness_scale,
        )

    def _learn(
        self,
        stack: _Stack,
        rows: Tensor,  # [B, a]
        gradients: Tensor,  # [B, a, D]
        slope: Tensor,  # [B, n, D]
    ) -> ErrorField | None:
        """Note how much the surrogate's slope errs at the knots `rows`; its errors everywhere."""
        knots = stack.knots()
        chosen = rows[:, :, None].expand(-1, -1, knots.shape[2])
        points, errors = _taken(knots, rows), gradients - _taken(slope, rows)
        stack.anchor.scatter_(1, chosen, points)
        stack.correction.scatter_(1, chosen, errors)
        if not self._remembers(stack.level):
            return None
        memories = [flight.memory for flight in stack.flights]
        remember(memories, points, errors / stack.weight)
        return ErrorField(memories, stack.spreads * math.sqrt(knots.shape[2]))

    def _step(self, stack: _Stack, slope: Tensor, field: ErrorField | None) -> Tensor:  # -> [B]
        """One step on the model, in place; returns the smoothness energies before it."""
        path, knots = stack.path, stack.knots()
        if field is not None:
            stack.correction = stack.weight * field(knots)
        slope = slope + stack.correction + stack.damping * (knots - stack.anchor)
        before = path.clone() if stack.level.alpha else None
        smoothness, _ = ops.path_step_(
            path,
            slope,
            stack.exp_avg,
            stack.exp_avg_sq,
            stack.taken,
            stack.rates,
            smooth_weight=stack.stiffness,
            betas=self.config.betas,
            eps=self.config.eps,
        )
        if before is not None:
            moved = ops.path_smooth_(path - before, stack.level.alpha, ends="zero")
            path[:, 1:-1] = before[:, 1:-1] + moved[:, 1:-1]
        return smoothness

    def _remembers(self, level: Level) -> bool:
        """Whether the memory holds enough of a level's knots to interpolate."""
        return 2 * level.interior <= self.config.memory

    def _inner_steps(self, level: Level) -> int:
        modelled = self.guide is not None or self._remembers(level)
        return self.config.inner_steps if modelled else 1

    def _surrogate_slope(self, stack: _Stack) -> Tensor:  # -> [B, n, D]
        """The surrogate's gradient at the knots, zero without one."""
        knots = stack.knots()
        if self.guide is None:
            return torch.zeros_like(knots)
        points = knots.reshape(-1, knots.shape[2])
        labels = stack.of_points(knots.shape[1])
        weights = knots.new_full((len(points),), stack.weight)
        slope = self.guide.gradient(points, labels, weights)
        return slope.view(knots.shape).to(knots.dtype)


def _taken(values: Tensor, rows: Tensor) -> Tensor:  # [B, n, D], [B, a] -> [B, a, D]
    return values.gather(1, rows[:, :, None].expand(-1, -1, values.shape[2]))


def _noise(start: Tensor, end: Tensor, rows: int) -> Tensor:  # [D] x2 -> [rows, D]
    """Standard normal numbers that a path's ends decide: the same for it in whatever company."""
    digest = hash_bytes(torch.stack([start, end]).cpu().numpy().tobytes())
    source = torch.Generator().manual_seed(int(digest[:15], 16))
    return torch.randn(rows, len(start), generator=source).to(start)
