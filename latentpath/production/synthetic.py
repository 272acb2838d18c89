"""The pipeline: from a private set to a synthetic one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentpath._version import __version__
from latentpath.core import PrivacyError, Progress, silent
from latentpath.data import ImageSet
from latentpath.energy import EnergyTerms
from latentpath.production.bundle import Bundle
from latentpath.production.gate import Gate
from latentpath.production.prepared_endpoints import (
    Endpoints,
    plain_config,
    prepare_endpoints,
    relaxed_entry,
)
from latentpath.production.produce_config import ProduceConfig
from latentpath.production.selection import choose_pairs, thin, wanted_per_class
from latentpath.production.walking import render, sample_places, walk_pairs
from latentpath.similarity import RealReference, prepare_real


@dataclass(frozen=True)
class Walks:
    """All walks of a run, P of them."""

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

    def manifest(self) -> dict[str, Any]:
        """What travels with the set: settings and counts, nothing about any one person."""
        return {
            "software": "latentpath",
            "software_version": __version__,
            "config": dict(plain_config(self.config)),
            "seeds": {"seed": self.config.seed},
            "certificate": self.endpoints.certificate.as_dict(),
            **relaxed_entry(self.endpoints.relaxed),
            "gate": {
                "tested": self.tested,
                "rejected": self.rejected,
                "lpips_threshold": round(self.gate_threshold, 6),
            },
            "shortage": self.shortage,
        }


def produce_set(
    data: ImageSet,
    bundle: Bundle,
    config: ProduceConfig | None = None,
    progress: Progress = silent,
    *,
    endpoints: Endpoints | None = None,
) -> SyntheticSet:
    """Run the pipeline in memory: encode, group, walk, generate, gate.

    Args:
        data: the private set.
        bundle: networks trained on it.
        config: options.
        progress: told about every stage.
        endpoints: from `prepare_endpoints` for these data and networks, where several sets are
            made from the same; None prepares them.

    Raises:
        WeightsError: the networks were trained for another kind of set.
        PrivacyError: a class with fewer than k people, or no sample passed the gate.
        InputError: more images wanted than the pairs of endpoints allow.
    """
    config = config or ProduceConfig()
    endpoints = endpoints or prepare_endpoints(data, bundle, config, progress)
    wanted = wanted_per_class(endpoints, config)
    pairing = choose_pairs(endpoints, wanted, config)
    queues = {label: pairing.pairs[pairing.labels == label].tolist() for label in wanted}
    reference = prepare_real(endpoints.real, bundle.lpips, progress=progress)
    gate = Gate(
        reference,
        bundle.networks,
        quantile=config.gate_quantile,
        max_probability=config.gate_identity,
        in_class=config.gate_class,
    )
    run = _Run(endpoints, bundle, gate, config, progress)
    while pairs := _next_pairs(queues, wanted, run, config.steps):
        run.add(pairs)
    return run.finish(wanted, reference)


class _Run:
    """Walks and samples so far."""

    def __init__(
        self,
        endpoints: Endpoints,
        bundle: Bundle,
        gate: Gate,
        config: ProduceConfig,
        progress: Progress,
    ) -> None:
        self.endpoints, self.bundle, self.gate = endpoints, bundle, gate
        self.config, self.progress = config, progress
        self.pairs: list[tuple[int, int]] = []
        self.latents: list[Tensor] = []
        self.energies: list[tuple[EnergyTerms, EnergyTerms]] = []
        self.images: list[np.ndarray] = []
        self.places: list[np.ndarray] = []  # [n, 2] path and step of all samples
        self.passed: list[np.ndarray] = []  # [n] bool
        self.rejected: dict[str, int] = {}
        self.accepted = dict.fromkeys(range(endpoints.real.num_classes), 0)
        self.tested_of = dict.fromkeys(self.accepted, 0)
        self._used: set[int] = set()

    def add(self, pairs: list[tuple[int, int]]) -> None:
        """Walk along `pairs`, generate, and put the samples through the gate."""
        config, endpoints = self.config, self.endpoints
        rows = np.array(pairs)
        result = walk_pairs(
            endpoints.centroids, endpoints.labels, rows, self.bundle, config, self.progress
        )
        places = sample_places(self._first_visits(pairs), config.steps)
        images = render(self.bundle, result.latents[places[:, 0], places[:, 1]])
        of_class = endpoints.labels[rows[places[:, 0], 0]]
        verdict = self.gate.test(images, of_class)
        self.places.append(places + np.array([len(self.pairs), 0]))
        self.pairs += pairs
        self.latents.append(result.latents)
        self.energies.append((result.before, result.after))
        self.images.append(images[verdict.accepted])
        self.passed.append(verdict.accepted)
        for reason, count in verdict.rejected.items():
            self.rejected[reason] = self.rejected.get(reason, 0) + count
        for label in self.accepted:
            self.tested_of[label] += int((of_class == label).sum())
            self.accepted[label] += int((of_class[verdict.accepted] == label).sum())
        tested = sum(self.tested_of.values())
        figures = {"passed": sum(self.accepted.values()), "tested": tested}
        self.progress("gate", tested, tested, figures)

    def _first_visits(self, pairs: list[tuple[int, int]]) -> np.ndarray:  # bool [P, 2]
        """Every endpoint is a sample once per run."""
        first = np.zeros((len(pairs), 2), dtype=bool)
        for row, ends in enumerate(pairs):
            for place, end in enumerate(ends):
                first[row, place] = end not in self._used
                self._used.add(end)
        return first

    def finish(self, wanted: Mapping[int, int], reference: RealReference) -> SyntheticSet:
        """Thin the samples to what was wanted."""
        endpoints, config = self.endpoints, self.config
        pairs = np.array(self.pairs, dtype=np.int64).reshape(-1, 2)
        path_labels = endpoints.labels[pairs[:, 0]]
        tested = np.concatenate(self.places)
        places = tested[np.concatenate(self.passed)]
        images = np.concatenate(self.images)
        if not len(images):
            raise PrivacyError(
                expected="samples that pass the gate",
                got=f"none out of {len(tested)} ({_listed(self.rejected)})",
                fix="check the weights, walk further (--optim-steps), or loosen the gate",
            )
        labels = path_labels[places[:, 0]]
        keep = thin(labels, wanted, config.seed)
        names = endpoints.real.class_names
        missing = {c: wanted.get(c, 0) - self.accepted[c] for c in self.accepted}
        before, after = zip(*self.energies, strict=True)
        return SyntheticSet(
            samples=ImageSet(images[keep], labels[keep], np.arange(len(keep)), names),
            path=places[keep, 0],
            step=places[keep, 1],
            places=tested,
            rejected=self.rejected,
            gate_threshold=self.gate.threshold,
            endpoints=endpoints,
            walks=Walks(
                pairs, path_labels, torch.cat(self.latents), _joined(before), _joined(after)
            ),
            reference=reference,
            config=config,
            shortage={names[c]: count for c, count in missing.items() if count > 0},
        )


def _joined(terms: tuple[EnergyTerms, ...]) -> EnergyTerms:
    return EnergyTerms(*(torch.cat([getattr(t, n) for t in terms]) for n in EnergyTerms.names()))


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in counts.items())


def _next_pairs(
    queues: dict[int, list[tuple[int, int]]], wanted: Mapping[int, int], run: _Run, steps: int
) -> list[tuple[int, int]]:
    """The pairs to walk next: for each class, as many as its missing images should need."""
    chosen: list[tuple[int, int]] = []
    for label, queue in queues.items():
        missing = wanted[label] - run.accepted[label]
        if missing <= 0 or not queue:
            continue
        tested = run.tested_of[label]
        # Before anything was tested assume that most pass; later go by what passed.
        rate = (run.accepted[label] + 1) / (tested + 1) if tested else 0.9
        number = min(len(queue), max(1, round(missing / (rate * (steps - 2)) + 0.499)))
        chosen += queue[:number]
        del queue[:number]
    return chosen
