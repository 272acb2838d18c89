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
from latentpath.walks.error_field import ErrorField, Memory
from latentpath.walks.fast_config import FastConfig
from latentpath.walks.flight import Flight, PassSchedule
from latentpath.walks.levels import Level, plan_levels, resample
from latentpath.walks.published import straight_line

# Of latents, as a share of their own size, where the ends of a path nearly meet.
_LEAST_SPREAD = 0.1
# Of the first steps' length, on paths of one level.
_ONE_LEVEL = 0.35


@dataclass
class _Stack:
    """Paths of one level, stacked: B of them with n knots each."""

    level: Level
    path: Tensor
    """[B, n + 2, D]"""
    exp_avg: Tensor
    """[B, n, D]; this one and the next three as in `Flight`."""
    exp_avg_sq: Tensor
    anchor: Tensor
    correction: Tensor
    taken: Tensor
    """[B], steps that the moments hold."""
    rates: Tensor
    """[B], learning rates, latent units per step."""
    labels: Tensor
    """[B n]"""
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

    def tensors(self) -> tuple[Tensor, ...]:
        """What a flight keeps, in the order of its fields."""
        return self.path, self.exp_avg, self.exp_avg_sq, self.anchor, self.correction


class FastSolver:
    """Moves paths that are in flight, one true evaluation of each at a time.

    Args:
        energy: the true energy; its gradients may be of lower precision.
        config: options.
        steps: points T of the finished paths.
        guide: the surrogate's energy, None to do without.
        visited: told the points [m, D] of every true evaluation.
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
        spread: float | None = None,
    ) -> None:
        self.energy, self.config, self.guide, self.visited = energy, config, guide, visited
        self.levels = plan_levels(steps, config.passes, config.coarsest, config.starts)
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
        """A path on the straight line or beside it, with the knots of the first level."""
        path = resample(torch.stack([start, end]), self.levels[0].points)
        none = torch.zeros_like(path[1:-1])
        spread, memory = self._spread(start, end), Memory(self.config.memory, start)
        rate = self.config.lr * spread / math.sqrt(len(start))
        if self.schedule.single:
            rate *= _ONE_LEVEL
            if self.config.exploration:
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
        rows = [self._rows(flight) for flight in flights]
        gradients = self._evaluate(flights, rows)
        groups: dict[int, list[int]] = {}
        for i, flight in enumerate(flights):
            groups.setdefault(flight.level, []).append(i)
        moved: list[Flight] = []
        verdicts: list[Tensor] = []
        for level, members in sorted(groups.items()):
            moved += (flights[i] for i in members)
            verdicts.append(
                self._move(
                    [flights[i] for i in members],
                    self.levels[level],
                    torch.stack([rows[i] for i in members]),
                    torch.stack([gradients[i] for i in members]),
                )
            )
        # Everything before this runs on without waiting for a GPU.
        totals, finite = torch.cat(verdicts, dim=1).tolist()
        for flight, total, is_finite in zip(moved, totals, finite, strict=True):
            if is_finite:
                self.schedule.judge(flight, total)
            else:  # nothing comes back from there
                ends = flight.path[:1], flight.path[-1:]
                flight.path, flight.stopped = straight_line(*ends, self.steps)[0], "line"

    def _rows(self, flight: Flight) -> Tensor:  # [a]
        """The knots to evaluate, ascending: new ones first, then those that moved farthest."""
        n = len(flight.anchor)
        count = self.schedule.active(self.levels[flight.level])
        if count == n:
            return torch.arange(n, device=flight.path.device)
        moved = (flight.knots() - flight.anchor).square().sum(dim=1)
        new = flight.energies.isnan()
        # Every other knot first, so that each has a neighbour that is known.
        moved = torch.where(new, 1e30 + 1e29 * (torch.arange(n, device=moved.device) % 2), moved)
        return moved.topk(count).indices.sort().values

    def _evaluate(self, flights: list[Flight], rows: list[Tensor]) -> list[Tensor]:
        """True gradients of the chosen knots, [a, D] of each path; their energies are noted."""
        sizes = [len(chosen) for chosen in rows]
        points = torch.cat([f.knots()[chosen] for f, chosen in zip(flights, rows, strict=True)])
        counts = torch.tensor(sizes, device=points.device)
        labels = torch.tensor([flight.label for flight in flights], device=points.device)
        weights = torch.tensor(
            [self._point_weight(self.levels[flight.level]) for flight in flights],
            dtype=points.dtype,
            device=points.device,
        )
        energies = points.new_empty(len(points))
        # With their number at hand nobody has to wait for the sum of the counts.
        size = len(points)
        labels, weights = (x.repeat_interleave(counts, output_size=size) for x in (labels, weights))
        gradients = self.energy.guide_gradient(points, labels, weights, energies, known_labels=True)
        if self.visited is not None:
            self.visited(points)
        for flight, chosen, theirs in zip(flights, rows, energies.split(sizes), strict=True):
            flight.energies[chosen] = theirs
            flight.evaluated_points += len(chosen)
        return list(gradients.split(sizes))

    def _point_weight(self, level: Level) -> float:
        return self.point_weight * level.guide_scale

    def _move(
        self,
        flights: list[Flight],
        level: Level,
        rows: Tensor,  # [B, a]
        gradients: Tensor,  # [B, a, D]
    ) -> Tensor:  # [2, B]
        """Steps after one evaluation, for paths of one level: total energies, who is finite."""
        stack = self._stacked(flights, level)
        slope = self._surrogate_slope(stack)
        field = self._learn(flights, stack, rows, gradients, slope)
        smoothness = self._step(stack, slope, field)
        steps = self._inner_steps(level)
        for _ in range(steps - 1):
            self._step(stack, self._surrogate_slope(stack), field)
        guides = torch.stack([flight.energies.sum() for flight in flights])
        totals = stack.stiffness * smoothness + stack.weight * guides
        finite = torch.isfinite(stack.path).flatten(1).all(dim=1)
        for i, flight in enumerate(flights):
            flight.path, flight.exp_avg, flight.exp_avg_sq, flight.anchor, flight.correction = (
                tensor[i] for tensor in stack.tensors()
            )
            flight.adam_steps += steps
            flight.evaluations += 1
        return torch.stack([totals, finite.to(totals.dtype)])

    def _stacked(self, flights: list[Flight], level: Level) -> _Stack:
        """Paths of one level as one batch."""
        names = ("path", "exp_avg", "exp_avg_sq", "anchor", "correction")
        path, exp_avg, exp_avg_sq, anchor, correction = (
            torch.stack([getattr(flight, name) for flight in flights]) for name in names
        )
        weight = self._point_weight(level)
        rates = [self.schedule.rate(flight, level) for flight in flights]
        # One copy to a GPU for all numbers.
        rows = [
            (f.spread, rate, f.adam_steps, f.label) for f, rate in zip(flights, rates, strict=True)
        ]
        numbers = torch.tensor(rows, dtype=torch.float64, device=path.device).T
        spreads = numbers[0].to(path.dtype)
        return _Stack(
            level,
            path,
            exp_avg,
            exp_avg_sq,
            anchor,
            correction,
            taken=numbers[2].long(),
            rates=numbers[1].to(path.dtype),
            labels=numbers[3].long().repeat_interleave(level.interior),
            spreads=spreads,
            damping=self.damping * weight / spreads.square()[:, None, None],
            weight=weight,
            stiffness=self.config.weights.smoothness * level.smoothness_scale,
        )

    def _learn(
        self,
        flights: list[Flight],
        stack: _Stack,
        rows: Tensor,  # [B, a]
        gradients: Tensor,  # [B, a, D]
        slope: Tensor,  # [B, n, D]
    ) -> ErrorField | None:
        """Note how much the surrogate's slope errs at the knots `rows`; its errors everywhere."""
        chosen, knots = rows[:, :, None].expand(-1, -1, gradients.shape[2]), stack.knots()
        stack.anchor.scatter_(1, chosen, knots.gather(1, chosen))
        stack.correction.scatter_(1, chosen, gradients - slope.gather(1, chosen))
        if not self._remembers(stack.level):
            return None
        errors = stack.correction.gather(1, chosen) / stack.weight
        for flight, *seen in zip(flights, knots.gather(1, chosen), errors, strict=True):
            flight.memory.add(*seen)
        memories = [flight.memory for flight in flights]
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
        weights = knots.new_full((len(stack.labels),), stack.weight)
        slope = self.guide.gradient(knots.reshape(-1, knots.shape[2]), stack.labels, weights)
        return slope.view(knots.shape).to(knots.dtype)


def _noise(start: Tensor, end: Tensor, rows: int) -> Tensor:  # [D] x2 -> [rows, D]
    """Standard normal numbers that a path's ends decide: the same for it in whatever company."""
    digest = hash_bytes(torch.stack([start, end]).cpu().numpy().tobytes())
    source = torch.Generator().manual_seed(int(digest[:15], 16))
    return torch.randn(rows, len(start), generator=source).to(start)
