"""MDAV, maximum distance to average vector: the standard fixed-size micro-aggregation.

Source: J. Domingo-Ferrer and V. Torra, "Ordinal, continuous and heterogeneous k-anonymity through
microaggregation", Data Mining and Knowledge Discovery 11 (2005), algorithm MDAV-generic.
"""

from __future__ import annotations

import torch
from torch import Tensor

from latentpath.ksame.distances import (
    ROUNDING,
    centred,
    first_largest,
    nearest,
    squared_norms,
)


def mdav_groups(points: Tensor, k: int) -> Tensor:
    """Group points by MDAV.

    While 3k points or more are left: take the point farthest from their average and the point
    farthest from that one, and group each with its k - 1 nearest. From 2k to 3k - 1 points: one
    group around the point farthest from the average, the others form the last group. Fewer than
    2k: they form the last group, so its size is k to 2k - 1.

    Args:
        points: [n, D], n >= k.
        k: smallest number of points in a group.

    Returns:
        [n] int64 group numbers in order of formation; nothing is left over.
    """
    pool = _Pool(centred(points), k)
    while pool.remaining >= 3 * k:
        first = first_largest(pool.squared_to(pool.average(), torch.inf))
        row = pool.take_around(first)
        second = first_largest(row)
        pool.take_around(second)
        pool.pack()
    if pool.remaining >= 2 * k:
        pool.take_around(first_largest(pool.squared_to(pool.average(), torch.inf)))
    pool.take_rest()
    return pool.assignment


class _Pool:
    """The points not yet in a group."""

    def __init__(self, points: Tensor, k: int) -> None:
        self.k = k
        self.points = points  # [a, D]
        self.norms = squared_norms(points)  # [a]
        self.index = torch.arange(len(points), device=points.device)  # [a] original positions
        self.taken = torch.zeros(len(points), dtype=torch.bool, device=points.device)  # [a]
        self.sum = points.sum(dim=0)  # [D] of the points not taken
        self.remaining = len(points)
        self.groups = 0
        self.assignment = torch.full((len(points),), -1, dtype=torch.int64, device=points.device)

    def average(self) -> Tensor:
        """Mean [D] of the points not taken."""
        return self.sum / self.remaining

    def squared_to(self, target: Tensor, sign: float) -> Tensor:
        """Squared distances [a] to target [D]; points already taken get -sign."""
        scale = self.norms + target.square().sum()
        squared = torch.addmv(scale, self.points, target, alpha=-2.0)
        squared.masked_fill_(squared <= scale.mul_(ROUNDING), 0.0)
        return squared.masked_fill_(self.taken, -sign)

    def take_around(self, centre: int) -> Tensor:
        """Group a point with its k - 1 nearest; return distances [a], -inf for taken points."""
        squared = self.squared_to(self.points[centre], -torch.inf)
        squared[centre] = torch.inf
        near = nearest(squared, self.points, self.norms, centre, self.k - 1)
        self._take(torch.cat([near, near.new_tensor([centre])]))
        return squared.masked_fill_(self.taken, -torch.inf)

    def take_rest(self) -> None:
        """All points not taken form one group."""
        self._take(torch.nonzero(~self.taken).squeeze(1))

    def _take(self, members: Tensor) -> None:
        self.taken[members] = True
        self.sum -= self.points[members].sum(dim=0)
        self.assignment[self.index[members]] = self.groups
        self.remaining -= len(members)
        self.groups += 1

    def pack(self) -> None:
        """Drop taken points from memory once they are a fifth of it."""
        if self.remaining < 0.8 * len(self.points):
            free = ~self.taken
            self.points, self.norms = self.points[free], self.norms[free]
            self.index, self.taken = self.index[free], self.taken[free]
            self.sum = self.points.sum(dim=0)
