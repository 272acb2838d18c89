"""The likelihood-ratio attack on membership (LiRA).

For every person, shadow models trained with and without that person show how confident a model
is in either case. Two Gaussians are fitted to these confidences, and the target model's confidence
is compared with them. Online: the ratio of both densities. Offline: how far the confidence lies
above that of the models without the person; it needs no model trained with the candidates.

Source: Carlini, Chien, Nasr, Song, Terzis, Tramer, "Membership Inference Attacks From First
Principles", IEEE S&P 2022, section IV and equations 2 to 4. One departure: the variance that all
people share is that of the deviations from each person's own mean, not of all confidences.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from latentpath.core import DataError, ShapeError

# Below this many models on a side, its variances are shared by all people, as a variance of few
# numbers is mostly noise; the paper does so below 64 models, 32 on each side.
OWN_VARIANCE_FROM = 32

_SMALLEST_VARIANCE = 1e-12


def confidence(
    logits: Tensor,  # [..., n, K]
    labels: Tensor,  # [n]
) -> np.ndarray:  # float64 [..., n]
    """log(p / (1 - p)) of the true class's probability p, from logits, without overflow.

    Raises:
        DataError: fewer than two classes, or logits that are not finite.
    """
    if logits.shape[-1] < 2 or not torch.isfinite(logits).all():
        raise DataError(
            expected="finite logits over at least two classes",
            got=f"{logits.shape[-1]} classes, or NaN or infinity",
            fix="membership inference needs a sound classifier of at least two classes",
        )
    wide = logits.detach().to("cpu", torch.float64)
    place = labels.cpu().long().expand(wide.shape[:-1])[..., None]
    own = wide.gather(-1, place)[..., 0]
    others = wide.scatter(-1, place, -torch.inf).logsumexp(-1)
    return (own - others).numpy()


def lira_online(
    target: np.ndarray,  # [n], the target model's confidences
    shadows: np.ndarray,  # [S, n], the shadow models' confidences
    inside: np.ndarray,  # bool [S, n], who each shadow model was trained on
) -> np.ndarray:  # float64 [n]
    """Logarithm of the likelihood ratio: member over holdout.

    Raises:
        ShapeError: arrays that do not fit each other.
        DataError: a person who is in all shadow models, or in none.
    """
    _check(target, shadows, inside, sides=(True, False))
    mean_in, variance_in = _gaussians(shadows, inside)
    mean_out, variance_out = _gaussians(shadows, ~inside)
    with_person = np.log(variance_in) + (target - mean_in) ** 2 / variance_in
    without = np.log(variance_out) + (target - mean_out) ** 2 / variance_out
    return 0.5 * (without - with_person)


def lira_offline(
    target: np.ndarray,  # [n]
    shadows: np.ndarray,  # [S, n]
    inside: np.ndarray,  # bool [S, n]
) -> np.ndarray:  # float64 [n]
    """Standard deviations above the mean of the models without the person.

    It orders people as the paper's one-sided test, 1 - Pr[Z > confidence], does, and does not
    saturate.

    Raises:
        ShapeError: arrays that do not fit each other.
        DataError: a person who is in all shadow models.
    """
    _check(target, shadows, inside, sides=(False,))
    mean, variance = _gaussians(shadows, ~inside)
    return (target - mean) / np.sqrt(variance)


def aligned(
    target: np.ndarray,  # [n]
    shadows: np.ndarray,  # [S, n]
) -> np.ndarray:  # [n]
    """Shift the target's confidences so that their mean is that of the shadow models.

    A model trained on a synthetic set is less sure of all real people than one trained on half of
    them. The shift is visible to anyone who has the candidates, and without it the Gaussians
    would be compared far out in their tails.
    """
    return target + (shadows.mean() - target.mean())


def random_halves(
    people: np.ndarray,  # [n], person of each row
    count: int,
    seed: int,
) -> np.ndarray:  # bool [count, n]
    """Who each of `count` shadow models is trained on: each person in half of the models.

    All rows of a person go together. Models come in pairs that share nobody, so with an even
    `count` every person is in exactly half of them.
    """
    generator = np.random.default_rng(seed)
    names, place = np.unique(people, return_inverse=True)
    rows = []
    for _ in range((count + 1) // 2):
        half = generator.permutation(len(names)) % 2 == 0
        rows += [half, ~half]
    return np.stack(rows[:count])[:, place]


def _gaussians(
    shadows: np.ndarray,  # [S, n]
    chosen: np.ndarray,  # bool [S, n]
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance per person over the chosen models."""
    number = chosen.sum(0)  # [n]
    mean = np.where(chosen, shadows, 0.0).sum(0) / number
    squares = np.where(chosen, (shadows - mean) ** 2, 0.0).sum(0)
    if number.min() >= OWN_VARIANCE_FROM:
        variance = squares / (number - 1)
    else:
        shared = squares.sum() / max(1, int((number - 1).sum()))
        variance = np.full(len(number), shared)
    return mean, np.maximum(variance, _SMALLEST_VARIANCE)


def _check(
    target: np.ndarray, shadows: np.ndarray, inside: np.ndarray, sides: tuple[bool, ...]
) -> None:
    n = len(target)
    if target.shape != (n,) or shadows.shape[1:] != (n,) or inside.shape != shadows.shape:
        raise ShapeError(
            expected="confidences [n] and [S, n] with inside [S, n]",
            got=f"{list(target.shape)}, {list(shadows.shape)}, {list(inside.shape)}",
            fix="give one confidence per person and model",
        )
    if any(not (inside == side).any(0).all() for side in sides):
        raise DataError(
            expected="shadow models with and without every person",
            got=f"{len(shadows)} models that leave somebody always in or always out",
            fix="train more shadow models, at least two, as random_halves divides them",
        )
