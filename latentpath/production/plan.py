"""The plan of a set: endpoints, pairs, seeds and shards, fixed before any work.

A shard is a fixed list of walks of one class. The set is made of the first shards of each class,
in the order of the plan, whose samples reach the number wanted: whoever works on them, in whatever
order and however often interrupted, the set is the same. An endpoint that several walks share is a
sample of the first of them.
"""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from latentpath._version import __version__
from latentpath.core import (
    ANEW,
    IntegrityError,
    Progress,
    UnsupportedError,
    hash_arrays,
    hash_json,
    option,
    pack,
    silent,
    unpack,
    using_threads,
)
from latentpath.data import ImageSet, number_people
from latentpath.ksame import Pairing
from latentpath.production.bundle import Bundle
from latentpath.production.fingerprints import data_fingerprint, models_fingerprint
from latentpath.production.gate import smallest_distance
from latentpath.production.prepared_endpoints import Endpoints, prepare_endpoints
from latentpath.production.private_file import data_salt
from latentpath.production.produce_config import ProduceConfig
from latentpath.production.published_entries import refuse_identifiers
from latentpath.production.selection import (
    choose_pairs,
    least_walks,
    planned_steps,
    wanted_per_class,
)
from latentpath.production.walking import (
    SHARD_WALKS,
    choose_metric,
    first_visits,
    micro_batch_of,
    walks_at_once,
    work_of,
)
from latentpath.similarity import KEPT_BYTES, RealReference, memory_on, prepare_real
from latentpath.walks import LatentMetric

FORMAT = "latentpath-run/4"
_WHAT = "a run's plan as it was written"
# Workers of one process on processors: with more of them Python's lock would be the bound.
MOST_BESIDE = 4
# A class needs several shards, lest the last one makes many more samples than are missing: so many
# where this share of samples passes the gate.
_SHARDS_PER_CLASS, _USUALLY_PASS = 4, 0.9
# Pixels of the points of a shard, at most: a minute or a few of one processor's work.
_SHARD_WORK = 1 << 22
# Names of the metric's tensors among a plan's arrays.
_METRIC = {"mean": "metric_mean", "root": "metric_root", "inverse": "metric_inverse"}


@dataclass(frozen=True)
class Task:
    """One shard's work, with all of the plan that it needs."""

    number: int
    """Place of the shard in the plan."""
    label: int
    """Class of its walks."""
    pairs: np.ndarray
    """[P, 2] endpoints of its walks."""
    first: np.ndarray
    """bool [P, 2], which ends are samples of this shard."""
    seed: int
    """Of the random state while it is computed."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What a run will make, from what."""

    settings: dict[str, Any]
    """Plain JSON values, see `make_plan`."""
    arrays: dict[str, np.ndarray]
    """Endpoints, pairs, shards, and the groups behind the endpoints."""

    @cached_property
    def hash(self) -> str:
        """SHA-256 that stands for the whole plan."""
        return hash_json(self.settings)

    @cached_property
    def config(self) -> ProduceConfig:
        """What is made, with the number of points on a walk that was planned."""
        return with_steps(ProduceConfig.from_dict(self.settings["config"]), self.settings["steps"])

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names by label."""
        return tuple(self.settings["class_names"])

    @cached_property
    def wanted(self) -> dict[int, int]:
        """Images wanted by label."""
        return {int(label): count for label, count in self.settings["wanted"].items()}

    @property
    def micro_batch(self) -> int:
        """Points that go through the networks together while walking; 0 leaves it to the solver."""
        return int(self.settings["micro_batch"])

    def walks_at_once(self, device: torch.device | str) -> int:
        """Walks that make good use of a device when they are done together."""
        return walks_at_once(self.micro_batch, self.config, device)

    @property
    def num_shards(self) -> int:
        """Shards in the plan, those included that are there in case the gate lets little pass."""
        return len(self.arrays["shard_label"])

    def task(self, number: int) -> Task:
        """One shard's work."""
        rows = slice(*self.arrays["shard_rows"][number].tolist())
        return Task(
            number,
            int(self.arrays["shard_label"][number]),
            self.arrays["pairs"][rows],
            self.arrays["first"][rows],
            int(self.arrays["shard_seed"][number]),
        )

    def shards_of(self, label: int) -> list[int]:
        """Numbers of a class's shards, in the order of the plan."""
        return np.flatnonzero(self.arrays["shard_label"] == label).tolist()

    def walks_of(self, number: int) -> int:
        """Walks of a shard."""
        start, stop = self.arrays["shard_rows"][number].tolist()
        return int(stop - start)

    def samples_of(self, number: int) -> int:
        """Samples that a shard brings to the gate."""
        task = self.task(number)
        return len(task.pairs) * (self.config.walk.steps - 2) + int(task.first.sum())

    def encode(self) -> bytes:
        """The plan's file."""
        return pack({**self.settings, "hash": self.hash}, self.arrays)


@dataclass(frozen=True, eq=False)
class Planned:
    """A plan, with what was computed on the way to it."""

    plan: Plan
    """The plan."""
    endpoints: Endpoints
    """What it starts from."""
    reference: RealReference
    """The real images, embedded for the gate."""


def make_plan(
    data: ImageSet,
    bundle: Bundle,
    config: ProduceConfig,
    *,
    endpoints: Endpoints | None = None,
    threads: int = 0,
    progress: Progress = silent,
) -> Planned:
    """Group, pair and cut into shards.

    Args:
        data: the private set.
        bundle: networks trained on it, on the device to work on.
        config: what to make.
        endpoints: from `prepare_endpoints` for these data and networks, where several sets are
            made from the same; None prepares them.
        threads: CPU threads that plan and that work on a shard; 0 takes `worker_threads` of
            PyTorch's number. Sums that are shared out over other numbers of threads may differ in
            their last bits.
        progress: told about every stage.

    Raises:
        WeightsError, PrivacyError, InputError: as `produce_set`.
    """
    refuse_identifiers(data)
    bundle = bundle.for_walks(config.walk.fast.predictor)
    threads = threads or worker_threads(torch.get_num_threads())
    with using_threads(threads):
        if endpoints is None:
            bundle.check(data)
            endpoints = prepare_endpoints(data, bundle, config, progress)
        wanted = wanted_per_class(endpoints.labels, endpoints.real, config)
        given = config
        config = with_steps(given, planned_steps(endpoints.labels, wanted, given))
        pairing = choose_pairs(endpoints, wanted, config)
        kept = memory_on(bundle.encoder.centre.device, KEPT_BYTES)
        reference = prepare_real(endpoints.real, bundle.lpips, max_bytes=kept, progress=progress)
        threshold = smallest_distance(reference, config.gate.quantile, progress)
        metric = choose_metric(bundle.generator, config.walk)
    arrays = {
        "centroids": endpoints.centroids.cpu().numpy(),
        "labels": endpoints.labels.astype(np.int64),
        "pairs": pairing.pairs.astype(np.int64),
        "first": first_visits(pairing.pairs),
        **_cut(pairing, wanted, config, bundle.generator.img_resolution),
        **_groups(endpoints),
        **_metric_arrays(metric),
        "salt": _salt(endpoints, config),
    }
    least = sum(least_walks(count, config.walk.steps) for count in wanted.values())
    settings = {
        "format": FORMAT,
        "software_version": __version__,
        "config": given.as_dict(),
        "steps": config.walk.steps,
        "threads": threads,
        "micro_batch": micro_batch_of(
            least, config, endpoints.centroids.device, bundle.generator.img_resolution
        ),
        "class_names": list(data.class_names),
        "reading": data.reading.as_dict(),
        "wanted": {str(label): count for label, count in wanted.items()},
        "certificate": endpoints.certificate.as_dict(),
        "relaxed_endpoints": endpoints.relaxed,
        "gate_threshold": threshold,
        "models": models_fingerprint(bundle),
        "data": data_fingerprint(data),
        "arrays": _hash(arrays),
    }
    if (notes := bundle.network_notes(endpoints.real)) is not None:
        settings["networks"] = notes
    return Planned(Plan(settings, arrays), endpoints, reference)


def with_steps(config: ProduceConfig, steps: int) -> ProduceConfig:
    """A configuration with so many points on a walk."""
    return replace(config, walk=replace(config.walk, steps=steps))


def worker_threads(threads: int) -> int:
    """CPU threads of each worker where several share so many."""
    return max(1, threads // MOST_BESIDE)


def _fix() -> str:
    return f"restore the run's folder 'private' from a copy, or {option(ANEW)}"


def read_plan(path: Path) -> Plan:
    """Read a stored plan.

    Raises:
        IntegrityError: damaged, or not as it was written.
        UnsupportedError: of another version.
    """
    settings, arrays = unpack(path, _WHAT, _fix())
    stored, form = settings.pop("hash", None), settings.get("format")
    if form != FORMAT:
        raise UnsupportedError(
            expected=f"a run in the format {FORMAT}",
            got=repr(form),
            fix="use the version of latentpath that planned it",
        )
    if stored != hash_json(settings) or settings["arrays"] != _hash(arrays):
        raise IntegrityError(expected=_WHAT, got=f"{path.name} with another content", fix=_fix())
    try:
        ProduceConfig.from_dict(settings["config"])
    except (ValueError, TypeError, AttributeError) as error:
        raise UnsupportedError(
            expected="a run with the options of this version",
            got=f"one of latentpath {settings['software_version']}",
            fix="use the version of latentpath that planned it",
        ) from error
    return Plan(settings, arrays)


def _hash(arrays: dict[str, np.ndarray]) -> str:
    return hash_arrays(dict(sorted(arrays.items())))


def _cut(
    pairing: Pairing, wanted: dict[int, int], config: ProduceConfig, side: int
) -> dict[str, np.ndarray]:
    """Shards of consecutive pairs of one class, the classes' shards taking turns.

    Their size depends on what is asked for alone and not on the machine, as the set depends on it.
    How many are done together, in portions, is decided by how long they take (`RunConfig`).
    """
    shards: list[tuple[float, int, int, int]] = []
    most = min(SHARD_WALKS, int(_SHARD_WORK / work_of(config.walk, side)))
    for label, count in wanted.items():
        rows = np.flatnonzero(pairing.labels == label)
        if not count or not len(rows):
            continue
        least = least_walks(count, config.walk.steps)
        likely = math.ceil(least / _USUALLY_PASS)
        size = max(1, min(most, -(-likely // _SHARDS_PER_CLASS)))
        start, stop = int(rows[0]), int(rows[-1]) + 1  # a class's pairs are consecutive
        for first in range(start, stop, size):
            # Share of its class that is made when this shard is: classes advance together.
            turn = (first - start + size / 2) / least
            shards.append((turn, label, first, min(first + size, stop)))
    shards.sort()
    numbers = np.random.SeedSequence(config.seed).generate_state(len(shards), np.uint32)
    return {
        "shard_label": np.array([label for _, label, _, _ in shards], np.int64),
        "shard_rows": np.array([rows for _, _, *rows in shards], np.int64).reshape(-1, 2),
        "shard_seed": numbers.astype(np.int64),
    }


def _groups(endpoints: Endpoints) -> dict[str, np.ndarray]:
    """What the private file and the report need of the groups."""
    arrays: dict[str, np.ndarray] = {}
    if endpoints.grouping is not None:
        arrays |= {
            "latents": endpoints.latents.cpu().numpy(),
            "identities": number_people(endpoints.real.identities),
            "classes": endpoints.real.labels,
            "assignment": endpoints.grouping.assignment,
            "identity_counts": endpoints.grouping.identity_counts,
            "dropped_classes": np.array(endpoints.grouping.dropped_classes, np.int64),
        }
    if endpoints.averages is not None:
        arrays["averages"] = endpoints.averages.cpu().numpy()
    return arrays


def _salt(endpoints: Endpoints, config: ProduceConfig) -> np.ndarray:  # uint8 [32]
    """The private file's salt, see there: random under differential privacy alone."""
    salt = secrets.token_bytes(32)
    if endpoints.grouping is not None:
        real = endpoints.real
        salt = data_salt(config.seed, real.images, real.labels, number_people(real.identities))
    return np.frombuffer(salt, np.uint8)


def centroids_of(plan: Plan, device: torch.device | str) -> torch.Tensor:  # [G, D]
    """The endpoints on a device."""
    return torch.tensor(plan.arrays["centroids"], device=device)


def _metric_arrays(metric: LatentMetric | None) -> dict[str, np.ndarray]:
    if metric is None:
        return {}
    return {name: getattr(metric, part).cpu().numpy() for part, name in _METRIC.items()}


def metric_of(plan: Plan, device: torch.device | str) -> LatentMetric | None:
    """The metric of latents on a device; None is the Euclidean one."""
    if _METRIC["mean"] not in plan.arrays:
        return None
    parts = {part: plan.arrays[name] for part, name in _METRIC.items()}
    return LatentMetric(
        **{part: torch.tensor(values, device=device) for part, values in parts.items()}
    )
