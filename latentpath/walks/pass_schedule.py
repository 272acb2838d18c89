"""What becomes of paths after each of their evaluations: learning rates, starts, levels, ends."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from latentpath.walks.fast_config import FastConfig
from latentpath.walks.flights import STOPPED, Flights
from latentpath.walks.levels import Level, resample
from latentpath.walks.published import straight_line

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
