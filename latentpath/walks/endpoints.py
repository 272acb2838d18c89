"""Endpoints made safe: centroids that look like one person, moved to the nearest safe latent.

The first and the last point of a walk are samples too, and no walk moves them. A centroid is
*unsafe* where the identity classifier names one person with more than a given probability, or its
identity energy is above a threshold. `relax_endpoints` lowers

    [unsafe] KL(uniform || softmax id(G(w))) + a CE(class(G(w)), y) + b |w - c|^2 / r^2

from w = c, the centroid, by Adam until w is safe and of its class, and then goes back towards c
by bisection as far as w stays so. Every point on the way is within the neighbourhood of its group
(`latentpath.walks.hull`): no further than r from the centroid, and no nearer to any one of the
people behind it than the centroid is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentpath.core import (
    InputError,
    Progress,
    ShapeError,
    check_above_zero,
    check_at_least,
    check_finite,
    check_whole,
    silent,
)
from latentpath.energy import EnergyWeights, PathEnergy, PointTerms
from latentpath.generators import Precision, PrecisionName
from latentpath.models import Networks
from latentpath.walks.hull import Neighbourhood
from latentpath.walks.requests_and_results import (
    as_labels,
    as_rows,
    check_finite_ends,
    fixed_micro_batch,
)

# Points per micro-batch on CPUs: batches are filled up, and few endpoints search for long.
_MICRO_BATCH_CPU = 16
_BETAS, _EPS = (0.9, 0.99), 1e-12


@dataclass(frozen=True)
class RelaxConfig:
    """Options of `relax_endpoints`."""

    max_probability: float = 0.5
    """Largest probability with which a safe endpoint may name one person; 1 leaves the judgement
    to the threshold alone."""
    radius: float = 1.0
    """Furthest that an endpoint may move, as a share of the mean distance of its group's members
    to it; without groups in latent units."""
    steps: int = 80
    """Most true gradients for each unsafe endpoint."""
    lr: float = 0.05
    """Length of a step, about, as a share of the furthest move."""
    classification: float = 1.0
    """Weight of the cross-entropy beside the identity energy."""
    distance: float = 1.0
    """Weight of the squared distance to the centroid as a share of the furthest move, nats."""
    bisections: int = 8
    """Halvings of the way back to the centroid."""

    def __post_init__(self) -> None:
        check_whole(0, steps=self.steps, bisections=self.bisections)
        check_finite(**vars(self))
        check_above_zero(lr=self.lr, max_probability=self.max_probability)
        check_at_least(
            0, radius=self.radius, classification=self.classification, distance=self.distance
        )
        if self.max_probability > 1:
            raise InputError(
                expected="max_probability of at most 1",
                got=str(self.max_probability),
                fix="use 0.5, as the gate does",
            )


@dataclass(frozen=True)
class RelaxedEndpoints:
    """Endpoints, most of them safe, and how far they are from what they were."""

    latents: Tensor
    """[G, D] endpoints; those that did not move are the centroids bit for bit."""
    moved: Tensor
    """[G] distance from the centroid, latent units."""
    before: Tensor
    """[G] identity energy of the centroids, nats."""
    after: Tensor
    """[G] identity energy of `latents`, nats."""
    was_safe: Tensor
    """[G] bool, whether the centroid was safe."""
    safe: Tensor
    """[G] bool, whether the endpoint is."""
    hull_distance: Tensor
    """[G] distance of `latents` from the convex hull of the group's members; nan without groups."""

    def summary(self) -> dict[str, float | int]:
        """Counts and means over all endpoints, nothing about one of them."""
        far = self.moved > 0
        count = int(far.sum())
        return {
            "endpoints": len(self.moved),
            "unsafe_before": int((~self.was_safe).sum()),
            "unsafe_after": int((~self.safe).sum()),
            "moved": count,
            "mean_distance": round(float(self.moved[far].mean()), 6) if count else 0.0,
            "mean_energy_before": round(float(self.before.mean()), 6),
            "mean_energy_after": round(float(self.after.mean()), 6),
        }


def relax_endpoints(
    latents: Tensor,  # [G, D]
    labels: int | Sequence[int] | Tensor,  # [G]
    networks: Networks,
    groups: Sequence[Tensor] | None = None,  # [k_g, D] each
    *,
    threshold: float | None = None,
    config: RelaxConfig | None = None,
    micro_batch: int = 0,
    precision: Precision | PrecisionName = "auto",
    progress: Progress = silent,
) -> RelaxedEndpoints:
    """Move unsafe centroids to the nearest safe latent of their class in their neighbourhood.

    What becomes of one centroid depends on it and its group alone, bit for bit, and on no random
    number. One that cannot be made safe ends at the allowed point of its class with the lowest
    identity energy that was found, or stays. A safe one stays, whatever its class.

    Args:
        latents: [G, D] centroids.
        labels: [G] class of each, or one for all.
        networks: as for `latentpath.walk`; a surrogate is of no use here.
        groups: the latents [k_g, D] behind each centroid; None if nothing is known of them.
        threshold: largest identity energy, nats, of a safe endpoint. None leaves the judgement
            to `RelaxConfig.max_probability`, which counts in any case.
        config: options.
        micro_batch: points that go through the networks together; 0 chooses by device.
        precision: of the gradients; endpoints are judged in float32.
        progress: told after every step, stage "endpoints".

    Raises:
        ShapeError: latents, labels and groups that do not fit each other.
        InputError: an impossible option, or latents or energies that are not finite.
    """
    config, centres = config or RelaxConfig(), as_rows(latents, "latents")
    check_finite_ends(centres)
    classes = as_labels(labels, centres)
    if threshold is not None:
        check_finite(threshold=threshold)
    near = _neighbourhoods(centres, groups, config.radius)
    networks = networks.for_latents(centres.shape[1])
    size = fixed_micro_batch(micro_batch, centres.device, networks.generator.img_resolution)
    if not micro_batch and centres.device.type == "cpu":
        size = _MICRO_BATCH_CPU
    common: dict[str, Any] = {
        "micro_batch": size,
        "precision": precision,
        "fixed_batches": True,
        "fold_norms": True,
    }
    weights = [EnergyWeights(0.0, share, config.classification) for share in (1.0, 0.0)]
    guides = [PathEnergy(networks, weights=each, **common) for each in weights]
    first = guides[0].point_terms(centres, classes)
    _check_finite_energies(first)
    judge = _Judge(threshold, config.max_probability)
    search = _Search(centres, classes, near, guides, judge, config, first)
    for step in range(config.steps):
        if not search.rows:
            break
        search.step()
        figures = {"unsafe": float(len(search.rows))}
        progress("endpoints", step + 1, config.steps, figures)
    search.back_off()
    return search.result(first)


@dataclass(frozen=True)
class _Judge:
    threshold: float | None
    max_probability: float

    def anonymous(self, terms: PointTerms) -> Tensor:  # -> [M] bool
        """Whether points look like nobody in particular. NaN does not."""
        safe = terms.largest <= self.max_probability
        return safe if self.threshold is None else safe & (terms.identity <= self.threshold)


class _Search:
    """The ways of the unsafe endpoints; moves are float64, for they are small differences."""

    def __init__(
        self,
        centres: Tensor,  # [G, D]
        labels: Tensor,  # [G]
        near: list[Neighbourhood],
        guides: list[PathEnergy],
        judge: _Judge,
        config: RelaxConfig,
        first: PointTerms,
    ) -> None:
        self.centres, self.labels, self.near = centres, labels, near
        self.guides, self.judge, self.config = guides, judge, config
        self.was_safe = judge.anonymous(first)
        self.exact = centres.double().cpu().numpy()
        self.points, self.energies = centres.clone(), first.identity.clone()  # the best so far
        self.safe = self.was_safe.clone()
        unsafe = (~self.was_safe).tolist()
        self.rows = [g for g, bad in enumerate(unsafe) if bad and near[g].reach > 0]
        """Endpoints that still look for a safe point."""
        self.at = {g: centres[g] for g in self.rows}
        self.identified = dict.fromkeys(self.rows, True)
        self.move = {g: np.zeros(centres.shape[1]) for g in self.rows}
        self.moments = {g: np.zeros((2, centres.shape[1])) for g in self.rows}
        self.arrived: list[int] = []
        self.steps = 0

    def step(self) -> None:
        """One gradient for every endpoint on its way, and a look at where it leads."""
        slopes = self._slopes()
        self.steps += 1
        for g, slope in zip(self.rows, slopes, strict=True):
            self._adam(g, slope)
        terms, allowed, points = self._look({g: self.move[g] for g in self.rows})
        anonymous = self.judge.anonymous(terms)
        in_class = terms.predicted == self.labels[self.rows]
        good = (in_class & allowed).tolist()
        better = (terms.identity < self.energies[self.rows]).tolist()
        left = []
        for i, g in enumerate(self.rows):
            self.at[g], self.identified[g] = points[i], not bool(anonymous[i])
            done = good[i] and bool(anonymous[i])
            if done or (good[i] and better[i]):
                self.points[g], self.energies[g] = points[i], terms.identity[i]
            if done:
                self.safe[g] = True
                self.arrived.append(g)
            elif np.isfinite(self.move[g]).all():
                left.append(g)
        self.rows = left

    def _slopes(self) -> np.ndarray:  # [A, D]
        """The gradient of the guides: of the class alone where nobody is recognised."""
        slopes = np.empty((len(self.rows), self.centres.shape[1]))
        for guide, recognised in zip(self.guides, (True, False), strict=True):
            members = [i for i, g in enumerate(self.rows) if self.identified[g] == recognised]
            if members:
                rows = [self.rows[i] for i in members]
                points = torch.stack([self.at[g] for g in rows])
                ones = torch.ones(len(rows), device=points.device)
                slope = guide.guide_gradient(points, self.labels[rows], ones)
                slopes[members] = slope.double().cpu().numpy()
        return slopes

    def _adam(self, g: int, slope: np.ndarray) -> None:
        reach, move = self.near[g].reach, self.move[g]
        slope = slope + 2 * self.config.distance * move / reach**2
        rate = self.config.lr * reach / len(move) ** 0.5
        average, squares = self.moments[g]
        average += (1 - _BETAS[0]) * (slope - average)
        squares += (1 - _BETAS[1]) * (slope**2 - squares)
        first, second = (1 - beta**self.steps for beta in _BETAS)
        move = move - rate * (average / first) / (np.sqrt(squares / second) + _EPS)
        length = float(np.linalg.norm(move))
        self.move[g] = move * min(1.0, reach / length) if length > 0 else move

    def _look(self, moves: dict[int, np.ndarray]) -> tuple[PointTerms, Tensor, Tensor]:
        """The terms of points, whether each is allowed, and the points [A, D]."""
        rows = list(moves)
        wanted = np.stack([self.exact[g] + self.near[g].pull(moves[g]) for g in rows])
        points = torch.from_numpy(wanted).to(self.centres)
        rounded = points.double().cpu().numpy()
        allowed = [self.near[g].allows(rounded[i] - self.exact[g]) for i, g in enumerate(rows)]
        terms = self.guides[0].point_terms(points, self.labels[rows])
        return terms, torch.tensor(allowed, device=points.device), points

    def back_off(self) -> None:
        """Bring the safe points as near to their centroids as they stay safe."""
        far = {g: self.move[g] for g in self.arrived}
        low, high = dict.fromkeys(far, 0.0), dict.fromkeys(far, 1.0)
        for _ in range(self.config.bisections if far else 0):
            middle = {g: (low[g] + high[g]) / 2 for g in far}
            terms, allowed, points = self._look({g: middle[g] * far[g] for g in far})
            safe = self.judge.anonymous(terms) & allowed
            safe &= terms.predicted == self.labels[list(far)]
            for i, (g, good) in enumerate(zip(far, safe.tolist(), strict=True)):
                (high if good else low)[g] = middle[g]
                # Where the neighbourhood bends the way, half of a move may be longer than all.
                if good and self._distance(g, points[i]) < self._distance(g, self.points[g]):
                    self.points[g], self.energies[g] = points[i], terms.identity[i]

    def _distance(self, g: int, point: Tensor) -> float:  # [D]
        return float(np.linalg.norm(point.double().cpu().numpy() - self.exact[g]))

    def result(self, first: PointTerms) -> RelaxedEndpoints:
        """What came of it."""
        moves = self.points.double().cpu().numpy() - self.exact
        hull = [near.hull_distance(move) for near, move in zip(self.near, moves, strict=True)]
        return RelaxedEndpoints(
            latents=self.points,
            moved=torch.from_numpy(np.linalg.norm(moves, axis=1)).to(self.points),
            before=first.identity,
            after=self.energies,
            was_safe=self.was_safe,
            safe=self.safe,
            hull_distance=torch.tensor(hull).to(self.points),
        )


def _neighbourhoods(
    centres: Tensor, groups: Sequence[Tensor] | None, radius: float
) -> list[Neighbourhood]:
    exact = centres.double().cpu().numpy()
    if groups is None:
        return [Neighbourhood(centre, None, radius) for centre in exact]
    if len(groups) != len(exact):
        raise ShapeError(
            expected=f"one group for each of the {len(exact)} centroids",
            got=f"{len(groups)}",
            fix="pass the latents behind each centroid, in their order",
        )
    near = []
    for number, (centre, group) in enumerate(zip(exact, groups, strict=True)):
        members = as_rows(group, f"group {number}")
        if members.shape[1] != len(centre):
            raise ShapeError(
                expected=f"group {number} to be [k, {len(centre)}]",
                got=str(list(members.shape)),
                fix="pass latents of the centroids' generator",
            )
        check_finite_ends(members)
        near.append(Neighbourhood(centre, members.double().cpu().numpy(), radius))
    return near


def _check_finite_energies(terms: PointTerms) -> None:
    bad = ~(torch.isfinite(terms.identity) & torch.isfinite(terms.classification))
    if bad.any():
        raise InputError(
            expected="finite energies at the centroids",
            got=f"NaN or infinity at {int(bad.sum())} of {len(bad)}",
            fix="use a generator and classifiers that give finite values for these latents",
        )
