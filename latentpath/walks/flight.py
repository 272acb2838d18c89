"""Paths in flight, and their way through the levels: learning rates, starts, refinement, ends."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from latentpath.walks.error_field import Memory
from latentpath.walks.fast_config import FastConfig
from latentpath.walks.levels import Level, resample

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
    """Energy, path, correction and rate of the best of the times that are through; of a path of
    one level, of its best evaluation."""
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


class PassSchedule:
    """What becomes of a path after each of its true evaluations.

    Args:
        config: options.
        levels: from the coarsest to the finest.
    """

    def __init__(self, config: FastConfig, levels: tuple[Level, ...]) -> None:
        self.config, self.levels = config, levels
        self.single = len(levels) == 1 and self.active(levels[0]) == levels[0].interior
        """Whether paths have one level, whose knots are all evaluated every time."""

    def active(self, level: Level) -> int:
        """Knots that one true evaluation looks at."""
        n = level.interior
        return n if n <= _WHOLE else max(1, math.ceil(n * self.config.active))

    def rate(self, flight: Flight, level: Level) -> float:
        """Cosine from the level's first learning rate to its last."""
        done = flight.evaluations / self.evaluations(level)
        first = flight.rate * min(1.0, self.levels[0].interior / level.interior)
        share = _LAST_RATE + (1 - _LAST_RATE) * 0.5 * (1 + math.cos(math.pi * done))
        return first * share

    def evaluations(self, level: Level) -> int:
        """Evaluations on a level, more where each looks at fewer knots."""
        return max(1, level.evaluations * level.interior // self.active(level))

    def judge(self, flight: Flight, energy: float) -> None:
        """Send a path to its next level, or end it."""
        level = self.levels[flight.level]
        last = flight.level == len(self.levels) - 1
        if self.single and self._rose(flight, energy):
            self._turn_back(flight)
            return
        small = self.config.tolerance * abs(energy)
        # While knots are unknown the energy is NaN, and no path is idle.
        flight.idle = flight.idle + 1 if flight.energy - energy < small else 0
        flight.energy = math.inf if math.isnan(energy) else energy
        if last and self.config.tolerance and flight.idle >= _PATIENCE:
            flight.stopped = "settled"
        elif flight.evaluations >= self.evaluations(level):
            if last:
                flight.stopped = "schedule"
            elif self._best_so_far(flight):
                self._refine(flight)

    def _rose(self, flight: Flight, energy: float) -> bool:
        """Whether the path that was evaluated is worse than an earlier one; else it is kept."""
        best = flight.best
        if best is not None and not math.isnan(best[0]) and not energy <= best[0]:
            return True
        path = torch.cat([flight.path[:1], flight.anchor, flight.path[-1:]])
        flight.best = energy, path, flight.correction, flight.rate
        return False

    def _turn_back(self, flight: Flight) -> None:
        """On from some of the way between the best path and the one evaluated; or end there."""
        assert flight.best is not None
        flight.energy, path, _, _ = flight.best
        flight.path = path.clone()
        if flight.evaluations >= self.evaluations(self.levels[0]):
            flight.stopped = "schedule"
            return
        flight.path[1:-1] += _TURNED_BACK * (flight.anchor - path[1:-1])
        flight.anchor = path[1:-1].clone()
        flight.exp_avg, flight.exp_avg_sq = (torch.zeros_like(flight.anchor) for _ in range(2))
        flight.rate *= _TURNED_BACK
        flight.adam_steps = flight.idle = 0

    def _best_so_far(self, flight: Flight) -> bool:
        """Take the best of the level's starts, or begin with the next and say no."""
        level = self.levels[flight.level]
        if flight.best is None or not flight.energy >= flight.best[0]:
            flight.best = flight.energy, flight.path, flight.correction, flight.rate
        if flight.starts < level.starts:
            path = resample(flight.path[[0, -1]], level.points)
            self.enter(flight, flight.level, path, torch.zeros_like(flight.correction))
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
        self.enter(flight, flight.level + 1, path, correction)

    def enter(self, flight: Flight, level: int, path: Tensor, correction: Tensor) -> Flight:
        """Begin a level with these knots [n + 2, D] and corrections [n, D], nothing known yet."""
        flight.level, flight.path = level, path
        flight.anchor, flight.correction = path[1:-1].clone(), correction
        flight.energies = torch.full_like(path[1:-1, 0], math.nan)
        flight.exp_avg = torch.zeros_like(path[1:-1])
        flight.exp_avg_sq = torch.zeros_like(path[1:-1])
        flight.adam_steps = flight.evaluations = flight.idle = 0
        flight.energy = math.inf
        return flight
