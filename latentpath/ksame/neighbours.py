"""Near neighbours of very many points, found among the cells around each point's own.

Points are split into small cells by a few steps of k-means, and the neighbours of a cell's points
are looked for among the thousands of points in the nearest cells: a matrix product for each cell
instead of one for all. Neighbours beyond those cells are missed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from latentpath.ksame.distances import squared_distances, squared_norms

CELL = 256  # points in a cell on average, at most twice as many
REACH = 8192  # points that the neighbours of a cell's points are looked for among


def list_neighbours(points: Tensor, cells: list[Tensor], width: int) -> Tensor:
    """Near neighbours of each point.

    Args:
        points: [n, D], n > 2 * width.
        cells: from `split_into_cells`.
        width: neighbours for each point.

    Returns:
        [n, width] int32 positions, nearest first.
    """
    sizes = torch.tensor([len(cell) for cell in cells])
    centres = torch.stack([points[cell].mean(dim=0) for cell in cells])
    reach = max(REACH, 2 * width)
    lists = torch.empty((len(points), width), dtype=torch.int32, device=points.device)
    norms = squared_norms(centres)
    for number, cell in enumerate(cells):
        apart = squared_distances(centres[number, None], centres, norms[number, None], norms)[0]
        apart[number] = -1.0  # its own cell first, whatever lies on top of it
        around = torch.sort(apart, stable=True).indices.cpu()
        enough = int(torch.searchsorted(sizes[around].cumsum(0), reach)) + 1
        near = torch.cat([cells[i] for i in around[:enough].tolist()])
        # Around its own centre a cell is small beside its distances, so float32 serves.
        targets = points[near].sub_(centres[number])
        queries = targets[: len(cell)]  # the cell itself comes first
        # |query|^2 is left out: it does not change who is nearest to a query.
        ranks = torch.addmm(squared_norms(targets), queries, targets.T, alpha=-2.0)
        ranks.diagonal().fill_(torch.inf)
        best = torch.topk(ranks, width, largest=False).indices
        lists[cell] = near[best].to(torch.int32)
    return lists


def split_into_cells(points: Tensor) -> list[Tensor]:
    """Split points into cells of at most 2 * CELL: nearest of evenly spaced seeds, refined."""
    count = -(-len(points) // CELL)
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
    return [piece for cell in members if len(cell) for piece in cell.split(2 * CELL)]


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
