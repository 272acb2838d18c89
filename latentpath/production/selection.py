"""How many images of each class are made, from which pairs, and which samples make the set."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from latentpath.core import InputError, PrivacyError
from latentpath.data import ImageSet
from latentpath.ksame import Pairing, pair_groups, pair_limits
from latentpath.production.produce_config import LONGEST_WALK, ProduceConfig
from latentpath.production.shard import ShardCounts

if TYPE_CHECKING:
    from latentpath.production.plan import Plan
    from latentpath.production.prepared_endpoints import Endpoints

# Pairs drawn for each pair that would do if the gate let everything through: a gate that lets
# fewer than one sample in so many through ends the run short.
_SPARE_PAIRS = 40
# Inner points of the shortest walks that are planned, and the least share of samples that is taken
# to pass the gate when their length is planned. Of walks of 4 points between the demo's endpoints
# six samples in ten pass.
_FEWEST_INNER, _SHARE_PASSES = 2, 0.4


@dataclass(frozen=True, eq=False)
class Selection:
    """Which samples of which shards make the set."""

    shards: tuple[ShardCounts, ...]
    """The shards that count, in the order of the plan."""
    keep: tuple[np.ndarray, ...]
    """For each of them, rows of its accepted samples that are kept, ascending."""
    class_counts: tuple[int, ...]
    """Images by label."""
    shortage: dict[str, int]
    """Images missing by class name, because pairs ran out before enough samples passed."""

    @property
    def count(self) -> int:
        """Images of the set."""
        return sum(map(len, self.keep))

    @property
    def tested(self) -> int:
        """Samples that went to the gate."""
        return sum(shard.tested for shard in self.shards)

    @property
    def rejected(self) -> dict[str, int]:
        """Samples that the gate turned away, by reason."""
        return total_rejected(self.shards)


def total_rejected(shards: Sequence[ShardCounts]) -> dict[str, int]:
    """Samples that the gate turned away in all of these shards, by reason."""
    total: Counter[str] = Counter()
    for shard in shards:
        total.update(shard.rejected)
    return dict(sorted(total.items()))


def wanted_per_class(
    labels: np.ndarray,  # [G]
    real: ImageSet,
    config: ProduceConfig,
) -> dict[int, int]:
    """Images wanted of each class that has endpoints; shares by largest remainder.

    Args:
        labels: class of each endpoint.
        real: the private set.
        config: how many, and in which shares.
    """
    classes = np.unique(labels)
    total = config.count or int(np.isin(real.labels, classes).sum())
    sizes = np.array([1.0 if config.balanced else (real.labels == c).sum() for c in classes])
    ideal = total * sizes / sizes.sum()
    counts = np.floor(ideal).astype(int)
    largest = np.argsort(counts - ideal, kind="stable")[: total - counts.sum()]
    counts[largest] += 1
    return dict(zip(classes.tolist(), counts.tolist(), strict=True))


def check_wanted(
    labels: np.ndarray,  # [G]
    wanted: Mapping[int, int],
    class_names: Sequence[str],
    steps: int,
) -> None:
    """Refuse more images than the pairs of endpoints of a class can give.

    Raises:
        InputError: names the first such class, and the most that is possible.
    """
    limits = pair_limits(labels)
    for label, count in wanted.items():
        groups = int((labels == label).sum())
        most = limits[label] * (steps - 2) + (groups if limits[label] else 0)
        if count <= most:
            continue
        way_out = "take longer walks (--steps), a smaller k, or fewer images (--count)"
        if not limits[label]:
            way_out = "take a smaller k, or leave the class out: a walk needs two endpoints"
        raise InputError(
            expected=f"at most {most} images of class {class_names[label]!r} from its {groups} "
            f"endpoints and walks of {steps} points",
            got=f"{count} wanted",
            fix=way_out,
        )


def check_promise(real: ImageSet, config: ProduceConfig) -> None:
    """Find out by counting people, before any work, what no set made of `real` could be.

    Raises:
        PrivacyError: a class has fewer than k people (and `small_classes` is "error"), or all do.
        InputError: more images wanted than a class's groups of k people can give.
    """
    k, names = config.endpoints.k, real.class_names
    people = np.array(
        [len(np.unique(real.identities[real.labels == c])) for c in range(len(names))]
    )
    small = [f"{name!r} has {n}" for name, n in zip(names, people, strict=True) if n < k]
    refuse = config.endpoints.small_classes == "error"
    if small and (refuse or len(small) == len(names)):
        drop = refuse and len(small) < len(names)
        raise PrivacyError(
            expected=f"at least k = {k} people in {'every' if drop else 'a'} class",
            got=f"class {', '.join(small)}",
            fix="lower k, or leave these classes out with --small-classes drop"
            if drop
            else "lower k, or collect more people",
        )
    groups = np.repeat(np.arange(len(names)), people // k)  # at most; one may have more than k
    wanted = wanted_per_class(groups, real, config)
    check_wanted(groups, wanted, names, planned_steps(groups, wanted, config))


def planned_steps(
    labels: np.ndarray,  # [G]
    wanted: Mapping[int, int],
    config: ProduceConfig,
) -> int:
    """Points on a walk: as asked for, or as few as give the images wanted, some of which fail."""
    if config.walk.steps:
        return config.walk.steps
    limits = pair_limits(labels)
    inner = [
        math.ceil(count / (_SHARE_PASSES * limits[label]))
        for label, count in wanted.items()
        if limits[label]
    ]
    return 2 + min(max([_FEWEST_INNER, *inner]), LONGEST_WALK - 2)


def choose_pairs(endpoints: Endpoints, wanted: Mapping[int, int], config: ProduceConfig) -> Pairing:
    """Pairs of endpoints, those of each class in the order in which they will be walked.

    There are more of them than should be needed, as far as the endpoints allow.

    Raises:
        InputError: more images wanted than the pairs of a class can give.
    """
    labels, steps = endpoints.labels, config.walk.steps
    check_wanted(labels, wanted, endpoints.real.class_names, steps)
    limits = pair_limits(labels)
    need = {
        label: min(limits[label], least_walks(count, steps) * _SPARE_PAIRS)
        for label, count in wanted.items()
    }
    pairing = config.endpoints.pairing
    return pair_groups(endpoints.centroids, labels, need, pairing, seed=config.seed)


def least_walks(count: int, steps: int) -> int:
    """Walks that give `count` images if all of their interior points pass the gate."""
    return -(-count // (steps - 2))


def select(plan: Plan, shards: Sequence[ShardCounts]) -> Selection:
    """Decide what the set consists of, from the plan and the numbers of samples that passed.

    Raises:
        PrivacyError: no sample passed the gate.
    """
    labels = plan.arrays["shard_label"][[shard.number for shard in shards]]
    accepted = np.array([shard.accepted for shard in shards], np.int64)
    if not accepted.sum():
        listed = ", ".join(f"{count} {why}" for why, count in total_rejected(shards).items())
        raise PrivacyError(
            expected="samples that pass the gate",
            got=f"none out of {sum(shard.tested for shard in shards)} ({listed})",
            fix="check the weights, walk further (--passes, --optim-steps), or loosen the gate",
        )
    sample_labels = labels.repeat(accepted)
    kept = thin(sample_labels, plan.wanted, plan.config.seed)
    counts = np.bincount(sample_labels[kept], minlength=len(plan.class_names))
    ends = accepted.cumsum()
    parts = np.split(kept, np.searchsorted(kept, ends[:-1]))
    keep = tuple(rows - start for rows, start in zip(parts, ends - accepted, strict=True))
    missing = {c: plan.wanted.get(c, 0) - int(n) for c, n in enumerate(counts)}
    shortage = {plan.class_names[c]: n for c, n in missing.items() if n > 0}
    return Selection(tuple(shards), keep, tuple(counts.tolist()), shortage)


def thin(labels: np.ndarray, wanted: Mapping[int, int], seed: int) -> np.ndarray:
    """Rows to keep, ascending: a random choice of each class where there are too many."""
    rng = np.random.default_rng(seed)
    kept = []
    for label, count in sorted(wanted.items()):
        rows = np.flatnonzero(labels == label)
        kept.append(rows if len(rows) <= count else rng.choice(rows, count, replace=False))
    return np.sort(np.concatenate(kept))
