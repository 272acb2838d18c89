"""The fast walk: coarse to fine, on a model of the energy that learns from every true gradient.

Six ideas, each of which saves generator passes:

- Coarse to fine (`latentpath.walks.fast_schedule`). Most of the way is found with 6 and 12 knots,
  where an evaluation of the path costs an eighth and a quarter of one of 48 points.
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
from latentpath.energy import EnergyTerms, PathEnergy, SurrogateGuide
from latentpath.walks.error_field import ErrorField, Memory
from latentpath.walks.fast_schedule import FastConfig, Level, PassSchedule, plan_levels, resample
from latentpath.walks.flights import Flights
from latentpath.walks.requests_and_results import check_finite_walk, straight_line

# Of latents, as a share of their own size, where the ends of a path nearly meet.
_LEAST_SPREAD = 0.1
# Of the first steps' length: on paths of one level, and from predicted paths.
_ONE_LEVEL, _PREDICTED = 0.35, 0.2

Predict = Callable[[Tensor, Tensor, int], Tensor]
"""Ends [B, 2, D] of paths, their classes [B] on the processor and a number T of points to paths
[B, T, D], each the same in any company."""


@dataclass(frozen=True)
class _Model:
    """The energy of one level's paths, between two true evaluations."""

    weight: float
    """What a knot's guide energies weigh."""
    stiffness: float
    """What the smoothness of the knots weighs."""
    alpha: float
    """As in `Level`."""
    steps: int
    """Steps on it for each true evaluation."""
    rates: Tensor
    """[B], learning rates, latent units per step."""
    damping: Tensor
    """[B, 1, 1], curvature that keeps knots near their anchors."""


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
        self.schedule = PassSchedule(config, self.levels, steps)
        self.steps, interior = steps, steps - 2
        # The mean of one over the chunk sizes: see published.chunk_weights.
        self.point_weight = math.ceil(interior / config.chunk) / interior
        weights = config.weights
        self.damping = config.damping * (weights.identity or 0.1 * weights.classification)
        self.spread = spread
        if spread is None and guide is not None:
            self.spread = float(guide.surrogate.spread)

    @property
    def explores(self) -> bool:
        """Whether paths begin beside the line, in a direction that their ends decide."""
        return self.schedule.single and self.config.exploration > 0

    def take_off(
        self,
        number: Tensor,  # [B], on the processor
        label: Tensor,  # [B], on the processor
        ends: Tensor,  # [B, 2, D]
        line_terms: Tensor,  # [B, 4]
        ends_here: Tensor,  # [B, 2, D], on the processor where paths explore
    ) -> Flights:
        """Paths as predicted, on the straight line or beside it, with the first level's knots."""
        points = self.levels[0].points
        path = resample(ends, points) if self.predict is None else self.predict(ends, label, points)
        spread = self._spread(ends)
        rate = self.config.lr * spread / math.sqrt(ends.shape[2])
        if self.predict is not None:
            rate = rate * _PREDICTED
        elif self.schedule.single:
            rate = rate * _ONE_LEVEL
        if self.explores:
            beside = (self.config.exploration * spread).to(path.dtype)[:, None, None]
            path[:, 1:-1] += beside * _noise(ends_here, points - 2).to(path)
        memory = Memory.empty(len(path), self._memory_size(), path)
        label = label.to(path.device)
        return Flights.begin(number, label, ends, line_terms, path, spread, rate, memory)

    def _spread(self, ends: Tensor) -> Tensor:  # [B, 2, D] -> [B] float64
        """How far apart latents are, per coordinate.

        Steps must be short against it, and the smoothness that steps cost grows with D: hence a
        learning rate of a share of spread / sqrt(D).
        """
        if self.spread is not None:
            return ends.new_full((len(ends),), self.spread, dtype=torch.float64)
        start, end = ends.unbind(dim=1)
        apart, size = (x.square().mean(dim=1).sqrt().double() for x in (end - start, start))
        # Ends that (almost) meet say nothing about the latents.
        spread = torch.maximum(apart, _LEAST_SPREAD * size)
        return torch.where(spread == 0, 1.0, spread)

    def _memory_size(self) -> int:
        """Points that a path's memory has to hold: no more than there will ever be."""
        schedule, levels = self.schedule, filter(self._remembers, self.levels)
        most = sum(x.starts * schedule.evaluations(x) * schedule.active(x) for x in levels)
        return min(self.config.memory, most)

    @torch.no_grad()
    def advance(self, flights: list[Flights]) -> tuple[list[Flights], list[Flights]]:
        """Evaluate all paths once and move them: those that fly on, and those that ended.

        What a path does depends on itself alone, not on the others. There is one batch for each
        level, before and after; those that ended are of the last one.

        Raises:
            InputError: the energy of a path's straight line is not finite.
        """
        models = self._models(flights)
        rows = [self._rows(each) for each in flights]
        gradients = self._evaluate(flights, models, rows)
        moved = [self._move(*x) for x in zip(flights, models, rows, gradients, strict=True)]
        # Everything before this runs on without waiting for a GPU.
        verdicts = torch.cat(moved, dim=1).cpu().split([len(each) for each in flights], dim=1)
        parts: list[Flights] = []
        landed: list[Flights] = []
        for each, (energy, is_finite, of_line) in zip(flights, verdicts, strict=True):
            if not bool(of_line.all()):
                self._refuse_lines(each)
            flying, ended = self.schedule.judge(each, energy.double(), is_finite.bool())
            parts += flying
            landed += ended
        return Flights.by_level(parts), Flights.by_level(landed)

    def _refuse_lines(self, flights: Flights) -> None:
        lines = straight_line(flights.path[:, 0], flights.path[:, -1], self.steps)
        check_finite_walk(lines, EnergyTerms(*flights.line_terms.unbind(1)), "on the straight line")

    def _models(self, flights: list[Flights]) -> list[_Model]:
        """What moves each level's paths until they are evaluated again."""
        sizes, device = [len(each) for each in flights], flights[0].path.device
        # One copy to a GPU for all numbers.
        shares = torch.cat([self.schedule.shares(each) for each in flights]).to(device).split(sizes)
        models = []
        for each, share in zip(flights, shares, strict=True):
            level = self.levels[each.level]
            weight = self.point_weight * level.guide_scale
            first = each.rate * min(1.0, self.levels[0].interior / level.interior)
            models.append(
                _Model(
                    weight=weight,
                    stiffness=self.config.weights.smoothness * level.smoothness_scale,
                    alpha=level.alpha,
                    steps=self._inner_steps(level),
                    rates=(first * share).to(each.path.dtype),
                    damping=self.damping * weight / each.spread.square()[:, None, None],
                )
            )
        return models

    def _rows(self, flights: Flights) -> Tensor:  # [B, a]
        """The knots to evaluate, ascending: new ones first, then those that moved farthest."""
        batch, n = flights.energies.shape
        count = self.schedule.active(self.levels[flights.level])
        if count == n:
            return torch.arange(n, device=flights.path.device).expand(batch, n)
        moved = (flights.knots() - flights.anchor).square().sum(dim=2)
        new = flights.energies.isnan()
        # Every other knot first, so that each has a neighbour that is known.
        moved = torch.where(new, 1e30 + 1e29 * (torch.arange(n, device=moved.device) % 2), moved)
        return moved.topk(count).indices.sort().values

    def _evaluate(
        self, flights: list[Flights], models: list[_Model], rows: list[Tensor]
    ) -> list[Tensor]:
        """True gradients of the chosen knots, [B, a, D] of each level; their energies are noted."""
        shapes = [chosen.shape for chosen in rows]
        each = list(zip(flights, models, rows, strict=True))
        points = torch.cat([_taken(x.knots(), chosen).flatten(0, 1) for x, _, chosen in each])
        labels = torch.cat([x.labels_of_points(chosen.shape[1]) for x, _, chosen in each])
        weights = torch.cat([points.new_full((x.numel(),), model.weight) for _, model, x in each])
        energies = points.new_empty(len(points))
        gradients = self.energy.guide_gradient(points, labels, weights, energies, known_labels=True)
        if self.visited is not None:
            self.visited(points)
        sizes = [shape.numel() for shape in shapes]
        for (x, _, chosen), theirs in zip(each, energies.split(sizes), strict=True):
            x.energies.scatter_(1, chosen, theirs.view(chosen.shape))
            x.evaluations = x.evaluations + 1
            x.evaluated_points = x.evaluated_points + chosen.shape[1]
        return [
            theirs.view(*shape, -1)
            for shape, theirs in zip(shapes, gradients.split(sizes), strict=True)
        ]

    def _move(
        self,
        flights: Flights,
        model: _Model,
        rows: Tensor,  # [B, a]
        gradients: Tensor,  # [B, a, D]
    ) -> Tensor:  # [3, B]
        """Steps after one evaluation: total energies, and whether paths and lines are finite."""
        slope = self._surrogate_slope(flights, model)
        field = self._learn(flights, model, rows, gradients, slope)
        smoothness = self._step(flights, model, slope, field)
        for _ in range(model.steps - 1):
            self._step(flights, model, self._surrogate_slope(flights, model), field)
        totals = model.stiffness * smoothness + model.weight * flights.energies.sum(dim=1)
        finite = (x.isfinite().flatten(1).all(dim=1) for x in (flights.path, flights.line_terms))
        return torch.stack([totals, *(x.to(totals.dtype) for x in finite)])

    def _learn(
        self,
        flights: Flights,
        model: _Model,
        rows: Tensor,  # [B, a]
        gradients: Tensor,  # [B, a, D]
        slope: Tensor,  # [B, n, D]
    ) -> ErrorField | None:
        """Note how much the surrogate's slope errs at the knots `rows`; its errors everywhere."""
        knots = flights.knots()
        chosen = rows[:, :, None].expand(-1, -1, knots.shape[2])
        points, errors = _taken(knots, rows), gradients - _taken(slope, rows)
        flights.anchor.scatter_(1, chosen, points)
        flights.correction.scatter_(1, chosen, errors)
        if not self._remembers(self.levels[flights.level]):
            return None
        flights.memory.remember(points, errors / model.weight)
        return ErrorField(flights.memory, flights.spread * math.sqrt(knots.shape[2]))

    def _step(
        self,
        flights: Flights,
        model: _Model,
        slope: Tensor,  # [B, n, D]
        field: ErrorField | None,
    ) -> Tensor:  # -> [B]
        """One step on the model, in place; returns the smoothness energies before it."""
        path, knots = flights.path, flights.knots()
        if field is not None:
            flights.correction = model.weight * field(knots)
        slope = slope + flights.correction + model.damping * (knots - flights.anchor)
        before = path.clone() if model.alpha else None
        smoothness, _ = ops.path_step_(
            path,
            slope,
            flights.exp_avg,
            flights.exp_avg_sq,
            flights.adam_steps,
            model.rates,
            smooth_weight=model.stiffness,
            betas=self.config.betas,
            eps=self.config.eps,
        )
        if before is not None:
            moved = ops.path_smooth_(path - before, model.alpha, ends="zero")
            path[:, 1:-1] = before[:, 1:-1] + moved[:, 1:-1]
        return smoothness

    def _remembers(self, level: Level) -> bool:
        """Whether the memory holds enough of a level's knots to interpolate."""
        return 2 * level.interior <= self.config.memory

    def _inner_steps(self, level: Level) -> int:
        modelled = self.guide is not None or self._remembers(level)
        return self.config.inner_steps if modelled else 1

    def _surrogate_slope(self, flights: Flights, model: _Model) -> Tensor:  # -> [B, n, D]
        """The surrogate's gradient at the knots, zero without one."""
        knots = flights.knots()
        if self.guide is None:
            return torch.zeros_like(knots)
        points = knots.reshape(-1, knots.shape[2])
        labels = flights.labels_of_points(knots.shape[1])
        weights = knots.new_full((len(points),), model.weight)
        slope = self.guide.gradient(points, labels, weights)
        return slope.view(knots.shape).to(knots.dtype)


def _taken(values: Tensor, rows: Tensor) -> Tensor:  # [B, n, D], [B, a] -> [B, a, D]
    return values.gather(1, rows[:, :, None].expand(-1, -1, values.shape[2]))


def _noise(ends: Tensor, rows: int) -> Tensor:  # [B, 2, D], on the processor -> [B, rows, D]
    """Standard normal numbers that a path's ends decide: the same for it in whatever company."""
    draws = []
    for pair in ends:
        digest = hash_bytes(pair.numpy().tobytes())
        source = torch.Generator().manual_seed(int(digest[:15], 16))
        draws.append(torch.randn(rows, ends.shape[2], generator=source))
    return torch.stack(draws)
