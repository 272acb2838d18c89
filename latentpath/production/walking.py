"""From pairs of endpoints to samples: walk, generate. The one place that calls `walk`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentpath.data import to_uint8
from latentpath.energy import EnergyWeights
from latentpath.production.bundle import Bundle
from latentpath.production.produce_config import ProduceConfig, WalkOptions
from latentpath.walks import (
    FastConfig,
    LatentMetric,
    PublishedConfig,
    WalkResult,
    fixed_micro_batch,
    level_sizes,
    walk,
)

# Walks in a shard, at most.
SHARD_WALKS = 16
# The fewest points worth a call.
_LEAST = 16
# Full calls that the first level of a portion of walks would make. The last call of any level is
# filled up, which costs the less the more there are. On a GPU a portion is done in seconds: twice
# as many walks as fly at a time, so that those that end make room for others.
_FULL_CALLS = {"cpu": 4, "cuda": 16}
# A worker on processors has one thread, which does best with this part of what suits several.
_OF_A_WALK_ALONE = 3


def walk_pairs(
    centroids: Tensor,  # [G, D]
    labels: np.ndarray,  # [G]
    pairs: np.ndarray,  # [P, 2]
    bundle: Bundle,
    config: ProduceConfig,
    micro_batch: int,
    metric: LatentMetric | None,
    advance: Callable[[float], None] | None = None,
) -> WalkResult:
    """Walk between the endpoints of each pair; a walk does not depend on those beside it.

    `advance` is told of every part of a walk that is done, in walks; what it raises ends the work.
    """
    told: dict[str, Any] = {}
    if advance is not None:
        told = _telling(advance, len(pairs), config.walk)
    index = torch.as_tensor(pairs, device=centroids.device)
    return walk(
        centroids[index[:, 0]],
        centroids[index[:, 1]],
        torch.as_tensor(labels[pairs[:, 0]]).to(centroids.device),
        bundle.for_walks(config.walk.fast.predictor).networks,
        steps=config.walk.steps,
        solver=config.walk.solver,
        config=solver_config(config.walk),
        metric=metric,
        micro_batch=micro_batch,
        **told,
    )


def _telling(
    advance: Callable[[float], None], walks: int, options: WalkOptions
) -> dict[str, Callable[..., None]]:
    """What a walk tells, as walks that are done."""
    if options.solver == "fast":
        points = passes_of(options) * (options.steps - 2)
        return {"visited": lambda latents: advance(len(latents) / points)}
    return {"progress": lambda stage, done, total, figures: advance(walks / total)}


def passes_of(options: WalkOptions) -> float:
    """Times that every point of a walk goes through the networks, about."""
    if options.solver == "fast":
        return options.fast.passes
    return float(max(1, options.published.optim_steps))


def work_of(options: WalkOptions, side: int) -> float:
    """What a walk costs: pixels of all points that go through the networks."""
    return passes_of(options) * (options.steps - 2) * side**2


def micro_batch_of(walks: int, config: ProduceConfig, device: torch.device, side: int) -> int:
    """Points that go through the networks together in a set of so many walks.

    Of the solver "fast" every micro-batch is full, so that a point's bits do not depend on its
    company: a handful of short walks would pay for ten times their points.

    Args:
        walks: of the whole set, at least.
        config: what is made.
        device: where.
        side: of the images, pixels.
    """
    if config.micro_batch or config.walk.solver != "fast":
        return config.micro_batch
    usual = fixed_micro_batch(0, device, side)
    if device.type == "cpu":
        usual = max(8, usual // _OF_A_WALK_ALONE)
    return min(usual, max(_LEAST, -(-walks * _first_knots(config) // 8) * 8))


def walks_at_once(micro_batch: int, config: ProduceConfig, device: torch.device | str) -> int:
    """Walks that fill the networks' batches, on their first level too."""
    if config.walk.solver != "fast":
        return SHARD_WALKS
    calls = _FULL_CALLS.get(torch.device(device).type, _FULL_CALLS["cuda"])
    return -(-calls * micro_batch // _first_knots(config))


def _first_knots(config: ProduceConfig) -> int:
    """Points of a walk that move on its first level."""
    return level_sizes(config.walk.steps, FastConfig().coarsest)[0]


def solver_config(options: WalkOptions) -> FastConfig | PublishedConfig:
    """What `walk` takes as its solver's configuration."""
    given = options.weights
    weights = EnergyWeights(given.smoothness, given.identity, given.classification)
    weights = weights.for_points(options.steps)
    if options.solver == "fast":
        fast = options.fast
        return FastConfig(passes=fast.passes, exploration=fast.exploration, weights=weights)
    published = options.published
    return PublishedConfig(optim_steps=published.optim_steps, lr=published.lr, weights=weights)


def choose_metric(generator: Any, options: WalkOptions) -> LatentMetric | None:
    """The metric of latents that the options ask for; None is the Euclidean one.

    Raises:
        InputError: the generator's own, of one that cannot sample.
    """
    chosen = options.latent_metric
    if chosen == "euclidean" or (chosen == "auto" and options.solver == "published"):
        return None
    return LatentMetric.of_generator(generator)


@torch.no_grad()
def render(bundle: Bundle, latents: Tensor, batch: int = 64) -> np.ndarray:
    """Images uint8 [n, H, W, C] of latents [n, D]."""
    parts = [to_uint8(bundle.generator.synthesize(rows)) for rows in latents.split(batch)]
    return np.concatenate(parts)


def first_visits(pairs: np.ndarray) -> np.ndarray:  # [P, 2] -> bool [P, 2]
    """Which ends of which walks are the first to visit their endpoint: they bring it as a sample.

    >>> first_visits(np.array([[0, 1], [1, 2]])).tolist()
    [[True, True], [False, True]]
    """
    first = np.zeros(pairs.size, dtype=bool)
    first[np.unique(pairs, return_index=True)[1]] = True
    return first.reshape(pairs.shape)


def sample_places(first: np.ndarray, steps: int) -> np.ndarray:  # bool [P, 2] -> [n, 2]
    """(walk, step) of the samples of P walks: interior points, and the ends that are `first`."""
    taken = np.ones((len(first), steps), dtype=bool)
    taken[:, 0], taken[:, -1] = first[:, 0], first[:, 1]
    return np.argwhere(taken)
