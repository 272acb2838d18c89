"""Euclidean distances by matrix products, exact enough to reproduce a grouping; near neighbours.

|a - b|^2 = |a|^2 + |b|^2 - 2 a.b is fast but cancels for close points. Three habits keep it
honest: points are centred first and in float64; a squared distance below the rounding error of
the formula counts as zero, so that identical points are at distance zero from each other; and
where the formula cannot tell which of two points is nearer, their distances are taken again
from the differences. Distances to a few points only come from `ops.row_distances` where it is
compiled (see `group_methods.py`); sums over all pairs are matrix products everywhere.

The neighbours of very many points are found among the cells around each point's own. Points are
split into small cells by a few steps of k-means, and the neighbours of a cell's points are looked
for among the thousands of points in the nearest cells: a matrix product for each cell instead of
one for all. Neighbours beyond those cells are missed.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Squared distances below this share of |a|^2 + |b|^2 are rounding error: the dot product of two
# float64 vectors of width D is off by about sqrt(D) * 1e-16 of |a||b|, at worst D * 1e-16.
ROUNDING = 1e-12
# Two sums of distances that agree to this share are a tie, and the lower index wins.
TIE = 1e-11
BLOCK = 1024  # rows per block: a block of distances is 8 MB and stays in cache


def centred(points: Tensor) -> Tensor:
    """Points [n, D] in float64 with their mean at the origin."""
    moved = points.to(torch.float64, copy=True)
    moved -= moved.mean(dim=0)
    return moved


def squared_norms(points: Tensor) -> Tensor:
    """Squared Euclidean norm of each row, [n]."""
    return torch.linalg.vector_norm(points, dim=1).square_()


def squared_distances(
    a: Tensor,  # [p, D] float64
    b: Tensor,  # [q, D] float64
    a_norms: Tensor,  # [p]
    b_norms: Tensor,  # [q]
) -> Tensor:
    """Squared distances [p, q] between rows of a and rows of b."""
    scale = a_norms[:, None] + b_norms[None, :]
    squared = torch.addmm(scale, a, b.T, alpha=-2.0)
    return squared.masked_fill_(squared <= scale.mul_(ROUNDING), 0.0)


def squared_distances_to(
    points: Tensor,  # [n, D] float64
    norms: Tensor,  # [n]
    target: Tensor,  # [D] float64
) -> Tensor:
    """Squared distances [n] from points to one target."""
    scale = norms + target.square().sum()
    squared = torch.addmv(scale, points, target, alpha=-2.0)
    return squared.masked_fill_(squared <= scale.mul_(ROUNDING), 0.0)


def distance_sums(points: Tensor) -> Tensor:
    """Sum of the distances from each point [n, D] to all points, [n], in float64.

    Points are centred and widened a block at a time: memory O(BLOCK (BLOCK + D)).
    """
    centre = points.mean(dim=0, dtype=torch.float64)
    sums = points.new_zeros(len(points), dtype=torch.float64)

    def block(first: int) -> tuple[Tensor, Tensor]:
        rows = points[first : first + BLOCK].double() - centre
        return rows, squared_norms(rows)

    for i in range(0, len(points), BLOCK):
        rows, norms = block(i)
        for j in range(i, len(points), BLOCK):
            others, other_norms = (rows, norms) if j == i else block(j)
            apart = squared_distances(rows, others, norms, other_norms).sqrt_()
            sums[i : i + BLOCK] += apart.sum(dim=1)
            if j > i:
                sums[j : j + BLOCK] += apart.sum(dim=0)
    return sums


def distance_sums_to(points: Tensor, norms: Tensor, others: Tensor, other_norms: Tensor) -> Tensor:
    """Sum of the distances from each of points [n, D] to all of a few others [m, D], [n]."""
    sums = torch.empty_like(norms)
    step = max(1, BLOCK * BLOCK // max(1, len(others)))
    for i in range(0, len(points), step):
        rows = slice(i, i + step)
        squared = squared_distances(points[rows], others, norms[rows], other_norms)
        torch.sum(squared.sqrt_(), dim=1, out=sums[rows])
    return sums


def nearest(
    squared: Tensor,  # [n] squared distances to the point, infinite where not wanted
    points: Tensor,  # [n, D]
    norms: Tensor,  # [n]
    centre: Tensor,  # [1]
    count: int,
) -> Tensor:
    """Positions [count] of the points nearest to points[centre], ties to the lower position."""
    values, positions = torch.topk(squared, count, largest=False)
    reach = values.max()
    slack = 2 * ROUNDING * (norms[centre] + norms[positions].max())
    within = torch.nonzero(squared <= reach + slack).squeeze(1)
    if len(within) == count:
        return within
    exact = (points[within] - points[centre]).square().sum(dim=1)
    return within[torch.sort(exact, stable=True).indices[:count]]


def nearest_exact(squared: Tensor, count: int) -> Tensor:
    """Positions [count] of the smallest of exact distances [n], ties to the lower position."""
    values = torch.topk(squared, count, largest=False).values
    within = torch.nonzero(squared <= values.max()).squeeze(1)
    if len(within) == count:
        return within
    return within[torch.sort(squared[within], stable=True).indices[:count]]


def first_largest(values: Tensor) -> Tensor:
    """Position [1] of the largest value; ties (to a share of `TIE`) go to the lowest position."""
    top = values.max()
    # The first of several largest ones; a GPU is not waited for.
    return (values >= top - TIE * top.abs()).byte().argmax()[None]


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
