"""How many images of each class a run makes, from which pairs, and which of them it keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from latentpath.core import InputError, PrivacyError
from latentpath.data import ImageSet
from latentpath.ksame import Pairing, pair_groups, pair_limits
from latentpath.production.produce_config import ProduceConfig

if TYPE_CHECKING:
    from latentpath.production.prepared_endpoints import Endpoints

# Pairs drawn for each pair that would do if the gate let everything through: a gate that lets
# fewer than one sample in so many through ends the run short.
_SPARE_PAIRS = 40


def check_promise(real: ImageSet, config: ProduceConfig) -> None:
    """Find out by counting people, before any work, what no set made of `real` could be.

    Raises:
        PrivacyError: a class has fewer than k people (and `small_classes` is "error"), or all do.
        InputError: more images wanted than a class's groups of k people can give.
    """
    people = np.array(
        [len(np.unique(real.identities[real.labels == c])) for c in range(real.num_classes)]
    )
    small = [f"{name!r} has {n}" for name, n in zip(real.class_names, people, strict=True)
             if n < config.k]  # fmt: skip
    if small and (config.small_classes == "error" or len(small) == len(people)):
        drop = config.small_classes == "error" and len(small) < len(people)
        raise PrivacyError(
            expected=f"at least k = {config.k} people in {'every' if drop else 'a'} class",
            got=f"class {', '.join(small)}",
            fix="lower k, or leave these classes out with --small-classes drop"
            if drop
            else "lower k, or collect more people",
        )
    groups = people // config.k  # at most; a group may have more than k people
    pairs = groups * (groups - 1) // 2
    for label, count in _shares(real, np.flatnonzero(groups), config).items():
        _check_count(real, label, count, int(groups[label]), int(pairs[label]), config)


def wanted_per_class(endpoints: Endpoints, config: ProduceConfig) -> dict[int, int]:
    """Images wanted of each class that has endpoints; shares by largest remainder."""
    return _shares(endpoints.real, np.unique(endpoints.labels), config)


def _shares(real: ImageSet, classes: np.ndarray, config: ProduceConfig) -> dict[int, int]:
    total = config.count or int(np.isin(real.labels, classes).sum())
    sizes = np.array([1.0 if config.balanced else (real.labels == c).sum() for c in classes])
    ideal = total * sizes / sizes.sum()
    counts = np.floor(ideal).astype(int)
    largest = np.argsort(counts - ideal, kind="stable")[: total - counts.sum()]
    counts[largest] += 1
    return dict(zip(classes.tolist(), counts.tolist(), strict=True))


def choose_pairs(endpoints: Endpoints, wanted: Mapping[int, int], config: ProduceConfig) -> Pairing:
    """Pairs of endpoints, those of each class in the order in which they will be walked.

    There are more of them than should be needed, as far as the endpoints allow.

    Raises:
        InputError: more images wanted than the pairs of a class can give.
    """
    limits = pair_limits(endpoints.labels)
    need = {}
    for label, count in wanted.items():
        groups = int((endpoints.labels == label).sum())
        _check_count(endpoints.real, label, count, groups, limits[label], config)
        need[label] = min(limits[label], least_walks(count, config.steps) * _SPARE_PAIRS)
    return pair_groups(
        endpoints.centroids, endpoints.labels, need, config.pairing, seed=config.seed
    )


def _check_count(
    real: ImageSet, label: int, count: int, groups: int, pairs: int, config: ProduceConfig
) -> None:
    most = pairs * (config.steps - 2) + (groups if pairs else 0)
    if count > most:
        way_out = "take longer walks (--steps), a smaller k, or fewer images (--count)"
        if not pairs:
            way_out = "take a smaller k, or leave the class out: a walk needs two endpoints"
        raise InputError(
            expected=f"at most {most} images of class {real.class_names[label]!r} from its "
            f"{groups} endpoints and walks of {config.steps} points",
            got=f"{count} wanted",
            fix=way_out,
        )


def least_walks(count: int, steps: int) -> int:
    """Walks that give `count` images if all of their interior points pass the gate."""
    return -(-count // (steps - 2))


def thin(labels: np.ndarray, wanted: Mapping[int, int], seed: int) -> np.ndarray:
    """Rows to keep, ascending: a random choice of each class where there are too many."""
    rng = np.random.default_rng(seed)
    kept = []
    for label, count in sorted(wanted.items()):
        rows = np.flatnonzero(labels == label)
        kept.append(rows if len(rows) <= count else rng.choice(rows, count, replace=False))
    return np.sort(np.concatenate(kept))
