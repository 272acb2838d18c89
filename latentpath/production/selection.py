"""How many images of each class are made, from which pairs, and which samples make the set.

Shards are begun in the order of the plan, class by class as far as its images are still missing.
What counts is decided by the plan alone: of each class the first shards whose samples reach the
number wanted. Workers may be ahead of that; what they make in vain is left out.
"""

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


# Share of samples that is taken to pass the gate before anything was tested.
_HOPED = 0.9


class Schedule:
    """State of the shards as the scheduler sees it.

    Args:
        plan: the plan.
        done: shards that are finished, with the samples that passed and those tested.
    """

    def __init__(self, plan: Plan, done: Mapping[int, tuple[int, int]]) -> None:
        self._plan = plan
        self._classes = {
            label: _ClassQueue(plan, label, wanted) for label, wanted in plan.wanted.items()
        }
        labels = plan.arrays["shard_label"]
        self._label = [int(label) for label in labels]
        for number, counts in done.items():
            self.finished(number, *counts)

    def take(self, walks: int) -> list[int]:
        """The shards to begin now, with so many walks or a few more; none if those in hand should
        do."""
        numbers: list[int] = []
        while walks > 0 and (number := self._next()) is not None:
            self._of(number).in_hand.add(number)
            numbers.append(number)
            walks -= self._plan.walks_of(number)
        return numbers

    def _next(self) -> int | None:
        numbers = [queue.next() for queue in self._classes.values()]
        return min((number for number in numbers if number is not None), default=None)

    def given_up(self, number: int) -> None:
        """The worker failed."""
        self._of(number).in_hand.discard(number)

    def finished(self, number: int, accepted: int, tested: int) -> None:
        """It is stored."""
        self._of(number).finish(number, accepted, tested)

    def lost(self, number: int) -> None:
        """It was stored, and is damaged or gone."""
        self._of(number).lose(number)

    @property
    def complete(self) -> bool:
        """Whether the finished shards make the set."""
        return all(queue.counted() is not None for queue in self._classes.values())

    @property
    def any_finished(self) -> bool:
        """Whether any shard is finished."""
        return any(queue.tested for queue in self._classes.values())

    @property
    def accepted(self) -> int:
        """Images of the set that are there, none beyond the number wanted."""
        return sum(min(queue.accepted, queue.wanted) for queue in self._classes.values())

    @property
    def wanted(self) -> int:
        """Images of the whole set."""
        return sum(queue.wanted for queue in self._classes.values())

    def counted(self) -> list[int]:
        """Numbers of the shards that make the set, in the order of the plan.

        Raises:
            ValueError: it is not complete.
        """
        numbers: list[int] = []
        for queue in self._classes.values():
            counted = queue.counted()
            if counted is None:
                raise ValueError("shards are missing")
            numbers += counted
        return sorted(numbers)

    def _of(self, number: int) -> _ClassQueue:
        return self._classes[self._label[number]]


class _ClassQueue:
    """One class's shards in the order of the plan."""

    def __init__(self, plan: Plan, label: int, wanted: int) -> None:
        self.wanted, self.in_hand = wanted, set[int]()
        self._plan, self._shards = plan, plan.shards_of(label)
        self._done: dict[int, int] = {}  # shard -> samples that passed
        self.accepted = self.tested = 0
        # The shards before `_head` are all done, and `_before` samples of them passed.
        self._head = self._before = 0

    def finish(self, number: int, accepted: int, tested: int) -> None:
        self.in_hand.discard(number)
        self._done[number] = accepted
        self.accepted += accepted
        self.tested += tested
        self._advance()

    def lose(self, number: int) -> None:
        self.accepted -= self._done.pop(number, 0)
        self._head = self._before = 0
        self._advance()

    def _advance(self) -> None:
        while self._head < len(self._shards) and self._before < self.wanted:
            accepted = self._done.get(self._shards[self._head])
            if accepted is None:
                break
            self._before += accepted
            self._head += 1

    def next(self) -> int | None:
        """First shard that nobody has, if those before it should not do."""
        total = float(self._before)
        rate = _HOPED
        if self.tested:
            rate = (self.accepted + 1) / (self.tested + 1)
        for number in self._shards[self._head :]:
            if total >= self.wanted:
                return None
            if number in self._done:
                total += self._done[number]
            elif number in self.in_hand:
                total += rate * self._plan.samples_of(number)
            else:
                return number
        return None

    def counted(self) -> list[int] | None:
        """The shards that count, or None if one of them is not done."""
        if self._before >= self.wanted or self._head == len(self._shards):
            return self._shards[: self._head]
        return None
