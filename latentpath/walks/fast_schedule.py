"""The fast walk's schedule: its options, its levels, and what becomes of paths after each pass.

A path of T points is first walked with a handful of knots, which cross the latent space in few
generator passes, and then with twice as many, again and again. Between levels the path is
interpolated. On a level of n interior knots squared distances are larger and guides are summed
over fewer points; both are rescaled so that a curve has the same energy on every level. After each
evaluation the schedule decides about learning rates, starts, levels and ends.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from latentpath.core import InputError, check_above_zero, check_at_least, check_finite, check_whole
from latentpath.energy import EnergyWeights
from latentpath.walks.flights import STOPPED, Flights
from latentpath.walks.requests_and_results import straight_line


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
    path's ends. Steps shrink on finer levels with the distance of the knots. Short paths, which
    have one level, begin with a third of it."""
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
    exploration: float = 0.0
    """Root mean square distance per coordinate, in spreads, by which the inner points of short
    paths, which have one level, begin beside the straight line, in a direction that the path's
    ends decide. Sets of many short paths become more varied, at some cost in energy."""
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
        numbers = ("passes", "lr", "damping", "eps", "active", "tolerance", "exploration")
        check_finite(**{name: getattr(self, name) for name in numbers})
        check_above_zero(passes=self.passes, lr=self.lr, eps=self.eps)
        check_at_least(
            0, damping=self.damping, tolerance=self.tolerance, exploration=self.exploration
        )
        if not 0 < self.active <= 1:
            raise InputError(
                expected="active above 0, at most 1", got=str(self.active), fix="use 0.5"
            )
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise InputError(
                expected="two betas from 0 to below 1", got=str(self.betas), fix="use (0.9, 0.99)"
            )


# Evaluations that a level is worth, by its number of interior knots: the middle levels decide
# which way round a path goes, the fine ones only follow. Found on the digits and kept elsewhere.
_EVALUATIONS = ((8, 60), (16, 60), (32, 8), (64, 4))
_EVALUATIONS_BEYOND = 4

# Levels of more knots than this move smoothly (a Sobolev step): plain Adam steps differ from
# knot to knot by about the learning rate, which a long path's stiffness makes expensive.
SMOOTH_BEYOND = 48


@dataclass(frozen=True)
class Level:
    """One level of a walk."""

    interior: int
    """Knots that move."""
    evaluations: int
    """True guide gradients per knot."""
    smoothness_scale: float
    """The fine path's smoothness over that of these knots, for a piecewise linear path."""
    guide_scale: float
    """Points of the fine path for each of these knots."""
    alpha: float
    """Weight of the Laplacian that steps are smoothed with; 0 leaves them alone."""
    starts: int = 1
    """Times that it is walked, each with so many evaluations; the best path goes on."""

    @property
    def points(self) -> int:
        """Knots with both ends."""
        return self.interior + 2


def plan_levels(steps: int, passes: float, coarsest: int, starts: int = 1) -> tuple[Level, ...]:
    """Levels for paths of `steps` points, coarsest first.

    Args:
        steps: points T, both ends counted.
        passes: most evaluations per interior point of the fine path, over all levels and starts.
        coarsest: interior knots that the first level has at least (fewer on shorter paths).
        starts: times that the first level is walked, if it is not the only one.

    >>> [(level.interior, level.evaluations) for level in plan_levels(50, 40, 6, starts=2)]
    [(6, 60), (12, 60), (24, 8), (48, 4)]
    """
    fine, sizes = steps - 2, level_sizes(steps, coarsest)
    tries = [starts if len(sizes) > 1 else 1] + [1] * (len(sizes) - 1)
    wanted = [_worth(n) for n in sizes]
    each = [n * count for n, count in zip(sizes, tries, strict=True)]
    cost = sum(map(operator.mul, wanted, each)) / fine
    share = min(1.0, passes / cost)
    counts = [max(1, int(count * share)) for count in wanted]
    # The one evaluation that each level has at least is taken from the dearest of the others.
    while max(counts) > 1 and sum(map(operator.mul, counts, each)) > passes * fine:
        dearest = max(
            (c * n, i) for i, (c, n) in enumerate(zip(counts, each, strict=True)) if c > 1
        )
        counts[dearest[1]] -= 1
    return tuple(
        Level(
            interior=n,
            evaluations=count,
            smoothness_scale=(n + 1) / (fine + 1),
            guide_scale=fine / n,
            alpha=(n / SMOOTH_BEYOND) ** 2 if n > SMOOTH_BEYOND else 0.0,
            starts=tried,
        )
        for n, count, tried in zip(sizes, counts, tries, strict=True)
    )


def level_sizes(steps: int, coarsest: int) -> list[int]:
    """Interior knots of each level, ascending.

    >>> level_sizes(50, 6)
    [6, 12, 24, 48]
    """
    sizes = [steps - 2]
    while sizes[-1] // 2 >= coarsest:
        sizes.append(sizes[-1] // 2)
    return sizes[::-1]


def _worth(interior: int) -> int:
    return next((count for most, count in _EVALUATIONS if interior <= most), _EVALUATIONS_BEYOND)


def resample(path: Tensor, points: int) -> Tensor:  # [..., T, D] -> [..., points, D]
    """Piecewise linear paths at equally spaced parameters; both ends bit for bit."""
    t = path.shape[-2]
    if points == t:
        return path.clone()
    place = torch.linspace(0, t - 1, points, device=path.device, dtype=path.dtype)
    left = place.floor().clamp_(max=t - 2).long()
    share = (place - left)[:, None]
    result = path[..., left, :] * (1 - share) + path[..., left + 1, :] * share
    result[..., 0, :], result[..., -1, :] = path[..., 0, :], path[..., -1, :]
    return result


# Levels of at most so many knots are evaluated whole: their knots share little.
_WHOLE = 16
# A level's learning rate falls to this share of its first one.
_LAST_RATE = 0.2
# From one start to the next, steps become so much shorter.
_SHORTER = 0.55
# Of the way and of the steps' length, where a short path's energy rose.
_TURNED_BACK = 0.35
# Evaluations in a row without progress after which a path has settled.
_PATIENCE = 2


class PassSchedule:
    """What becomes of paths after each of their true evaluations.

    Args:
        config: options.
        levels: from the coarsest to the finest.
        steps: points T of the finished paths.
    """

    def __init__(self, config: FastConfig, levels: tuple[Level, ...], steps: int) -> None:
        self.config, self.levels, self.steps = config, levels, steps
        self.single = len(levels) == 1 and self.active(levels[0]) == levels[0].interior
        """Whether paths have one level, whose knots are all evaluated every time."""
        self._shares = [self._shares_of(level) for level in levels]

    def active(self, level: Level) -> int:
        """Knots that one true evaluation looks at."""
        n = level.interior
        return n if n <= _WHOLE else max(1, math.ceil(n * self.config.active))

    def evaluations(self, level: Level) -> int:
        """Evaluations on a level, more where each looks at fewer knots."""
        return max(1, level.evaluations * level.interior // self.active(level))

    def shares(self, flights: Flights) -> Tensor:  # [B] float64
        """Learning rates over the level's first: a cosine from that to its last."""
        return self._shares[flights.level][flights.evaluations]

    def _shares_of(self, level: Level) -> Tensor:
        count = self.evaluations(level)
        cosines = [math.cos(math.pi * (done / count)) for done in range(count)]
        shares = [_LAST_RATE + (1 - _LAST_RATE) * 0.5 * (1 + cosine) for cosine in cosines]
        return torch.tensor(shares, dtype=torch.float64)

    def judge(
        self,
        flights: Flights,
        energy: Tensor,  # [B] float64, on the processor
        is_finite: Tensor,  # [B] bool, on the processor: paths without NaN and infinity
    ) -> tuple[list[Flights], list[Flights]]:
        """Send paths to their next level, or end them: those that fly on, and those that ended."""
        level = self.levels[flights.level]
        through = flights.evaluations >= self.evaluations(level)
        judged = is_finite
        if self.single:
            judged = judged & ~self._turn_back(flights, energy, is_finite, through)
        # While knots are unknown the energy is NaN, and no path is idle.
        fell_little = flights.energy - energy < self.config.tolerance * energy.abs()
        idle = torch.where(fell_little, flights.idle + 1, 0)
        flights.idle = torch.where(judged, idle, flights.idle)
        known = torch.where(energy.isnan(), math.inf, energy)
        flights.energy = torch.where(judged, known, flights.energy)
        if self._is_last(flights):
            flights.stopped[through] = STOPPED.index("schedule")
            if self.config.tolerance:
                flights.stopped[judged & (idle >= _PATIENCE)] = STOPPED.index("settled")
        flights.stopped[~is_finite] = STOPPED.index("line")  # nothing comes back from there
        ended = flights.stopped > 0
        parts = flights.where(~through & ~ended)
        for part in flights.where(through & ~ended):
            parts += self._go_on(part)
        return parts, [self._landed(part) for part in flights.where(ended)]

    def _is_last(self, flights: Flights) -> bool:
        return flights.level == len(self.levels) - 1

    def _turn_back(
        self, flights: Flights, energy: Tensor, is_finite: Tensor, through: Tensor
    ) -> Tensor:  # -> [B] bool
        """Send paths that are worse than before some of the way back, and say which; keep others.

        Those that are `through` go all the way back to where they were best.
        """
        known = flights.has_best & ~flights.best_energy.isnan()
        rose = is_finite & known & ~(energy <= flights.best_energy)
        better, on = is_finite & ~rose, rose & ~through
        flights.has_best = flights.has_best | better
        flights.best_energy = torch.where(better, energy, flights.best_energy)
        flights.energy = torch.where(rose, flights.best_energy, flights.energy)
        flights.idle = flights.idle.masked_fill(on, 0)
        masks = torch.stack([better, rose, on]).to(flights.path.device)
        flights.rate = torch.where(masks[2], flights.rate * _TURNED_BACK, flights.rate)
        flights.adam_steps = flights.adam_steps.masked_fill(masks[2], 0)
        is_better, is_worse, goes_on = masks[:, :, None, None]
        best = torch.where(is_better, flights.anchor, flights.best_path[:, 1:-1])
        between = best + _TURNED_BACK * (flights.anchor - best)
        turned = torch.where(goes_on, between, torch.where(is_worse, best, flights.knots()))
        flights.path, flights.best_path = flights.with_knots(turned), flights.with_knots(best)
        flights.anchor = torch.where(goes_on, between, flights.anchor)
        flights.exp_avg = flights.exp_avg.masked_fill(goes_on, 0)
        flights.exp_avg_sq = flights.exp_avg_sq.masked_fill(goes_on, 0)
        return rose

    def _go_on(self, flights: Flights) -> list[Flights]:
        """Take the best of the level's starts to the next level, or begin with the next start."""
        better = ~flights.has_best | ~(flights.energy >= flights.best_energy)
        flights.has_best = flights.has_best | better
        flights.best_energy = torch.where(better, flights.energy, flights.best_energy)
        better = better.to(flights.path.device)
        flights.best_rate = torch.where(better, flights.rate, flights.best_rate)
        better = better[:, None, None]
        flights.best_path = torch.where(better, flights.path, flights.best_path)
        flights.best_correction = torch.where(better, flights.correction, flights.best_correction)
        again = flights.starts < self.levels[flights.level].starts
        return [*map(self._start, flights.where(again)), *map(self._refine, flights.where(~again))]

    def _start(self, flights: Flights) -> Flights:
        """Begin with the level again, on the straight line and with shorter steps."""
        ends = torch.stack([flights.path[:, 0], flights.path[:, -1]], dim=1)
        line = resample(ends, self.levels[flights.level].points)
        none = torch.zeros_like(flights.correction)
        begun = flights.enter(flights.level, flights.starts + 1, line, none)
        begun.rate = begun.rate * _SHORTER
        return begun

    def _refine(self, flights: Flights) -> Flights:
        """Go on with the knots of the next level, which begin with their neighbours' correction."""
        level, finer = self.levels[flights.level], self.levels[flights.level + 1]
        path, correction = flights.best_path, flights.best_correction
        known = torch.cat([correction[:, :1], correction, correction[:, -1:]], dim=1)
        finer_correction = resample(known, finer.points)[:, 1:-1]
        begun = flights.enter(
            flights.level + 1,
            torch.ones_like(flights.starts),
            resample(path, finer.points),
            finer_correction * (finer.guide_scale / level.guide_scale),
        )
        begun.rate = flights.best_rate
        return begun.without_best()

    def _landed(self, flights: Flights) -> Flights:
        """Paths that ended, with all their points; those that are not finite as straight lines."""
        line = straight_line(flights.path[:, 0], flights.path[:, -1], self.steps)
        if not self._is_last(flights):
            none = torch.zeros_like(line[:, 1:-1])
            return flights.enter(len(self.levels) - 1, flights.starts, line, none).without_best()
        broken = (flights.stopped == STOPPED.index("line")).to(line.device)
        flights.path = torch.where(broken[:, None, None], line, flights.path)
        return flights
