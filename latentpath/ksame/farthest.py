"""Farthest-first grouping, the published k-SALSA rule, without its n x n matrix.

Rule (Jeon et al., "k-SALSA", ECCV 2022): take the unassigned point with the largest sum of
distances to the other unassigned points, group it with its k - 1 nearest unassigned points, and
repeat. Here the sums are kept up to date lazily and the result is still exact: a sum only falls
while points are taken away, so a stale sum is an upper bound. A few candidates with the largest
sums are kept exact from their own distance rows; as long as the best of them beats every stale
sum outside, it is the farthest point. Only when it no longer does are all sums brought up to
date, with one large matrix product for all points taken since, which is where a machine is fast.
"""

from __future__ import annotations

import torch
from torch import Tensor

from latentpath.ksame.distances import (
    TIE,
    centred,
    distance_sums,
    distance_sums_to,
    first_largest,
    nearest,
    squared_distances,
    squared_norms,
)

_FEWEST, _MOST = 8, 256  # candidates whose distance rows are held


def farthest_groups(points: Tensor, k: int) -> Tensor:
    """Group points by the farthest-first rule.

    Args:
        points: [n, D], n >= k.
        k: points per group.

    Returns:
        [n] int64 group numbers in order of formation, -1 for the n mod k points left over.
    """
    search = _Search(centred(points), k)
    while search.remaining >= k:
        search.refresh()
        search.form_groups()
    return search.assignment


class _Search:
    """State of the lazy search: unassigned points, packed, and their sums of distances."""

    def __init__(self, points: Tensor, k: int) -> None:
        n = len(points)
        self.k = k
        self.points = points  # [a, D] packed unassigned points (and those taken since packing)
        self.norms = squared_norms(points)  # [a]
        self.index = torch.arange(n, device=points.device)  # [a] original positions
        self.sums = distance_sums(points, self.norms)  # [a], exact when last refreshed
        self.summed = n  # how many points there were when the sums were last taken afresh
        self.free = torch.ones(n, dtype=torch.bool, device=points.device)  # [a]
        self.remaining = n
        self.groups = 0
        self.assignment = torch.full((n,), -1, dtype=torch.int64, device=points.device)
        self.candidates = 32
        self.chosen = torch.empty(0, dtype=torch.int64)  # [m] positions of the candidates
        self.rows = torch.empty(0)  # [m, a] squared distances from the candidates
        self.bound = -torch.inf  # no sum outside the candidates is above this

    def refresh(self) -> None:
        """Pack the unassigned points, make all sums exact, choose candidates."""
        if self.remaining < len(self.points):
            taken = ~self.free
            gone, gone_norms = self.points[taken], self.norms[taken]
            self.points, self.norms = self.points[self.free], self.norms[self.free]
            self.index, self.sums = self.index[self.free], self.sums[self.free]
            if 2 * self.remaining <= self.summed:
                # Rounding errors of the subtractions add up while the sums shrink.
                self.sums = distance_sums(self.points, self.norms)
                self.summed = self.remaining
            else:
                self.sums -= distance_sums_to(self.points, self.norms, gone, gone_norms)
            self.free = torch.ones(self.remaining, dtype=torch.bool, device=self.points.device)
        self._choose_candidates()

    def _choose_candidates(self) -> None:
        count = min(self.candidates, self.points.shape[1] + 8, self.remaining)
        top = torch.topk(self.sums, min(count + 1, self.remaining))
        chosen = top.indices[:count]
        farthest = first_largest(self.sums)
        if not (chosen == farthest).any():  # a tie that topk broke in another way
            chosen = torch.cat([chosen, chosen.new_tensor([farthest])])
        self.chosen = chosen.sort().values
        outside = self.remaining > count
        self.bound = float(top.values[-1]) if outside else -torch.inf
        self.rows = squared_distances(
            self.points[self.chosen], self.points, self.norms[self.chosen], self.norms
        )

    def form_groups(self) -> None:
        """Form groups as long as the candidates decide which point is the farthest."""
        sums = self.sums[self.chosen]  # [m], kept exact
        formed = 0
        while self.remaining >= self.k:
            best = first_largest(sums)
            # The first choice after a refresh is right whatever the bound: all sums are exact.
            if formed and float(sums[best]) * (1 - TIE) <= self.bound:
                break
            if not torch.isfinite(sums[best]):
                break
            members = self._members(best)
            sums -= self.rows[:, members].sqrt_().sum(dim=1)
            self.rows[:, members] = torch.inf
            sums[~self.free[self.chosen]] = -torch.inf
            formed += 1
        few = formed < len(self.chosen) // 8
        self.candidates = max(_FEWEST, self.candidates // 2) if few else self.candidates
        if formed > len(self.chosen) // 3:
            self.candidates = min(_MOST, self.candidates * 2)

    def _members(self, best: int) -> Tensor:
        """Take candidate `best` and its k - 1 nearest free points as the next group."""
        centre = int(self.chosen[best])
        squared = self.rows[best].clone()
        squared[centre] = torch.inf
        near = nearest(squared, self.points, self.norms, centre, self.k - 1)
        members = torch.cat([near, near.new_tensor([centre])])
        self.free[members] = False
        self.assignment[self.index[members]] = self.groups
        self.groups += 1
        self.remaining -= self.k
        return members
