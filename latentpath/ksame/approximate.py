"""Farthest-first grouping of very many points through lists of near neighbours.

The exact rule needs every distance, which is out of reach for a million people. Here it is
followed in rounds. A round splits the points that are left into cells, lists for every point its
nearest neighbours among the cells around its own, and then goes through the points from the
outside in: a free point takes its nearest free neighbours, if its list still holds enough of
them, and waits for the next round otherwise, when lists are made anew among fewer points. The
last few thousand are grouped exactly. Every group has k points as in the exact method; only which
ones they are is approximate.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from latentpath.ksame.distances import distance_sums_to, squared_distances, squared_norms
from latentpath.ksame.farthest import farthest_groups

EXACT_BELOW = 8192  # so many points are grouped exactly
_CELL = 256  # points in a cell on average, at most twice as many
_REACH = 8192  # points that the neighbours of a cell's points are looked for among
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
    assignment = torch.full((len(points),), -1, dtype=torch.int64, device=points.device)
    left = torch.arange(len(points), device=points.device)
    num_groups = 0
    while len(left) > max(EXACT_BELOW, 2 * _LISTED * k):
        pool = points if len(left) == len(points) else points[left]
        found = _group_by_lists(pool, k)
        assignment[left] = torch.where(found >= 0, found + num_groups, -1)
        num_groups += int(found.max()) + 1
        left = left[found < 0]
    if len(left) >= k:
        found = farthest_groups(points[left], k)
        assignment[left] = torch.where(found >= 0, found + num_groups, -1)
    return assignment


def _group_by_lists(points: Tensor, k: int) -> Tensor:
    """One round: group numbers [n], -1 for points that wait for the next round."""
    cells = _cells(points)
    lists = _neighbour_lists(points, cells, k)
    found = _take_free_neighbours(_outside_in(points), lists.cpu().numpy(), k)
    members = torch.tensor(found, dtype=torch.int64, device=points.device).view(-1, k)
    assignment = torch.full((len(points),), -1, dtype=torch.int64, device=points.device)
    assignment[members] = torch.arange(len(members), device=points.device)[:, None]
    if 4 * len(found) >= len(points):
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
    found: list[int] = []
    for centre in order:
        if not free[centre]:
            continue
        near = [point for point in lists[centre].tolist() if free[point]][: k - 1]
        if len(near) == k - 1:
            for point in near:
                free[point] = 0
            free[centre] = 0
            found.append(centre)
            found += near
    return found


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


def _neighbour_lists(points: Tensor, cells: list[Tensor], k: int) -> Tensor:
    """Positions [n, 4k] int32 of near neighbours of each point, nearest first."""
    sizes = torch.tensor([len(cell) for cell in cells])
    centres = torch.stack([points[cell].mean(dim=0) for cell in cells])
    width, reach = _LISTED * k, max(_REACH, 2 * _LISTED * k)
    lists = torch.empty((len(points), width), dtype=torch.int32, device=points.device)
    norms = squared_norms(centres)
    for number, cell in enumerate(cells):
        apart = squared_distances(centres[number, None], centres, norms[number, None], norms)[0]
        apart[number] = -1.0  # its own cell first, whatever lies on top of it
        around = torch.sort(apart, stable=True).indices.cpu()
        enough = int(torch.searchsorted(sizes[around].cumsum(0), reach)) + 1
        near = torch.cat([cells[i] for i in around[:enough].tolist()])
        # Around its own centre a cell is small beside its distances, so float32 serves.
        queries, targets = points[cell] - centres[number], points[near] - centres[number]
        squared = squared_distances(
            queries, targets, squared_norms(queries), squared_norms(targets)
        )
        own = torch.arange(len(cell), device=points.device)
        squared[own, own] = torch.inf
        best = torch.topk(squared, width, largest=False).indices
        lists[cell] = near[best].to(torch.int32)
    return lists


def _cells(points: Tensor) -> list[Tensor]:
    """Split points into cells of at most 2 * _CELL: nearest of evenly spaced seeds, refined."""
    count = -(-len(points) // _CELL)
    step = len(points) // count
    seeds = points[::step][:count].clone()
    sample = points[:: max(1, step // 32)]
    for _ in range(4):
        owner = _nearest_seed(sample, seeds)
        sums = torch.zeros_like(seeds).index_add_(0, owner, sample)
        sizes = torch.bincount(owner, minlength=count)[:, None]
        seeds = torch.where(sizes > 0, sums / sizes.clamp(min=1), seeds)
    owner = _nearest_seed(points, seeds)
    order = torch.sort(owner, stable=True).indices
    members = order.split(torch.bincount(owner, minlength=count).tolist())
    return [piece for cell in members if len(cell) for piece in cell.split(2 * _CELL)]


def _nearest_seed(points: Tensor, seeds: Tensor) -> Tensor:
    centre = seeds.mean(dim=0)
    moved = seeds - centre
    norms = squared_norms(moved)
    owners = []
    for chunk in points.split(4096):
        queries = chunk - centre
        owners.append(
            squared_distances(queries, moved, squared_norms(queries), norms).argmin(dim=1)
        )
    return torch.cat(owners)
