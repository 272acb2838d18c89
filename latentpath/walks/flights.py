"""Paths in flight, as batches of those of one level.

What decides about paths lies on the processor, wherever they are computed, and everything is
decided for a whole batch at a time (`latentpath.walks.fast_schedule`): so an evaluation takes the
same number of a GPU's launches, and one wait for it, however many paths are in flight.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from latentpath.walks.error_field import Memory

STOPPED = ("", "schedule", "settled", "line")
"""Why paths end, see `PathResult.stopped`; "" while they fly."""

_Batch = TypeVar("_Batch", "Flights", Memory)


@dataclass
class Flights:
    """Paths of one level that are being walked: B of them with n knots each."""

    level: int
    """Index of their level."""

    # On the processor, [B] each.
    number: Tensor
    """Their places in the order of the inputs, ascending."""
    starts: Tensor
    """Times that this level was begun."""
    evaluations: Tensor
    """True evaluations on this level, of all or of some knots."""
    evaluated_points: Tensor
    """Points that went through the generator, over all levels."""
    energy: Tensor
    """float64, energy of the level's path as last known; infinite before all knots are."""
    idle: Tensor
    """Evaluations in a row that hardly lowered it."""
    best_energy: Tensor
    """float64, see `best_path`."""
    has_best: Tensor
    """bool, whether there is a best path yet."""
    stopped: Tensor
    """Why they ended, as an index of `STOPPED`."""

    # Where the latents lie.
    label: Tensor
    """[B]"""
    ends: Tensor
    """[B, 2, D], where they begin and end, as requested."""
    line_terms: Tensor
    """[B, 4], energy terms of the straight line, in the order of `EnergyTerms`."""
    spread: Tensor
    """[B], how far apart latents are, per coordinate."""
    rate: Tensor
    """[B] float64, first learning rate on the coarsest level, latent units per step."""
    path: Tensor
    """[B, n + 2, D]"""
    exp_avg: Tensor
    """[B, n, D], Adam's first moments."""
    exp_avg_sq: Tensor
    """[B, n, D], Adam's second moments."""
    adam_steps: Tensor
    """[B], steps that the moments hold."""
    anchor: Tensor
    """[B, n, D], where each knot was last evaluated."""
    correction: Tensor
    """[B, n, D], true gradient there less the surrogate's (all of it without a surrogate)."""
    energies: Tensor
    """[B, n], weighted guide energy there; NaN before a knot's first evaluation."""
    best_path: Tensor
    """[B, n + 2, D], the best of the times that the level was walked; of paths of one level, that
    of the best evaluation."""
    best_correction: Tensor
    """[B, n, D], `correction` at the end of that time."""
    best_rate: Tensor
    """[B] float64, `rate` of that time."""
    memory: Memory
    """The surrogate's errors where the paths were evaluated, for a point weight of 1."""

    def __len__(self) -> int:
        return len(self.number)

    def knots(self) -> Tensor:  # [B, n, D]
        """The points that move."""
        return self.path[:, 1:-1]

    def with_knots(self, knots: Tensor) -> Tensor:  # [B, n, D] -> [B, n + 2, D]
        """Paths between the same ends through other points."""
        return torch.cat([self.path[:, :1], knots, self.path[:, -1:]], dim=1)

    def labels_of_points(self, count: int) -> Tensor:  # [B count]
        """The labels of so many points of each path."""
        return self.label[:, None].expand(-1, count).flatten()

    @classmethod
    def begin(
        cls,
        number: Tensor,  # [B], on the processor
        label: Tensor,  # [B]
        ends: Tensor,  # [B, 2, D]
        line_terms: Tensor,  # [B, 4]
        path: Tensor,  # [B, n + 2, D]
        spread: Tensor,  # [B] float64
        rate: Tensor,  # [B] float64
        memory: Memory,
    ) -> Flights:
        """Paths on the coarsest level."""
        one, none = torch.ones_like(number), torch.zeros_like(path[:, 1:-1])
        return cls(
            number=number,
            evaluated_points=torch.zeros_like(number),
            stopped=torch.zeros_like(number),
            label=label,
            ends=ends,
            line_terms=line_terms,
            spread=spread.to(path.dtype),
            rate=rate,
            memory=memory,
            **_level(0, one, path, none),
            **_no_best(number, path, rate),
        )

    def enter(self, level: int, starts: Tensor, path: Tensor, correction: Tensor) -> Flights:
        """Begin a level with these knots [B, n + 2, D] and corrections [B, n, D]."""
        return dataclasses.replace(self, **_level(level, starts, path, correction))

    def without_best(self) -> Flights:
        """With no best path yet."""
        return dataclasses.replace(self, **_no_best(self.number, self.path, self.rate))

    def where(self, chosen: Tensor) -> list[Flights]:  # bool [B], on the processor
        """Those paths as one batch, or nothing where there are none."""
        if bool(chosen.all()):
            return [self]
        rows = chosen.nonzero()[:, 0]
        return [self._taken(rows)] if len(rows) else []

    def _taken(self, rows: Tensor) -> Flights:
        there = rows.to(self.path.device)
        return _each(lambda x: x[rows if x.device == rows.device else there], self)

    @classmethod
    def by_level(cls, parts: list[Flights]) -> list[Flights]:
        """One batch for each level, coarsest first, from batches of any."""
        parts = sorted(parts, key=_level_of)
        return [cls._together(list(group)) for _, group in itertools.groupby(parts, _level_of)]

    @classmethod
    def _together(cls, parts: list[Flights]) -> Flights:
        if len(parts) == 1:
            return parts[0]
        together = _each(lambda *each: torch.cat(each), *parts)
        order = together.number.argsort()
        return together if bool((order.diff() > 0).all()) else together._taken(order)


def _level_of(flights: Flights) -> int:
    return flights.level


def _level(level: int, starts: Tensor, path: Tensor, correction: Tensor) -> dict[str, Any]:
    """What is known of paths [B, n + 2, D] that begin a level: nothing."""
    count, none = torch.zeros_like(starts), torch.zeros_like(correction)
    return {
        "level": level,
        "starts": starts,
        "evaluations": count,
        "idle": count.clone(),
        "energy": torch.full(count.shape, math.inf, dtype=torch.float64),
        "path": path,
        "exp_avg": none,
        "exp_avg_sq": none.clone(),
        "adam_steps": torch.zeros(len(path), dtype=torch.int64, device=path.device),
        "anchor": path[:, 1:-1].clone(),
        "correction": correction,
        "energies": torch.full_like(path[:, 1:-1, 0], math.nan),
    }


def _no_best(number: Tensor, path: Tensor, rate: Tensor) -> dict[str, Any]:
    return {
        "has_best": torch.zeros_like(number, dtype=torch.bool),
        "best_energy": torch.full(number.shape, math.inf, dtype=torch.float64),
        "best_path": torch.zeros_like(path),
        "best_correction": torch.zeros_like(path[:, 1:-1]),
        "best_rate": torch.zeros_like(rate),
    }


def _each(change: Callable[..., Tensor], *batches: _Batch) -> _Batch:
    """Batches whose tensors are changed, each with those of its name."""
    first = batches[0]
    changed: dict[str, Any] = {}
    for name, value in vars(first).items():
        values = [getattr(batch, name) for batch in batches]
        if isinstance(value, Memory):
            changed[name] = _each(change, *values)
        elif isinstance(value, Tensor):
            changed[name] = change(*values)
    return dataclasses.replace(first, **changed)
