"""MDAV, maximum distance to average vector: the standard fixed-size micro-aggregation.

Source: J. Domingo-Ferrer and V. Torra, "Ordinal, continuous and heterogeneous k-anonymity through
microaggregation", Data Mining and Knowledge Discovery 11 (2005), algorithm MDAV-generic.
"""

from __future__ import annotations

import torch
from torch import Tensor

from latentpath.ksame.distances import first_largest
from latentpath.ksame.pool import Pool


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
    pool = Pool(points, k)
    total = pool.total()  # [D] of the free points
    while pool.remaining >= 2 * k:
        two_groups = pool.remaining >= 3 * k
        squared = pool.squared_to(total / pool.remaining)
        members, squared = pool.take_around(_farthest(pool, squared))
        total -= pool.total(members)
        if two_groups:
            members, _ = pool.take_around(_farthest(pool, squared))
            total -= pool.total(members)
        if pool.pack() is not None:
            total = pool.total()
    pool.take_rest()
    return pool.assignment


def _farthest(pool: Pool, squared: Tensor) -> int:
    """The free point with the largest of the squared distances [a]."""
    return first_largest(squared.masked_fill(pool.taken, -torch.inf))
