"""A finished run as a `SyntheticSet` in memory, for the report."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from latentpath.core import Progress, silent
from latentpath.data import ImageSet, resize_images
from latentpath.energy import EnergyTerms
from latentpath.ksame import Certificate, DpCertificate, Grouping
from latentpath.production.bundle import Bundle
from latentpath.production.plan import Plan, centroids_of
from latentpath.production.prepared_endpoints import Endpoints
from latentpath.production.run.produce_run import RunResult
from latentpath.production.set_writer import rejected_by
from latentpath.production.shard import read_shard
from latentpath.production.synthetic import SyntheticSet, Walks
from latentpath.similarity import prepare_real


def synthetic_set(
    result: RunResult, data: ImageSet, bundle: Bundle, progress: Progress = silent
) -> SyntheticSet:
    """Read a finished run's walks and samples back.

    Args:
        result: from `perform_run`.
        data: the private set.
        bundle: its networks.
        progress: told while the real images are embedded.

    Raises:
        IntegrityError: a shard is damaged.
    """
    plan, rows = result.plan, result.chosen.shards
    device = bundle.encoder.centre.device
    shards = [
        read_shard(result.folder.shard(row.number), row.number, plan.hash, row.sha256)
        for row in rows
    ]
    tasks = [plan.task(row.number) for row in rows]
    before = np.cumsum([0, *(len(task.pairs) for task in tasks)])
    places = [s.places + np.array([first, 0]) for s, first in zip(shards, before, strict=False)]
    kept = [
        place[shard.passed][keep]
        for place, shard, keep in zip(places, shards, result.chosen.keep, strict=True)
    ]
    pictures = [
        shard.image(row)
        for shard, keep in zip(shards, result.chosen.keep, strict=True)
        for row in keep.tolist()
    ]
    labels = np.repeat([task.label for task in tasks], [len(keep) for keep in result.chosen.keep])
    chosen = np.concatenate(kept)
    endpoints = stored_endpoints(plan, data, bundle)
    pairs = np.concatenate([task.pairs for task in tasks])
    energies = [
        EnergyTerms(*torch.from_numpy(np.concatenate([getattr(s, name) for s in shards], axis=1)))
        for name in ("before", "after")
    ]
    latents = torch.from_numpy(np.concatenate([shard.latents for shard in shards]))
    return SyntheticSet(
        samples=ImageSet(np.stack(pictures), labels, np.arange(len(labels)), plan.class_names),
        path=chosen[:, 0],
        step=chosen[:, 1],
        places=np.concatenate(places),
        rejected=rejected_by(rows),
        gate_threshold=plan.settings["gate_threshold"],
        endpoints=endpoints,
        walks=Walks(pairs, endpoints.labels[pairs[:, 0]], latents.to(device), *energies),
        reference=prepare_real(endpoints.real, bundle.lpips, progress=progress),
        config=plan.config,
        shortage=result.chosen.shortage,
    )


def stored_endpoints(plan: Plan, data: ImageSet, bundle: Bundle) -> Endpoints:
    """The endpoints of a plan as `prepare_endpoints` gave them."""
    arrays, device = plan.arrays, bundle.encoder.centre.device
    stated = plan.settings["certificate"]
    kinds = {kind.kind: kind for kind in (Certificate, DpCertificate)}
    grouping = None
    if "assignment" in arrays:
        grouping = Grouping(
            assignment=arrays["assignment"],
            group_labels=arrays["labels"],
            identity_counts=arrays["identity_counts"],
            k=stated["k"],
            method=stated["method"],
            dropped_classes=tuple(arrays["dropped_classes"].tolist()),
        )

    def stored(name: str) -> torch.Tensor | None:
        return torch.from_numpy(arrays[name]).to(device) if name in arrays else None

    latents = stored("latents")
    return Endpoints(
        real=replace(data, images=resize_images(data.images, bundle.generator.img_resolution)),
        centroids=centroids_of(plan, device),
        labels=arrays["labels"],
        certificate=kinds[stated["kind"]].from_dict(stated),
        latents=torch.empty(0) if latents is None else latents,
        grouping=grouping,
        averages=stored("averages"),
        relaxed=plan.settings["relaxed_endpoints"],
    )
