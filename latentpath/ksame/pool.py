"""The points that a grouping method has not yet put into a group."""

from __future__ import annotations

import torch
from torch import Tensor

from latentpath.ksame.distances import centred, nearest, squared_distances_to, squared_norms

_PACK_BELOW = 0.85  # share of free points below which taken ones are dropped from memory


class Pool:
    """Points to group, packed as they are taken, so that later steps read less memory.

    Attributes:
        points: [a, D] float64, centred; some may be taken already.
        norms: [a] squared norms.
        taken: [a] which points have a group.
        remaining: number of points without a group.
        assignment: [n] group numbers so far, -1 for none.
    """

    def __init__(self, points: Tensor, k: int) -> None:
        self.k = k
        self.points = centred(points)
        self.norms = squared_norms(self.points)
        self.taken = torch.zeros(len(points), dtype=torch.bool, device=points.device)
        self.remaining = len(points)
        self.assignment = torch.full((len(points),), -1, dtype=torch.int64, device=points.device)
        self._index = torch.arange(len(points), device=points.device)  # [a] original positions
        self._groups = 0

    def squared_to(self, target: Tensor) -> Tensor:
        """Squared distances [a] from all packed points to target [D]."""
        return squared_distances_to(self.points, self.norms, target)

    def take_around(self, centre: int) -> tuple[Tensor, Tensor]:
        """Group a free point with its k - 1 nearest free points.

        Returns:
            members: [k] positions, the centre last.
            squared: [a] squared distances from all packed points to the centre.
        """
        squared = self.squared_to(self.points[centre])
        unwanted = self.taken.clone()
        unwanted[centre] = True
        free = squared.masked_fill(unwanted, torch.inf)
        near = nearest(free, self.points, self.norms, centre, self.k - 1)
        members = torch.cat([near, near.new_tensor([centre])])
        self.take(members)
        return members, squared

    def take_rest(self) -> None:
        """All free points form one group."""
        self.take(torch.nonzero(~self.taken).squeeze(1))

    def take(self, members: Tensor) -> None:
        """Make free points, given by position, a group."""
        self.taken[members] = True
        self.assignment[self._index[members]] = self._groups
        self.remaining -= len(members)
        self._groups += 1

    def pack(self) -> Tensor | None:
        """Drop taken points once there are many; return the mask [a] of those kept, if so."""
        if self.remaining >= _PACK_BELOW * len(self.points):
            return None
        kept = ~self.taken
        self.points, self.norms = self.points[kept], self.norms[kept]
        self._index, self.taken = self._index[kept], self.taken[kept]
        return kept
