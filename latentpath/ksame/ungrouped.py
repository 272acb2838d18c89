"""The points that a grouping method has not yet put into a group."""

from __future__ import annotations

import torch
from torch import Tensor

from latentpath import ops
from latentpath.ksame.distances import (
    centred,
    distance_sums,
    distance_sums_to,
    nearest,
    nearest_exact,
    squared_distances_to,
    squared_norms,
)
from latentpath.ops import dispatch

_EXACT_SUMS = 1024  # so many points are summed over without matrix products
_PACK_BELOW = 0.85  # share of free points below which taken ones are dropped from memory


def has_fused_distances(points: Tensor) -> bool:
    """Whether `ops.row_distances` is compiled for points like these."""
    if points.dtype != torch.float32 or points.device.type != "cpu":
        return False
    return dispatch.why_not("row_distances", "native", "cpu") is None


class UngroupedPoints:
    """Points to group, packed as they are taken, so that later steps read less memory.

    Float32 points on a CPU stay float32, half as much to read, where the kernel of
    `ops.row_distances` is compiled: it subtracts in float64. Elsewhere points are kept centred in
    float64, and distances are matrix products.

    Attributes:
        points: [a, D]; some may be taken already.
        taken: [a] which points have a group.
        remaining: number of points without a group.
        assignment: [n] group numbers so far, -1 for none.
    """

    def __init__(self, points: Tensor, k: int) -> None:
        self.k = k
        self._fused = has_fused_distances(points)
        self.points = points.contiguous() if self._fused else centred(points)
        self._norms = None if self._fused else squared_norms(self.points)  # [a]
        self.taken = torch.zeros(len(points), dtype=torch.bool, device=points.device)
        self.remaining = len(points)
        self.assignment = torch.full((len(points),), -1, dtype=torch.int64, device=points.device)
        self._index = torch.arange(len(points), device=points.device)  # [a] original positions
        self._groups = 0

    def squared_to(self, target: Tensor) -> Tensor:
        """Squared distances [a], in float64, from all packed points to target [D]."""
        if self._norms is None:
            return ops.row_distances(self.points, target[None])[0]
        return squared_distances_to(self.points, self._norms, target)

    def distance_sums(self) -> Tensor:
        """Sum of the distances [a] from each packed point to all packed points."""
        if self._norms is None and len(self.points) <= _EXACT_SUMS:
            # The last points' sums are small, and so must be their errors.
            parts = [ops.row_distances(self.points, few) for few in self.points.split(256)]
            return torch.stack([part.sqrt_().sum(dim=0) for part in parts]).sum(dim=0)
        return distance_sums(self.points)

    def distance_sums_to(self, members: Tensor) -> Tensor:
        """Sum of the distances [a] from each packed point to a few of them, given by position."""
        few = self.points[members]
        if self._norms is None:
            return ops.row_distances(self.points, few).sqrt_().sum(dim=0)
        return distance_sums_to(self.points, self._norms, few, self._norms[members])

    def total(self, members: Tensor | None = None) -> Tensor:
        """Sum [D], in float64, of some packed points, given by position, or of all of them."""
        some = self.points if members is None else self.points[members]
        return some.sum(dim=0, dtype=torch.float64)

    def take_around(self, centre: Tensor) -> tuple[Tensor, Tensor]:
        """Group a free point, given by its position [1], with its k - 1 nearest free points.

        Returns:
            members: [k] positions, the centre last.
            squared: [a] squared distances from all packed points to the centre.
        """
        squared = self.squared_to(self.points[centre][0])
        unwanted = self.taken.clone()
        unwanted[centre] = True
        free = squared.masked_fill(unwanted, torch.inf)
        if self._norms is None:
            near = nearest_exact(free, self.k - 1)
        else:
            near = nearest(free, self.points, self._norms, centre, self.k - 1)
        members = torch.cat([near, centre])
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
        self.points = self.points[kept]
        self._norms = None if self._norms is None else self._norms[kept]
        self._index, self.taken = self._index[kept], self.taken[kept]
        return kept
