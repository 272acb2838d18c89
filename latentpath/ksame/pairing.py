"""Which centroids to walk between: pairs within a class, none twice, all groups used evenly.

A walk goes both ways, so a pair counts in either direction, and a class with m groups has
m(m - 1)/2 of them. A class with one group has none: there is nothing to walk to.

The methods that choose pairs (random matchings, near neighbours, tours) each take the centroids of
one class, [m, D], the number of pairs, at most m(m - 1)/2, and a random generator, and return that
many pairs of positions, [P, 2], none twice in any direction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from latentpath.core import InputError
from latentpath.ksame.distances import (
    centred,
    list_neighbours,
    split_into_cells,
    squared_distances,
    squared_distances_to,
    squared_norms,
)
from latentpath.ksame.grouping import IntArray, Latents, as_integers, as_latents

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


@dataclass(frozen=True, eq=False)
class Pairing:
    """Endpoints of the walks.

    Attributes:
        pairs: [P, 2] group numbers: where a walk starts and where it ends.
        labels: [P] class of each walk; walks of one class are consecutive.
        method: how pairs were chosen.
        seed: what "random" and the starts of tours depend on.
        single_group_classes: classes with one group, which no walk can serve.
    """

    pairs: IntArray  # [P, 2]
    labels: IntArray  # [P]
    method: str
    seed: int
    single_group_classes: tuple[int, ...] = ()


def pair_limits(group_labels: npt.ArrayLike) -> dict[int, int]:
    """Number of different pairs that each class allows, by label."""
    return {label: m * (m - 1) // 2 for label, m in _groups_per_class(group_labels).items()}


def _groups_per_class(group_labels: npt.ArrayLike) -> dict[int, int]:
    labels, counts = np.unique(np.asarray(group_labels), return_counts=True)
    return dict(zip(labels.tolist(), counts.tolist(), strict=True))


def pair_groups(
    centroids: Latents,  # [G, D]
    group_labels: npt.ArrayLike,  # [G]
    num_pairs: int | Mapping[int, int],
    method: str = "random",
    *,
    seed: int = 0,
    balanced: bool = False,
) -> Pairing:
    """Choose pairs of groups of one class to walk between.

    Args:
        centroids: [G, D] from `aggregate`.
        group_labels: [G] class of each group.
        num_pairs: how many pairs in all, or how many for each label. A total is shared out in
            proportion to the classes' numbers of groups, as far as their pairs allow.
        method: "random": rounds of random matchings, so that after every round each group has
            been used equally often. "nearest": every group with its nearest neighbour, then with
            its second nearest, and so on. "tour": from each group to the nearest one not yet
            visited, until all are visited, then again along other pairs; consecutive walks join.
        seed: of the random choices; equal seeds give equal pairs.
        balanced: share a total out equally over the classes that have pairs (to within one).

    Raises:
        InputError: more pairs than there are, with the limit; an unknown method or label; a
            negative number.
    """
    points = as_latents(centroids)
    labels = as_integers(group_labels, "group_labels", len(points))
    if method not in PAIR_METHODS:
        raise InputError(
            expected=f"method as one of {', '.join(PAIR_METHODS)}",
            got=repr(method),
            fix="choose one",
        )
    limits = pair_limits(labels)
    wanted = _wanted(num_pairs, labels, limits, balanced)
    chosen = [np.empty((0, 2), dtype=np.int64)]
    walk_labels = [np.empty(0, dtype=np.int64)]
    for label, count in wanted.items():
        groups = np.flatnonzero(labels == label)
        rng = np.random.default_rng([seed, label & 0xFFFFFFFF])
        members = points[torch.from_numpy(groups).to(points.device)]
        drawn = PAIR_METHODS[method](members, count, rng) if count else chosen[0]
        chosen.append(groups[drawn])
        walk_labels.append(np.full(count, label, dtype=np.int64))
    return Pairing(
        pairs=np.concatenate(chosen),
        labels=np.concatenate(walk_labels),
        method=method,
        seed=seed,
        single_group_classes=tuple(label for label, limit in limits.items() if limit == 0),
    )


def _wanted(
    num_pairs: int | Mapping[int, int],
    labels: IntArray,
    limits: dict[int, int],
    balanced: bool,
) -> dict[int, int]:
    """Number of pairs for each label, within the limits."""
    if isinstance(num_pairs, Mapping):
        wanted = {int(label): int(count) for label, count in num_pairs.items()}
        for label, count in wanted.items():
            if not 0 <= count <= limits.get(label, 0):
                raise _too_many(f"of class {label}", limits.get(label, 0), count)
        return dict(sorted(wanted.items()))
    total = sum(limits.values())
    if not 0 <= num_pairs <= total:
        raise _too_many("in all classes", total, num_pairs)
    open_limits = {label: limit for label, limit in limits.items() if limit}
    if not open_limits:
        return {}
    sizes = _groups_per_class(labels)
    shares = {label: 1 if balanced else sizes[label] for label in open_limits}
    if balanced:
        each = -(-num_pairs // len(open_limits))
        most = min(open_limits.values())
        spare = sum(limit > most for limit in open_limits.values())
        if each > most and num_pairs > most * len(open_limits) + spare:
            raise _too_many("in equal shares", most * len(open_limits) + spare, num_pairs)
    return _share_out(num_pairs, shares, open_limits)


def _too_many(where: str, limit: int, asked: int) -> InputError:
    return InputError(
        expected=f"0 to {limit} pairs {where}, which is all there are",
        got=f"{asked}",
        fix="take longer walks (more points on each), a smaller k, or fewer samples",
    )


def _share_out(total: int, shares: dict[int, int], limits: dict[int, int]) -> dict[int, int]:
    """Split total in proportion to shares, largest remainders first, none above its limit."""
    wanted = dict.fromkeys(limits, 0)
    left = total
    while left:
        free = [label for label in limits if wanted[label] < limits[label]]
        weight = sum(shares[label] for label in free)
        ideal = {label: left * shares[label] / weight for label in free}
        by_remainder = sorted(free, key=lambda label: (int(ideal[label]) - ideal[label], label))
        extra = left - sum(int(value) for value in ideal.values())
        for rank, label in enumerate(by_remainder):
            step = int(ideal[label]) + (rank < extra)
            wanted[label] += min(step, limits[label] - wanted[label])
        left = total - sum(wanted.values())
    return wanted
