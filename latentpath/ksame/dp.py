"""Differentially private centroids: the alternative to k-same where a formal bound is wanted.

Noise on the centroids of k-same groups would promise less than it seems to: which people form a
group depends on all of them, so one person more can change every group, and noise scaled to one
person's share of one centroid does not cover that. Here a person's cell depends on that person
alone: cells are the Voronoi cells of anchors that are public, or that were released with noise in
an earlier step. This is k-means with noisy sums and counts (Blum, Dwork, McSherry and Nissim,
"Practical privacy: the SuLQ framework", PODS 2005), under adding or removing one person.
"""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from latentpath.core import InputError, PrivacyError, ShapeError, require_extra
from latentpath.ksame.certificate import Statement
from latentpath.ksame.grouping import IntArray, Latents, as_integers, as_latents, fold_rows

# Share of the privacy budget that goes into the counts; the sums get the rest.
_COUNT_SHARE = 0.1


@dataclass(frozen=True, kw_only=True)
class DpCertificate(Statement):
    """A statement of differential privacy for the endpoints of a synthetic set.

    It holds public parameters and noisy results only: an exact number of people would itself be
    no differentially private release.

    Attributes:
        epsilon: privacy loss, of adding or removing one person with all their images.
        delta: probability with which the loss may exceed epsilon.
        clip_norm: each person's latent is cut to this distance from the public centre.
        noise_multiplier: standard deviation of the noise of one step, in units of the sensitivity.
        steps: noisy k-means steps, over which the loss is composed.
        accountant: the library that calibrated the noise, with its version.
        num_groups: centroids released.
        smallest_count: centroids with a noisy count below this were withheld.
    """

    kind: ClassVar[str] = "differential privacy"

    epsilon: float
    delta: float
    clip_norm: float
    noise_multiplier: float
    steps: int
    accountant: str
    num_groups: int
    smallest_count: float

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_budget(self.epsilon, self.delta, self.clip_norm, self.steps)

    @property
    def promise(self) -> str:
        """What is promised, in one sentence."""
        return (
            f"The {self.num_groups} endpoints are differentially private with epsilon "
            f"{self.epsilon:g} and delta {self.delta:g} for adding or removing one person with "
            "all their images, given the public classes, anchors, centre and clipping norm."
        )

    @property
    def not_promised(self) -> str:
        """What is not promised, in one sentence."""
        return (
            "The generator, the encoder and the classifiers were trained on the same people "
            "without this protection, the points between endpoints are guided by them, a gate "
            "compares samples with the real images: none of this is covered, nor are attacks on "
            "the rounding of floating-point noise."
        )


@dataclass(frozen=True, eq=False)
class DpCentroids:
    """Noisy centroids and what may be said about them.

    Attributes:
        centroids: [G, D] float32.
        group_labels: [G] class of each centroid.
        noisy_counts: [G] released number of people near each centroid.
        certificate: the statement that goes into the manifest; `dataclasses.replace` adds the
            run's configuration and the seeds that anyone may know.
    """

    centroids: Tensor  # [G, D]
    group_labels: IntArray  # [G]
    noisy_counts: npt.NDArray[np.float64]  # [G]
    certificate: DpCertificate


def dp_centroids(
    latents: Latents,  # [n, D]
    identities: npt.ArrayLike,  # [n]
    labels: npt.ArrayLike,  # [n]
    *,
    classes: Sequence[int],
    anchors: Latents,  # [A, D]
    clip_norm: float,
    epsilon: float,
    delta: float,
    centre: Latents | None = None,  # [D]
    steps: int = 3,
    smallest_count: float = 10.0,
    noise: np.random.Generator | None = None,
) -> DpCentroids:
    """Release noisy centroids of the people near each of some public anchors, class by class.

    Each person counts once: in the label most of their images carry (the lowest of equals), with
    the mean latent of those images, cut to `clip_norm` around `centre`.

    Args:
        latents: [n, D] floating point.
        identities: [n] integers, the person of each row.
        labels: [n] integers, the class of each row.
        classes: all labels that may occur; public. People of other labels are left out.
        anchors: [A, D] where the cells of every class start; public, for example latents of the
            generator's mapping network. At most len(classes) * A centroids come out.
        clip_norm: largest distance from `centre`; public, never computed from these latents.
        epsilon: privacy loss over everything released, above 0.
        delta: between 0 and 1, well below 1 / number of people.
        centre: [D] public centre of the latents, the origin if None.
        steps: noisy k-means steps, at least 1. More steps fit the cells better and need noise
            larger by their square root.
        smallest_count: cells with a noisy count below this are withheld: their centroid would be
            mostly noise.
        noise: source of the noise, for tests. Leave it None to draw it from the operating system:
            whoever knows the seed can subtract the noise.

    Raises:
        PrivacyError: an impossible budget; no cell with enough people.
        ShapeError, DataError: arrays that do not fit.
        InputError: classes that repeat, or none.
        MissingExtraError: without the extra "dp".
    """
    _check_budget(epsilon, delta, clip_norm, steps)
    multiplier, accountant = _calibrate(epsilon, delta, steps)
    rows = as_latents(latents)
    start, middle = _public_places(rows, classes, anchors, centre)
    people, of_class = _one_vector_each(rows, identities, labels, classes)
    vectors = _clip(people.double() - middle, clip_norm)
    cells = _clip(start.double() - middle, clip_norm).repeat(len(classes), 1, 1)  # [K, A, D]
    rng = noise if noise is not None else np.random.default_rng()
    for _ in range(steps):
        cells, counts = _noisy_step(vectors, of_class, cells, clip_norm, multiplier, rng)
    kept = counts >= smallest_count  # [K, A]
    if not kept.any():
        raise PrivacyError(
            expected=f"a cell with a noisy count of at least {smallest_count:g}",
            got="none",
            fix="use fewer anchors, a larger epsilon or more people",
        )
    label_of = torch.tensor([int(label) for label in classes])[:, None].expand(kept.shape)
    return DpCentroids(
        centroids=(cells[kept] + middle).float(),
        group_labels=label_of[kept.cpu()].numpy(),
        noisy_counts=counts[kept].cpu().numpy(),
        certificate=DpCertificate(
            epsilon=float(epsilon),
            delta=float(delta),
            clip_norm=float(clip_norm),
            noise_multiplier=multiplier,
            steps=steps,
            accountant=accountant,
            num_groups=int(kept.sum()),
            smallest_count=float(smallest_count),
        ),
    )


def _public_places(
    rows: Tensor, classes: Sequence[int], anchors: Latents, centre: Latents | None
) -> tuple[Tensor, Tensor]:
    """Anchors [A, D] and centre [D] like the latents, everything public checked."""
    start = as_latents(anchors).to(rows)
    middle = torch.zeros_like(rows[0])
    if centre is not None:
        middle = as_latents(torch.as_tensor(centre)[None])[0].to(rows)
    if not len(classes) or len(set(classes)) < len(classes):
        raise InputError(
            expected="classes as one or more different labels",
            got=repr(list(classes)),
            fix="list every label that may occur once",
        )
    if start.shape[1:] != middle.shape or rows.shape[1:] != middle.shape:
        raise ShapeError(
            expected=f"anchors [A, {rows.shape[1]}] and centre [{rows.shape[1]}] as the latents",
            got=f"{list(start.shape)} and {list(middle.shape)}",
            fix="take anchors from the generator that the latents belong to",
        )
    return start, middle


def _noisy_step(
    vectors: Tensor,  # [P, D]
    of_class: Tensor,  # [P]
    cells: Tensor,  # [K, A, D]
    clip_norm: float,
    multiplier: float,
    rng: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """One step of k-means with noise on its sums and counts: cells [K, A, D], counts [K, A]."""
    sums, counts = _cell_totals(vectors, of_class, cells)
    sums += _gaussian(rng, sums, clip_norm * multiplier / math.sqrt(1 - _COUNT_SHARE))
    counts += _gaussian(rng, counts, multiplier / math.sqrt(_COUNT_SHARE))
    return _clip(sums / counts.clamp(min=1.0)[..., None], clip_norm), counts


def _check_budget(epsilon: float, delta: float, clip_norm: float, steps: int) -> None:
    for name, value, good in (
        ("epsilon above 0", epsilon, 0 < epsilon < math.inf),
        ("delta between 0 and 1", delta, 0 < delta < 1),
        ("a clipping norm above 0", clip_norm, 0 < clip_norm < math.inf),
        ("at least one step", steps, steps >= 1),
    ):
        if not good:
            raise PrivacyError(
                expected=name, got=f"{value}", fix="state a budget that means something"
            )


def _calibrate(epsilon: float, delta: float, steps: int) -> tuple[float, str]:
    """Noise multiplier of one step and the accountant's name.

    Several Gaussian releases compose exactly into one whose multiplier is smaller by the square
    root of their number, so that the analytic calibration of one release is tight for all.
    """
    accounting = require_extra("dp_accounting", "dp")
    total = accounting.get_sigma_gaussian(epsilon, delta)
    version = importlib.metadata.version("dp-accounting")
    return total * math.sqrt(steps), f"dp-accounting {version}, analytic Gaussian mechanism"


def _one_vector_each(
    rows: Tensor, identities: npt.ArrayLike, labels: npt.ArrayLike, classes: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """One latent [P, D] for each person and their position in classes [P]."""
    who = as_integers(identities, "identities", len(rows))
    what = as_integers(labels, "labels", len(rows))
    position = {int(label): i for i, label in enumerate(classes)}
    people = fold_rows(rows, who, what)
    images = np.bincount(people.of_row)
    order = np.lexsort((people.labels, -images, people.identities))
    sorted_ids = people.identities[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = sorted_ids[1:] != sorted_ids[:-1]
    chosen = np.array([i for i in order[first] if int(people.labels[i]) in position], dtype=int)
    of_class = torch.tensor([position[int(people.labels[i])] for i in chosen], dtype=torch.int64)
    index = torch.from_numpy(chosen).to(rows.device)
    return people.latents[index], of_class.to(rows.device)


def _clip(vectors: Tensor, norm: float) -> Tensor:
    """Vectors [..., D], none longer than norm."""
    lengths = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return vectors * (norm / lengths.clamp(min=norm))


def _cell_totals(vectors: Tensor, of_class: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
    """Sums [K, A, D] and counts [K, A] of the people in each Voronoi cell of their class."""
    sums = torch.zeros_like(cells)
    counts = cells.new_zeros(cells.shape[:2])
    for label, anchors in enumerate(cells):
        members = vectors[of_class == label]
        scores = members @ anchors.T - anchors.square().sum(dim=1) / 2  # largest is nearest
        cell = scores.argmax(dim=1)
        sums[label].index_add_(0, cell, members)
        counts[label] += torch.bincount(cell, minlength=len(anchors))
    return sums, counts


def _gaussian(rng: np.random.Generator, like: Tensor, deviation: float) -> Tensor:
    return torch.from_numpy(rng.normal(0.0, deviation, size=tuple(like.shape))).to(like)
