"""Ways to choose pairs of points: random matchings, near neighbours, tours.

Each takes the centroids of one class, [m, D], the number of pairs, at most m(m - 1)/2, and a
random generator, and returns that many pairs of positions, [P, 2], none twice in any direction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from latentpath.ksame.distances import (
    centred,
    squared_distances,
    squared_distances_to,
    squared_norms,
)
from latentpath.ksame.neighbours import list_neighbours, split_into_cells
from latentpath.ksame.representatives import IntArray

_EXACT_BELOW = 8192  # so many points are compared with each other
_LISTED = 32  # neighbours listed for each point where there are more


def random_pairs(points: Tensor, count: int, rng: np.random.Generator) -> IntArray:
    """Rounds of a round-robin tournament (circle method), groups and rounds shuffled."""
    m = len(points)
    seats = m + m % 2  # an odd one out sits beside an empty seat
    names = rng.permutation(m)
    pairs: list[IntArray] = []
    paired = 0
    for turn in rng.permutation(seats - 1):
        ring = (np.arange(seats - 1) + turn) % (seats - 1)
        half = seats // 2
        left = np.concatenate([[seats - 1], ring[1:half]])
        right = np.concatenate([[ring[0]], ring[: half - 1 : -1]])
        real = (left < m) & (right < m)
        matching = rng.permutation(np.stack([names[left[real]], names[right[real]]], axis=1))
        pairs.append(matching)
        paired += len(matching)
        if paired >= count:
            break
    return np.concatenate(pairs)[:count]


def nearest_pairs(points: Tensor, count: int, rng: np.random.Generator) -> IntArray:
    """Edges of the nearest-neighbour graph, by rank of the neighbour, then by distance."""
    m = len(points)
    ranks = min(m - 1, -(-count // m) + 1)
    while True:
        neighbours, squared = _neighbours(points, ranks)  # [m, ranks] each
        start = np.repeat(np.arange(m), ranks)
        end = neighbours.ravel()
        low, high = np.minimum(start, end), np.maximum(start, end)
        rank = np.tile(np.arange(ranks), m)
        order = np.lexsort((high, low, squared.ravel(), rank))
        keys = (low * m + high)[order]
        _, first = np.unique(keys, return_index=True)
        edges = order[np.sort(first)]
        if len(edges) >= count:
            edges = edges[:count]
            return np.stack([start[edges], end[edges]], axis=1)
        ranks = min(m - 1, 2 * ranks)


def _neighbours(points: Tensor, ranks: int) -> tuple[IntArray, npt.NDArray[np.float64]]:
    """The nearest other points [m, ranks] of each point, nearest first, and squared distances.

    Above `_EXACT_BELOW` points, few ranks come from approximate lists.
    """
    if len(points) > _EXACT_BELOW and ranks <= _LISTED:
        lists = list_neighbours(points, split_into_cells(points), ranks).long()
        apart = [
            (points[near] - points[part, None]).double().square().sum(dim=2)
            for part, near in zip(
                torch.arange(len(points)).split(1024), lists.split(1024), strict=True
            )
        ]
        return lists.cpu().numpy(), torch.cat(apart).cpu().numpy()
    moved = centred(points)
    norms = squared_norms(moved)
    positions, values = [], []
    rows = max(1, (1 << 22) // len(moved))
    for first in range(0, len(moved), rows):
        part = slice(first, first + rows)
        squared = squared_distances(moved[part], moved, norms[part], norms)
        own = torch.arange(len(squared))
        squared[own, own + first] = torch.inf
        closest = torch.topk(squared, ranks, largest=False)
        positions.append(closest.indices.cpu().numpy())
        values.append(closest.values.cpu().numpy())
    return np.concatenate(positions), np.concatenate(values)


def tour_pairs(points: Tensor, count: int, rng: np.random.Generator) -> IntArray:
    """Edges of nearest-neighbour tours that never use a pair twice."""
    return np.array(list(islice(_Tours(points, rng).edges(), count)), dtype=np.int64)


class _Tours:
    """Tour after tour through m points, along pairs that no earlier one used.

    A tour goes to the nearest point not yet visited that a new pair leads to, and jumps, without
    a pair, where there is none. Above `_EXACT_BELOW` points it looks among listed neighbours
    only, as long as these give enough pairs.
    """

    def __init__(self, points: Tensor, rng: np.random.Generator) -> None:
        self.points = centred(points)
        self.norms = squared_norms(self.points)
        self.start = int(rng.integers(len(points)))
        self.used: list[set[int]] = [set() for _ in range(len(points))]
        self.unvisited = np.ones(len(points), dtype=bool)
        self.lists: IntArray | None = None
        if len(points) > _EXACT_BELOW:
            self.lists = _neighbours(points, _LISTED)[0]

    def edges(self) -> Iterator[tuple[int, int]]:
        """All pairs, in the order of the tours."""
        m = len(self.points)
        while self.start >= 0:
            offered = 0
            for edge in self._tour(self.start):
                offered += 1
                yield edge
            if self.lists is not None and offered < m // 4:
                self.lists = None
            open_points = (i for i in range(m) if len(self.used[i]) < m - 1)
            self.start = next(open_points, -1)

    def _tour(self, at: int) -> Iterator[tuple[int, int]]:
        self.unvisited[:] = True
        self.unvisited[at] = False
        jump = 0  # everything before this position has been visited
        for _ in range(len(self.points) - 1):
            to = self._nearest(at) if self.lists is None else self._listed(self.lists, at)
            if to >= 0:
                self.used[at].add(to)
                self.used[to].add(at)
                yield at, to
            else:
                jump += int(self.unvisited[jump:].argmax())
                to = jump
            self.unvisited[to] = False
            at = to

    def _listed(self, lists: IntArray, at: int) -> int:
        """The nearest listed point that may come next, or -1."""
        for to in lists[at].tolist():
            if self.unvisited[to] and to not in self.used[at]:
                return to
        return -1

    def _nearest(self, at: int) -> int:
        """The nearest of all points that may come next, or -1."""
        row = squared_distances_to(self.points, self.norms, self.points[at])
        closed = ~self.unvisited
        closed[list(self.used[at])] = True
        row.masked_fill_(torch.from_numpy(closed).to(row.device), torch.inf)
        to = int(row.argmin())
        return -1 if torch.isinf(row[to]) else to


PAIR_METHODS: dict[str, Callable[[Tensor, int, np.random.Generator], IntArray]] = {
    "random": random_pairs,
    "nearest": nearest_pairs,
    "tour": tour_pairs,
}
