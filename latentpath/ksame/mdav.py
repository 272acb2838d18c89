"""MDAV, maximum distance to average vector: the standard fixed-size micro-aggregation.

Source: J. Domingo-Ferrer and V. Torra, "Ordinal, continuous and heterogeneous k-anonymity through
microaggregation", Data Mining and Knowledge Discovery 11 (2005), algorithm MDAV-generic.
"""

from __future__ import annotations

import torch
from torch import Tensor

from latentpath.ksame.distances import first_largest
from latentpath.ksame.ungrouped import UngroupedPoints


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
