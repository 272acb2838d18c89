"""How many images of each class a run makes, from which pairs, and which of them it keeps."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from latentpath.core import InputError
from latentpath.ksame import Pairing, pair_groups, pair_limits
from latentpath.production.prepared_endpoints import Endpoints
from latentpath.production.produce_config import ProduceConfig

# Pairs drawn for each pair that would do if the gate let everything through: a gate that lets
# fewer than one sample in so many through ends the run short.
_SPARE_PAIRS = 40


def wanted_per_class(endpoints: Endpoints, config: ProduceConfig) -> dict[int, int]:
    """Images wanted of each class that has endpoints; shares by largest remainder."""
    real = endpoints.real
    classes = np.unique(endpoints.labels)
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
        most = limits[label] * (config.steps - 2) + (groups if limits[label] else 0)
        if count > most:
            name = endpoints.real.class_names[label]
            way_out = "take longer walks (--steps), a smaller k, or fewer images (--count)"
            if not limits[label]:
                way_out = "take a smaller k, or leave the class out: a walk needs two endpoints"
            raise InputError(
                expected=f"at most {most} images of class {name!r} from its {groups} endpoints "
                f"and walks of {config.steps} points",
                got=f"{count} wanted",
                fix=way_out,
            )
        need[label] = min(limits[label], least_walks(count, config.steps) * _SPARE_PAIRS)
    return pair_groups(
        endpoints.centroids, endpoints.labels, need, config.pairing, seed=config.seed
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
