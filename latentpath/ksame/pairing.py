"""Which centroids to walk between: pairs within a class, none twice, all groups used evenly.

A walk goes both ways, so a pair counts in either direction, and a class with m groups has
m(m - 1)/2 of them. A class with one group has none: there is nothing to walk to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from latentpath.core import InputError
from latentpath.ksame.pair_methods import PAIR_METHODS
from latentpath.ksame.representatives import IntArray, Latents, as_integers, as_latents


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
