"""Coarse-to-fine levels: few knots first, each level with the weights of the same fine energy.

A path of T points is first walked with a handful of knots, which cross the latent space in few
generator passes, and then with twice as many, again and again. Between levels the path is
interpolated. On a level of n interior knots squared distances are larger and guides are summed
over fewer points; both are rescaled so that a curve has the same energy on every level.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass

import torch
from torch import Tensor

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
