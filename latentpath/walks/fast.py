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
from latentpath.core import InputError, check_above_zero, check_at_least, check_finite, check_whole
from latentpath.energy import EnergyWeights, PathEnergy, SurrogateGuide
from latentpath.walks.error_field import ErrorField, Memory
from latentpath.walks.levels import Level, plan_levels, resample
from latentpath.walks.published import straight_line

# Levels of at most so many knots are evaluated whole: their knots share little.
_WHOLE = 16
# A level's learning rate falls to this share of its first one.
_LAST_RATE = 0.2
# From one start to the next, steps become so much shorter.
_SHORTER = 0.55
# Of latents, as a share of their own size, where the ends of a path nearly meet.
_LEAST_SPREAD = 0.1
# Evaluations in a row without progress after which a path has settled.
_PATIENCE = 2


@dataclass(frozen=True)
class FastConfig:
    """Options of the fast walk."""

    passes: float = 36.0
    """Most true gradients per point of the path. Fewer are faster; long paths take fewer anyway."""
    inner_steps: int = 5
    """Steps on the model for each true gradient; 1 where nothing but that gradient is known."""
    memory: int = 256
    """True gradients that a path remembers for its model, which serve levels of up to half as many
    knots; 0 for none but the last of each knot."""
    lr: float = 2.1
    """Length of the first steps on the coarsest level, in spreads of the latents: each coordinate
    moves by up to lr * spread / sqrt(D). The spread is the root mean square deviation per
    coordinate that the surrogate noted of the latents; without a surrogate, the difference of the
    path's ends. Steps shrink on finer levels with the distance of the knots."""
    betas: tuple[float, float] = (0.9, 0.99)
    """Decay of Adam's moments."""
    eps: float = 1e-8
    """Added to Adam's denominator."""
    damping: float = 0.5
    """Curvature that keeps the path near the points last evaluated, nats per squared spread;
    larger trusts the model less."""
    active: float = 0.5
    """Share of the knots that a true evaluation looks at, on levels of more than 16."""
    tolerance: float = 1e-4
    """A path stops on the finest level when its true energy falls by less than this share per
    evaluation; 0 always uses all passes."""
    coarsest: int = 6
    """Interior knots of the coarsest level."""
    starts: int = 3
    """Times that the coarsest level is walked from the straight line, each time with shorter steps.
    The path of least energy goes on with its steps: so walks leave bad valleys, and find the steps
    that suit their latents."""
    chunk: int = 4
    """The published energy's chunk: guide terms of a point weigh one over it, as in
    `PublishedConfig`."""
    weights: EnergyWeights = field(default_factory=EnergyWeights)
    """Weights of smoothness, identity and class terms."""

    def __post_init__(self) -> None:
        whole = ("inner_steps", "coarsest", "starts", "chunk")
        check_whole(1, **{name: getattr(self, name) for name in whole})
        check_whole(0, memory=self.memory)
        numbers = ("passes", "lr", "damping", "eps", "active", "tolerance")
        check_finite(**{name: getattr(self, name) for name in numbers})
        check_above_zero(passes=self.passes, lr=self.lr, eps=self.eps)
        check_at_least(0, damping=self.damping, tolerance=self.tolerance)
        if not 0 < self.active <= 1:
            raise InputError(
                expected="active above 0, at most 1", got=str(self.active), fix="use 0.5"
            )
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise InputError(
                expected="two betas from 0 to below 1", got=str(self.betas), fix="use (0.9, 0.99)"
            )


@dataclass
class Flight:
    """A path that is being walked, with what is known about the n knots of its level."""

    number: int
    """Its place in the order of the inputs."""
    label: int
    level: int
    """Index of its level."""
    path: Tensor
    """[n + 2, D]"""
    exp_avg: Tensor
    """[n, D], Adam's first moment."""
    exp_avg_sq: Tensor
    """[n, D], Adam's second moment."""
    anchor: Tensor
    """[n, D], where each knot was last evaluated."""
    correction: Tensor
    """[n, D], true gradient there less the surrogate's (all of it without a surrogate)."""
    energies: Tensor
    """[n], weighted guide energy there; NaN before a knot's first evaluation."""
    memory: Memory
    """The surrogate's errors where the path was last evaluated, for a point weight of 1."""
    spread: float
    """How far apart latents are, per coordinate."""
    rate: float
    """First learning rate on the coarsest level, latent units per step."""
    starts: int = 1
    """Times that this level was begun."""
    best: tuple[float, Tensor, Tensor, float] | None = None
    """Energy, path, correction and rate of the best of the times that are through."""
    adam_steps: int = 0
    """Steps that the moments hold."""
    evaluations: int = 0
    """True evaluations on this level, of all or of some knots."""
    evaluated_points: int = 0
    """Points that went through the generator, over all levels."""
    energy: float = math.inf
    """Energy of the level's path as last known."""
    idle: int = 0
    """Evaluations in a row that hardly lowered it."""
    stopped: str = ""
    """Why it ended; empty while it flies."""

    def knots(self) -> Tensor:  # [n, D]
        """The points that move."""
        return self.path[1:-1]


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
        self.levels = plan_levels(steps, config.passes, config.coarsest, config.starts)
        self.steps, interior = steps, steps - 2
        # The mean of one over the chunk sizes: see published.chunk_weights.
        self.point_weight = math.ceil(interior / config.chunk) / interior
        weights = config.weights
        self.damping = config.damping * (weights.identity or 0.1 * weights.classification)
        self.spread = None if guide is None else float(guide.surrogate.spread)

    def take_off(self, number: int, label: int, start: Tensor, end: Tensor) -> Flight:  # [D] x2
        """A path on the straight line, with the knots of the first level."""
        path = resample(torch.stack([start, end]), self.levels[0].points)
        none = torch.zeros_like(path[1:-1])
        spread, memory = self._spread(start, end), Memory(self.config.memory, start)
        rate = self.config.lr * spread / math.sqrt(len(start))
        none_yet = none, none, none, none, none[:, 0]
        flight = Flight(number, label, 0, path, *none_yet, memory, spread, rate)
        return self._enter(flight, 0, path, none)

    def _spread(self, start: Tensor, end: Tensor) -> float:  # [D] x2
        """How far apart latents are, per coordinate.

        Steps must be short against it, and the smoothness that steps cost grows with D: hence a
        learning rate of a share of spread / sqrt(D).
        """
        if self.spread is not None:
            return self.spread
        apart, size = ((x.square().mean().sqrt().item()) for x in (end - start, start))
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
        for level, members in sorted(groups.items()):
            self._move(
                [flights[i] for i in members],
                self.levels[level],
                torch.stack([rows[i] for i in members]),
                torch.stack([gradients[i] for i in members]),
            )

    def _rows(self, flight: Flight) -> Tensor:  # [a]
        """The knots to evaluate, ascending: new ones first, then those that moved farthest."""
        n = len(flight.anchor)
        count = self._active(self.levels[flight.level])
        if count == n:
            return torch.arange(n, device=flight.path.device)
        moved = (flight.knots() - flight.anchor).square().sum(dim=1)
        new = flight.energies.isnan()
        # Every other knot first, so that each has a neighbour that is known.
        moved = torch.where(new, 1e30 + 1e29 * (torch.arange(n, device=moved.device) % 2), moved)
        return moved.topk(count).indices.sort().values

    def _active(self, level: Level) -> int:
        n = level.interior
        return n if n <= _WHOLE else max(1, math.ceil(n * self.config.active))

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
        gradients = self.energy.guide_gradient(
            points, labels.repeat_interleave(counts), weights.repeat_interleave(counts), energies
        )
        if self.visited is not None:
            self.visited(points)
        for flight, chosen, found in zip(flights, rows, energies.split(sizes), strict=True):
            flight.energies[chosen] = found
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
    ) -> None:
        """Steps after one evaluation, for paths of one level."""
        b, _, d = gradients.shape
        n, device = level.interior, gradients.device
        path, exp_avg, exp_avg_sq, anchor, correction = (
            torch.stack([getattr(flight, name) for flight in flights])
            for name in ("path", "exp_avg", "exp_avg_sq", "anchor", "correction")
        )
        taken = torch.tensor([flight.adam_steps for flight in flights], device=device)
        rates = gradients.new_tensor([self._rate(flight, level) for flight in flights])
        labels = torch.tensor([flight.label for flight in flights], device=device)
        spreads = gradients.new_tensor([flight.spread for flight in flights])
        weight = self._point_weight(level)
        stiffness = self.config.weights.smoothness * level.smoothness_scale
        damping = self.damping * weight / spreads.square()[:, None, None]
        each = labels.repeat_interleave(n), gradients.new_full((b * n,), weight)
        chosen = rows[:, :, None].expand(-1, -1, d)
        field: ErrorField | None = None
        steps = self._inner_steps(level)
        energy: Tensor | None = None
        for step in range(steps):
            slope, knots = self._surrogate_slope(path, *each), path[:, 1:-1]
            if step == 0:
                anchor.scatter_(1, chosen, knots.gather(1, chosen))
                correction.scatter_(1, chosen, gradients - slope.gather(1, chosen))
                if self._remembers(level):
                    errors = correction.gather(1, chosen) / weight
                    for flight, points, found in zip(
                        flights, knots.gather(1, chosen), errors, strict=True
                    ):
                        flight.memory.add(points, found)
                    memories = [flight.memory for flight in flights]
                    field = ErrorField(memories, spreads * math.sqrt(d))
            if field is not None:
                correction = weight * field(knots)
            slope = slope + correction + damping * (knots - anchor)
            before = path.clone() if level.alpha else None
            smoothness, _ = ops.path_step_(
                path,
                slope,
                exp_avg,
                exp_avg_sq,
                taken,
                rates,
                smooth_weight=stiffness,
                betas=self.config.betas,
                eps=self.config.eps,
            )
            energy = smoothness if energy is None else energy
            if before is not None:
                moved = ops.path_smooth_(path - before, level.alpha, ends="zero")
                path[:, 1:-1] = before[:, 1:-1] + moved[:, 1:-1]
        assert energy is not None
        guides = torch.stack([flight.energies.sum() for flight in flights])
        totals = (stiffness * energy + weight * guides).tolist()
        finite = torch.isfinite(path).flatten(1).all(dim=1).tolist()
        for i, flight in enumerate(flights):
            flight.path, flight.exp_avg, flight.exp_avg_sq = path[i], exp_avg[i], exp_avg_sq[i]
            flight.anchor, flight.correction = anchor[i], correction[i]
            flight.adam_steps += steps
            flight.evaluations += 1
            if finite[i]:
                self._judge(flight, totals[i])
            else:  # nothing comes back from there
                flight.path = straight_line(path[i, :1], path[i, -1:], self.steps)[0]
                flight.stopped = "line"

    def _remembers(self, level: Level) -> bool:
        """Whether the memory holds enough of a level's knots to interpolate."""
        return 2 * level.interior <= self.config.memory

    def _inner_steps(self, level: Level) -> int:
        modelled = self.guide is not None or self._remembers(level)
        return self.config.inner_steps if modelled else 1

    def _surrogate_slope(self, path: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """The surrogate's gradient at the knots of paths [B, n + 2, D], zero without one."""
        knots = path[:, 1:-1]
        if self.guide is None:
            return torch.zeros_like(knots)
        slope = self.guide.gradient(knots.reshape(-1, path.shape[2]), labels, weights)
        return slope.view(knots.shape).to(knots.dtype)

    def _rate(self, flight: Flight, level: Level) -> float:
        """Cosine from the level's first learning rate to its last."""
        done = flight.evaluations / self._evaluations(level)
        first = flight.rate * min(1.0, self.levels[0].interior / level.interior)
        share = _LAST_RATE + (1 - _LAST_RATE) * 0.5 * (1 + math.cos(math.pi * done))
        return first * share

    def _evaluations(self, level: Level) -> int:
        """Evaluations on a level, more where each looks at fewer knots."""
        return max(1, level.evaluations * level.interior // self._active(level))

    def _judge(self, flight: Flight, energy: float) -> None:
        """Send a path to its next level, or end it."""
        level = self.levels[flight.level]
        last = flight.level == len(self.levels) - 1
        small = self.config.tolerance * abs(energy)
        # While knots are unknown the energy is NaN, and no path is idle.
        flight.idle = flight.idle + 1 if flight.energy - energy < small else 0
        flight.energy = math.inf if math.isnan(energy) else energy
        if last and self.config.tolerance and flight.idle >= _PATIENCE:
            flight.stopped = "settled"
        elif flight.evaluations >= self._evaluations(level):
            if last:
                flight.stopped = "schedule"
            elif self._best_so_far(flight):
                self._refine(flight)

    def _best_so_far(self, flight: Flight) -> bool:
        """Take the best of the level's starts, or begin with the next and say no."""
        level = self.levels[flight.level]
        if flight.best is None or not flight.energy >= flight.best[0]:
            flight.best = flight.energy, flight.path, flight.correction, flight.rate
        if flight.starts < level.starts:
            path = resample(flight.path[[0, -1]], level.points)
            self._enter(flight, flight.level, path, torch.zeros_like(flight.correction))
            flight.starts, flight.rate = flight.starts + 1, flight.rate * _SHORTER
            return False
        _, flight.path, flight.correction, flight.rate = flight.best
        flight.starts, flight.best = 1, None
        return True

    def _refine(self, flight: Flight) -> None:
        """Go on with the knots of the next level, which begin with their neighbours' correction."""
        level, finer = self.levels[flight.level], self.levels[flight.level + 1]
        path = resample(flight.path, finer.points)
        known = torch.cat([flight.correction[:1], flight.correction, flight.correction[-1:]])
        correction = resample(known, finer.points)[1:-1] * (finer.guide_scale / level.guide_scale)
        self._enter(flight, flight.level + 1, path, correction)

    def _enter(self, flight: Flight, level: int, path: Tensor, correction: Tensor) -> Flight:
        flight.level, flight.path = level, path
        flight.anchor, flight.correction = path[1:-1].clone(), correction
        flight.energies = torch.full_like(path[1:-1, 0], math.nan)
        flight.exp_avg = torch.zeros_like(path[1:-1])
        flight.exp_avg_sq = torch.zeros_like(path[1:-1])
        flight.adam_steps = flight.evaluations = flight.idle = 0
        flight.energy = math.inf
        return flight
