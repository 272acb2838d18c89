"""Methods of grouping points: farthest-first, exact and among very many points, and MDAV.

Rule (Jeon et al., "k-SALSA", ECCV 2022): take the unassigned point with the largest sum of
distances to the other unassigned points, group it with its k - 1 nearest unassigned points, and
repeat. The published code sums what is left of the matrix again for every group, O(n^3 / k) in
all. Here the sums are kept: a new group takes away the distances to its k members, which are
computed when they are needed. That is O(n^2 D) time, two readings of the unassigned points per
group, and O(n D) memory. A GPU is waited for once a group.

Of a million people not every distance can be had. There the rule is followed in rounds. A round
splits the points that are left into cells, lists for every point its nearest neighbours among the
cells around its own, and then goes through the points from the outside in: a free point takes its
nearest free neighbours, if its list still holds enough of them, and waits for the next round
otherwise, when lists are made anew among fewer points. The last few thousand are grouped exactly.
Every group has k points as in the exact method; only which ones they are is approximate.

Who is listed is decided by sums in float32, which no two kinds of device round alike: lists are
made on the processor, wherever the points lie.

MDAV, maximum distance to average vector, is the standard fixed-size micro-aggregation.
Source: J. Domingo-Ferrer and V. Torra, "Ordinal, continuous and heterogeneous k-anonymity through
microaggregation", Data Mining and Knowledge Discovery 11 (2005), algorithm MDAV-generic.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from latentpath import ops
from latentpath.ksame.distances import (
    centred,
    distance_sums,
    distance_sums_to,
    first_largest,
    list_neighbours,
    nearest,
    nearest_exact,
    split_into_cells,
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


def farthest_groups(points: Tensor, k: int) -> Tensor:
    """Group points by the farthest-first rule.

    Args:
        points: [n, D], n >= k.
        k: points per group.

    Returns:
        [n] int64 group numbers in order of formation, -1 for the n mod k points left over.
    """
    free = UngroupedPoints(points, k)
    sums = free.distance_sums()
    summed = free.remaining
    while free.remaining >= k:
        centre = first_largest(sums)
        members, squared = free.take_around(centre)
        sums -= squared.sqrt_()
        sums -= free.distance_sums_to(members[:-1])
        sums.masked_fill_(free.taken, -float("inf"))
        kept = free.pack()
        if kept is not None:
            sums = sums[kept]
            if 2 * free.remaining <= summed and free.remaining:
                # Rounding errors of the subtractions add up while the sums shrink.
                sums = free.distance_sums()
                summed = free.remaining
    return free.assignment


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
    free = UngroupedPoints(points, k)
    total = free.total()  # [D] of the free points
    while free.remaining >= 2 * k:
        two_groups = free.remaining >= 3 * k
        squared = free.squared_to(total / free.remaining)
        members, squared = free.take_around(_farthest(free, squared))
        total -= free.total(members)
        if two_groups:
            members, _ = free.take_around(_farthest(free, squared))
            total -= free.total(members)
        if free.pack() is not None:
            total = free.total()
    free.take_rest()
    return free.assignment


def _farthest(free: UngroupedPoints, squared: Tensor) -> Tensor:  # [a] -> [1]
    """The free point with the largest of the squared distances [a]."""
    return first_largest(squared.masked_fill(free.taken, -torch.inf))


EXACT_BELOW = 8192  # so many points are grouped exactly
_LISTED = 4  # neighbours listed for each member a group needs
_SAMPLE = 256  # points that the sum of distances is estimated from


def approximate_groups(points: Tensor, k: int) -> Tensor:
    """Group points approximately by the farthest-first rule.

    Time O(n (n / 256 + 8192) D) for a round, memory O(n (D + k)). Up to `EXACT_BELOW` points
    (or 8k, if that is more) the result is the exact one.

    Args:
        points: [n, D], n >= k.
        k: points per group.

    Returns:
        [n] int64 group numbers in order of formation, -1 for the n mod k points left over.
    """
    device = points.device
    if len(points) > max(EXACT_BELOW, 2 * _LISTED * k):
        points = points.cpu()
    assignment = torch.full((len(points),), -1, dtype=torch.int64, device=points.device)
    left = torch.arange(len(points), device=points.device)
    num_groups = 0
    while len(left) > max(EXACT_BELOW, 2 * _LISTED * k):
        pool = points if len(left) == len(points) else points[left]
        groups = _group_by_lists(pool, k)
        assignment[left] = torch.where(groups >= 0, groups + num_groups, -1)
        num_groups += int(groups.max()) + 1
        left = left[groups < 0]
    if len(left) >= k:
        groups = farthest_groups(points[left], k)
        assignment[left] = torch.where(groups >= 0, groups + num_groups, -1)
    return assignment.to(device)


def _group_by_lists(points: Tensor, k: int) -> Tensor:
    """One round: group numbers [n], -1 for points that wait for the next round."""
    cells = split_into_cells(points)
    lists = list_neighbours(points, cells, _LISTED * k)
    taken = _take_free_neighbours(_outside_in(points), lists.cpu().numpy(), k)
    members = torch.tensor(taken, dtype=torch.int64, device=points.device).view(-1, k)
    assignment = torch.full((len(points),), -1, dtype=torch.int64, device=points.device)
    assignment[members] = torch.arange(len(members), device=points.device)[:, None]
    if 4 * len(taken) >= len(points):
        return assignment
    # Many points share the same few neighbours, as copies of one latent do. What is left in a
    # cell is then grouped by itself, so that no number of copies can hold the work up.
    num_groups = len(members)
    for cell in cells:
        waiting = cell[assignment[cell] < 0]
        if len(waiting) >= k:
            inside = farthest_groups(points[waiting], k)
            assignment[waiting] = torch.where(inside >= 0, inside + num_groups, -1)
            num_groups += len(waiting) // k
    return assignment


def _take_free_neighbours(order: list[int], lists: npt.NDArray[np.int32], k: int) -> list[int]:
    """Members of groups, k after k, the first of each being its centre."""
    free = bytearray(b"\1") * len(order)
    members: list[int] = []
    for centre in order:
        if not free[centre]:
            continue
        near = [point for point in lists[centre].tolist() if free[point]][: k - 1]
        if len(near) == k - 1:
            for point in near:
                free[point] = 0
            free[centre] = 0
            members.append(centre)
            members += near
    return members


def _outside_in(points: Tensor) -> list[int]:
    """Positions by falling sum of distances to the others, estimated from a sample."""
    step = max(1, len(points) // _SAMPLE)
    centre = points[::step].mean(dim=0)
    sample = points[::step] - centre
    sample_norms = squared_norms(sample)
    sums = torch.cat(
        [
            distance_sums_to(part, squared_norms(part), sample, sample_norms)
            for part in (chunk - centre for chunk in points.split(65536))
        ]
    )
    return torch.sort(sums, descending=True, stable=True).indices.tolist()
