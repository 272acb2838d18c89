"""A synthetic set in memory: made there, or gathered from the shards of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from latentpath.core import Progress, silent
from latentpath.data import ImageSet
from latentpath.energy import EnergyTerms
from latentpath.production.bundle import Bundle
from latentpath.production.plan import Plan, make_plan
from latentpath.production.prepared_endpoints import Endpoints
from latentpath.production.produce_config import ProduceConfig
from latentpath.production.selection import Schedule, Selection, select
from latentpath.production.shard import Shard
from latentpath.production.worker import Computed, Crew, job_of
from latentpath.similarity import RealReference

STAGE = "produce"


@dataclass(frozen=True)
class Walks:
    """All walks behind a set, P of them."""

    pairs: np.ndarray
    """[P, 2] groups at the two ends."""
    labels: np.ndarray
    """[P] class of each walk."""
    latents: Tensor
    """[P, T, D]."""
    before: EnergyTerms
    """Energies of the straight lines, [P] each."""
    after: EnergyTerms
    """Energies of the walks, [P] each."""


@dataclass(frozen=True)
class SyntheticSet:
    """A synthetic set, with all that its report needs."""

    samples: ImageSet
    """The images that passed the gate, thinned to the number wanted."""
    path: np.ndarray
    """[n] walk that each image lies on, a row of `walks.pairs`."""
    step: np.ndarray
    """[n] point of the walk, 0 to T - 1."""
    places: np.ndarray
    """[tested, 2] walk and point of every sample that went to the gate."""
    rejected: dict[str, int]
    """Samples turned away, by reason."""
    gate_threshold: float
    """LPIPS below which a sample was too close to a real image."""
    endpoints: Endpoints
    """Centroids and certificate."""
    walks: Walks
    """The walks themselves."""
    reference: RealReference
    """The real set, embedded."""
    config: ProduceConfig
    """The configuration."""
    shortage: dict[str, int] = field(default_factory=dict)
    """Images missing per class because pairs ran out before enough samples passed the gate."""

    @property
    def tested(self) -> int:
        """Samples that went to the gate."""
        return len(self.places)


def produce_set(
    data: ImageSet,
    bundle: Bundle,
    config: ProduceConfig | None = None,
    progress: Progress = silent,
    *,
    endpoints: Endpoints | None = None,
) -> SyntheticSet:
    """Make the set that `produce` writes, in memory: the same plan, the same work.

    Args:
        data: the private set.
        bundle: networks trained on it.
        config: what to make.
        progress: told about every stage.
        endpoints: from `prepare_endpoints` for these data and networks, where several sets are
            made from the same; None prepares them.

    Raises:
        WeightsError: the networks were trained for another kind of set.
        PrivacyError: a class with fewer than k people, or no sample passed the gate.
        InputError: more images wanted than the pairs of endpoints allow.
    """
    config = config or ProduceConfig()
    planned = make_plan(data, bundle, config, endpoints=endpoints, progress=progress)
    plan, crew = planned.plan, Crew(job_of(planned, bundle))
    finished: dict[int, Computed] = {}
    schedule = Schedule(plan, {})
    while numbers := schedule.take(crew.walks_at_once):
        for computed in crew.compute([plan.task(number) for number in numbers]):
            counts = computed.shard.counts
            finished[counts.number] = computed
            schedule.finished(counts.number, counts.accepted, counts.tested)
        progress(STAGE, schedule.accepted, schedule.wanted, {})
    counted = [finished[number] for number in schedule.counted()]
    chosen = select(plan, [computed.shard.counts for computed in counted])
    kept = [computed.images[rows] for computed, rows in zip(counted, chosen.keep, strict=True)]
    shards = [computed.shard for computed in counted]
    return gather(plan, chosen, shards, kept, planned.endpoints, planned.reference)


def gather(
    plan: Plan,
    chosen: Selection,
    shards: Sequence[Shard],
    images: Sequence[np.ndarray],
    endpoints: Endpoints,
    reference: RealReference,
) -> SyntheticSet:
    """Put a set together.

    Args:
        plan: what was planned.
        chosen: what the set is made of.
        shards: the shards that count.
        images: of each shard the pixels uint8 [n, H, W, C] of the samples that are kept.
        endpoints: those of the plan.
        reference: the real images, embedded.
    """
    tasks = [plan.task(shard.number) for shard in shards]
    before = np.cumsum([0, *(len(task.pairs) for task in tasks)])[:-1]
    places = [s.places + np.array([first, 0]) for s, first in zip(shards, before, strict=True)]
    kept = [
        place[shard.passed][rows]
        for place, shard, rows in zip(places, shards, chosen.keep, strict=True)
    ]
    labels = np.repeat([task.label for task in tasks], [len(rows) for rows in chosen.keep])
    path, step = np.concatenate(kept).T
    pairs = np.concatenate([task.pairs for task in tasks])
    energies = [
        EnergyTerms(*torch.from_numpy(np.concatenate([getattr(s, name) for s in shards], axis=1)))
        for name in ("before", "after")
    ]
    latents = torch.from_numpy(np.concatenate([shard.latents for shard in shards]))
    pictures = np.concatenate(images)
    return SyntheticSet(
        samples=ImageSet(pictures, labels, np.arange(len(labels)), plan.class_names),
        path=path,
        step=step,
        places=np.concatenate(places),
        rejected=chosen.rejected,
        gate_threshold=plan.settings["gate_threshold"],
        endpoints=endpoints,
        walks=Walks(
            pairs, endpoints.labels[pairs[:, 0]], latents.to(endpoints.centroids.device), *energies
        ),
        reference=reference,
        config=plan.config,
        shortage=chosen.shortage,
    )
