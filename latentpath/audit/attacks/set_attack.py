"""Membership inference from the synthetic set itself: is it closer to its people than to others?

Two scores for a person x, with d(x, S) the distance to the nearest image of a set S in some
embedding:

* **distance**: -d(x, synthetic). People in crowded regions score high whether they took part or
  not.
* **density ratio**: log d(x, reference) - log d(x, synthetic), where the reference are people who
  took no part. It is the nearest-neighbour form of the ratio of two densities, up to a factor.

Sources: Chen et al., "GAN-Leaks", CCS 2020 (distance, and its calibration); Hayes et al., "LOGAN",
PoPETs 2019; van Breugel et al., "Membership Inference Attacks against Synthetic Data through
Overfitting Detection" (DOMIAS), AISTATS 2023 (density ratio).

The holdout serves as reference, too, but never for themselves: they are divided into halves, and
everybody, member or not, is measured against the half that he or she is not in. Members are put
into a half at random, so that both kinds have references of the same size.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from latentpath.audit.statistics.roc import AttackScore, score_attack
from latentpath.core import DataError, Progress, silent
from latentpath.data import ImageSet
from latentpath.similarity import LPIPS, EmbeddedImages, as_planes, check_same_size, nearest_rows

Embed = Callable[[Tensor], Tensor]  # [m, C, H, W] in [-1, 1] -> [m, F]

# Share of the median distance that is added to distances, so that copies (distance 0) do not
# make a ratio infinite.
_FLOOR = 1e-3


def attack_set(
    synthetic: ImageSet,
    real: ImageSet,
    holdout: ImageSet,
    *,
    embed: Embed | None = None,
    seed: int = 0,
    resamples: int = 2000,
    max_bytes: int = 1 << 30,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> dict[str, AttackScore]:
    """Attack a set with both scores.

    Args:
        synthetic: the set in question.
        real: the people behind it: members.
        holdout: people who took no part, and the reference of the density ratio.
        embed: images to rows whose squared Euclidean distance is compared; LPIPS if None.
        seed: of the halves and the resampling.
        resamples: for the intervals, over people.
        max_bytes: bound on the memory for embeddings.
        device: where LPIPS runs; an embedding of your own decides itself.
        progress: told after every block of comparisons, as stage "set attack".

    Returns:
        "set_distance" and "set_density_ratio".

    Raises:
        ShapeError: images of different sizes.
        DataError: fewer than four people in the holdout.
    """
    for other in (synthetic, holdout):
        check_same_size(other.images, real.images)
    if holdout.num_identities < 4:
        raise DataError(
            expected="at least four people who took no part",
            got=f"{holdout.num_identities}",
            fix="hold out more people: they are the reference, too",
        )
    compute = LPIPS.load(device).embed if embed is None else as_float(embed)
    search = _EmbeddedSearch(compute, max_bytes, progress)
    return {
        name: score_attack(
            inside,
            outside,
            seed=seed,
            member_groups=real.identities,
            holdout_groups=holdout.identities,
            resamples=resamples,
        )
        for name, (inside, outside) in _scores(synthetic, real, holdout, search, seed).items()
    }


def _scores(
    synthetic: ImageSet, real: ImageSet, holdout: ImageSet, search: _EmbeddedSearch, seed: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Both scores of every member and of everybody in the holdout, higher for likelier members."""
    generator = np.random.default_rng(seed)
    half_out = (generator.permutation(holdout.num_identities) % 2 == 0)[holdout.identities]
    half_in = (generator.permutation(real.num_identities) % 2 == 0)[real.identities]
    members, made = search.embedded(real.images), search.embedded(synthetic.images)
    halves = {half: search.embedded(holdout.images[half_out == half]) for half in (False, True)}
    near_in = search.distance(members, made)
    near_out, reference_out = np.empty(len(holdout)), np.empty(len(holdout))
    reference_in = np.empty(len(real))
    for half in (False, True):
        near_out[half_out == half] = search.distance(halves[half], made)
        reference_out[half_out == half] = search.distance(halves[half], halves[not half])
        reference_in[half_in == half] = search.distance(members, halves[not half])[half_in == half]
    floor = _FLOOR * float(np.median(reference_out)) or 1.0

    def ratio(reference: np.ndarray, near: np.ndarray) -> np.ndarray:
        return np.log(reference + floor) - np.log(near + floor)

    return {
        "set_distance": (-near_in, -near_out),
        "set_density_ratio": (ratio(reference_in, near_in), ratio(reference_out, near_out)),
    }


class _EmbeddedSearch:
    """Distances to the nearest image, in one embedding and within one bound on memory."""

    def __init__(self, embed: Embed, max_bytes: int, progress: Progress) -> None:
        self._embed, self._max_bytes, self._progress = embed, max_bytes // 4, progress

    def embedded(self, images: np.ndarray) -> EmbeddedImages:
        return EmbeddedImages(as_planes(images), self._embed, max_bytes=self._max_bytes)

    def distance(self, images: EmbeddedImages, others: EmbeddedImages) -> np.ndarray:
        """Of every image to the nearest of the others: float64 [n]."""

        def tell(stage: str, done: int, total: int, figures: object) -> None:
            self._progress("set attack", done, total, {})

        distance, _ = nearest_rows(images, others, 1, max_bytes=self._max_bytes, progress=tell)
        return distance[:, 0].cpu().double().numpy()


def as_float(embed: Embed) -> Embed:
    """Hand an embedding that takes floats in [-1, 1] the uint8 planes that are kept in memory."""

    @torch.no_grad()
    def embedded(images: Tensor) -> Tensor:
        return embed(images.float() / 127.5 - 1)

    return embedded
