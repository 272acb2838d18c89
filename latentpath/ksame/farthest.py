"""Farthest-first grouping, the published k-SALSA rule, without its n x n matrix.

Rule (Jeon et al., "k-SALSA", ECCV 2022): take the unassigned point with the largest sum of
distances to the other unassigned points, group it with its k - 1 nearest unassigned points, and
repeat. The published code sums what is left of the matrix again for every group, O(n^3 / k) in
all. Here the sums are kept: a new group takes away the distances to its k members, which are
computed when they are needed. That is O(n^2 D) time, two readings of the unassigned points per
group, and O(n D) memory. A GPU is waited for once a group.
"""

from __future__ import annotations

from torch import Tensor

from latentpath.ksame.distances import first_largest
from latentpath.ksame.ungrouped import UngroupedPoints


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
