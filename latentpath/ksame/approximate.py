"""Farthest-first grouping of very many points through lists of near neighbours.

The exact rule needs every distance, which is out of reach for a million people. Here it is
followed in rounds. A round splits the points that are left into cells, lists for every point its
nearest neighbours among the cells around its own, and then goes through the points from the
outside in: a free point takes its nearest free neighbours, if its list still holds enough of
them, and waits for the next round otherwise, when lists are made anew among fewer points. The
last few thousand are grouped exactly. Every group has k points as in the exact method; only which
ones they are is approximate.

Who is listed is decided by sums in float32, which no two kinds of device round alike: lists are
made on the processor, wherever the points lie.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from latentpath.ksame.distances import distance_sums_to, squared_norms
from latentpath.ksame.farthest import farthest_groups
from latentpath.ksame.neighbours import list_neighbours, split_into_cells

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
