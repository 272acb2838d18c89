"""The gate: the tests that every sample must pass before it is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from latentpath.core import Progress, silent
from latentpath.data import to_tensor
from latentpath.models import Networks, predict
from latentpath.similarity import (
    SEARCH_BYTES,
    RealReference,
    memory_on,
    nearest_other_person,
    nearest_real_of_each,
)

# Reasons to turn a sample away, in the order in which they are counted.
TOO_CLOSE = "too close to a real image"
NAMES_A_PERSON = "recognised as one real person"
OUT_OF_CLASS = "not in its class"


@dataclass(frozen=True)
class Verdict:
    """What the gate says of n samples."""

    accepted: np.ndarray
    """[n] bool."""
    distance: np.ndarray
    """[n] LPIPS to the nearest real image."""
    rejected: dict[str, int]
    """Samples turned away, by the first test that they failed."""


class Gate:
    """Tests samples against the real set.

    Args:
        reference: the real images, embedded.
        networks: their identity classifier over the real people and their class classifier judge.
        quantile: a sample may not be nearer to a real image than this share of real people is
            to the nearest other person; 0 switches the test off.
        max_probability: largest probability for one person; 1 switches the test off.
        in_class: turn away samples of another class than their label.
        threshold: smallest LPIPS distance to a real image, where it is known already; None
            computes it from `quantile`.
    """

    def __init__(
        self,
        reference: RealReference,
        networks: Networks,
        *,
        quantile: float = 0.05,
        max_probability: float = 0.5,
        in_class: bool = True,
        threshold: float | None = None,
    ) -> None:
        self.reference, self.networks = reference, networks
        self.max_probability, self.in_class = max_probability, in_class
        self.threshold = smallest_distance(reference, quantile) if threshold is None else threshold

    def test(self, images: np.ndarray, labels: np.ndarray) -> Verdict:
        """Judge samples as they would be written.

        Args:
            images: uint8 [n, H, W, C].
            labels: [n] class of each.
        """
        return self.test_each([(images, labels)])[0]

    def test_each(self, sets: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[Verdict]:
        """Judge several sets of images and labels, each as `test` does.

        Real images that are not kept as embeddings are embedded once for many of them.
        """
        memory = memory_on(self.networks.device, SEARCH_BYTES)
        near = nearest_real_of_each(
            [images for images, _ in sets], self.reference, max_bytes=memory
        )
        return [
            self._judge(*samples, found.distance) for samples, found in zip(sets, near, strict=True)
        ]

    def _judge(self, images: np.ndarray, labels: np.ndarray, distance: np.ndarray) -> Verdict:
        tensor = to_tensor(images).to(self.networks.device)
        largest = predict(self.networks.identity, tensor).softmax(dim=1).amax(dim=1).cpu().numpy()
        # Negated, so that what cannot be judged (NaN) does not pass.
        failed = {
            TOO_CLOSE: ~(distance >= self.threshold),
            NAMES_A_PERSON: ~(largest <= self.max_probability),
        }
        if self.in_class:
            predicted = predict(self.networks.classifier, tensor).argmax(dim=1).cpu()
            failed[OUT_OF_CLASS] = (predicted != torch.as_tensor(labels)).numpy()
        accepted = np.ones(len(images), dtype=bool)
        rejected = {}
        for reason, fails in failed.items():
            rejected[reason] = int((accepted & fails).sum())
            accepted &= ~fails
        return Verdict(accepted, distance, rejected)


def smallest_distance(
    reference: RealReference, quantile: float, progress: Progress = silent
) -> float:
    """LPIPS below which a sample is too close to a real image; 0 where that is not tested."""
    between = nearest_other_person(reference, progress=progress) if quantile > 0 else None
    return 0.0 if between is None else between.quantile(quantile)
