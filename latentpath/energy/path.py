"""The energy of batches of paths, its terms, and its gradient."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from latentpath.energy.guides import ClassGuide, IdentityGuide
from latentpath.energy.images import ChannelMatch, ImageModel, check_gradients, images_of
from latentpath.errors import InputError
from latentpath.generators import Generator
from latentpath.generators.checks import check_finite, check_whole
from latentpath.generators.precision import Precision, PrecisionName


@dataclass(frozen=True)
class EnergyWeights:
    """How much each term counts; the published values are the defaults."""

    smoothness: float = 1.0
    """Weight of the squared distances between consecutive points."""
    identity: float = 0.1
    """Weight of the repulsion from real people."""
    classification: float = 1.0
    """Weight of class consistency."""

    def __post_init__(self) -> None:
        check_finite(**vars(self))


@dataclass(frozen=True)
class EnergyTerms:
    """The terms of the energy of each path, [B], before their weights, and their weighted sum."""

    smoothness: Tensor
    """Sum of squared distances between consecutive points."""
    identity: Tensor
    """Sum over the points of a_t times the KL divergence from uniform, in nats."""
    classification: Tensor
    """Sum over the points of a_t times the cross-entropy, in nats."""
    total: Tensor
    """The weighted sum, which the solver lowers."""

    def __getitem__(self, index: int | slice | Tensor) -> EnergyTerms:
        return EnergyTerms(*(getattr(self, name)[index] for name in self.names()))

    @staticmethod
    def names() -> tuple[str, ...]:
        """The terms in their order."""
        return ("smoothness", "identity", "classification", "total")

    def as_dict(self) -> dict[str, list[float]]:
        """Plain numbers, one list per term."""
        return {name: getattr(self, name).tolist() for name in self.names()}


@dataclass(frozen=True)
class _MicroBatch:
    """Points that go through the networks together."""

    rows: slice
    """Where they come from."""
    points: Tensor
    """[size, D]; the first `count` are the points of `rows`, the others copies."""
    labels: Tensor
    """[size]"""

    @property
    def count(self) -> int:
        """How many points of their own these are."""
        return self.rows.stop - self.rows.start

    def filled(self, size: int) -> _MicroBatch:
        """As many points as `size`."""
        if self.count == size:
            return self
        index = torch.arange(size, device=self.points.device) % self.count
        return _MicroBatch(self.rows, self.points[index], self.labels[index])


class PathEnergy:
    """The energy of batches of paths under one generator and two classifiers.

    Args:
        generator: latents to images.
        identity: images to identity logits [M, N].
        classifier: images to class logits [M, K].
        weights: weights of the terms.
        micro_batch: points that go through the networks together; bounds the memory. 0 chooses:
            64 on a CPU, whose caches hold no more of a small generator's layers, else 512.
        split_head: see `IdentityGuide`.
        precision: what the networks compute in for `guide_gradient`: a `Precision` or its name.
            `terms` computes in float32 unless asked otherwise.
        fixed_batches: give the networks `micro_batch` points every time, the last ones filled up
            with copies. Then a point's gradient is the same, bit for bit, whatever points go with
            it (on a CPU: for a `micro_batch` that is a multiple of 8, or one thread).

    One-channel images are repeated to three for a classifier that takes three, as the published
    code does; see `ChannelMatch`.
    """

    def __init__(
        self,
        generator: Generator,
        identity: ImageModel,
        classifier: ImageModel,
        *,
        weights: EnergyWeights | None = None,
        micro_batch: int = 0,
        split_head: bool | None = None,
        precision: Precision | PrecisionName = "float32",
        fixed_batches: bool = False,
    ) -> None:
        check_whole(0, micro_batch=micro_batch)
        self.precision, self.fixed_batches = Precision.of(precision), fixed_batches
        self.generator, self.weights = generator, weights or EnergyWeights()
        self.micro_batch = micro_batch
        self._models = [identity, classifier, getattr(generator, "network", generator)]
        self._identity = IdentityGuide(identity, split_head=split_head)
        self._class = ClassGuide(classifier)
        self._for_identity, self._for_class = ChannelMatch(identity), ChannelMatch(classifier)
        self._gradients_flow = False

    def images(self, points: Tensor) -> Tensor:  # [M, D] -> [M, C, H, H]
        """The generator's images, clamped to [-1, 1]."""
        return images_of(self.generator, points)

    def _guides(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        identity = self._identity.energy(self._for_identity(images))
        return identity, self._class.energy(self._for_class(images), labels)

    def guide_gradient(
        self,
        points: Tensor,  # [M, D]
        labels: Tensor,  # [M]
        point_weights: Tensor,  # [M]
    ) -> Tensor:  # [M, D]
        """Gradient of the weighted identity and class terms with respect to the points.

        Raises:
            InputError: no gradient flows through the generator or through a classifier that
                counts, or inference mode is on, which records none.
        """
        if torch.is_inference_mode_enabled():
            raise InputError(
                expected="a walk outside torch.inference_mode(), which records no gradients",
                got="inference mode",
                fix="leave it for this call; torch.no_grad() does no harm",
            )
        gradient = torch.empty_like(points)
        with self._evaluating():
            for batch in self._micro_batches(points, labels):
                w = batch.points.detach().requires_grad_()
                with torch.enable_grad(), self.precision.on(points.device):
                    images = self.images(w)
                    identity, classification = self._guides(images, batch.labels)
                if not self._gradients_flow:
                    self._check_gradients(w, images, identity, classification)
                with torch.enable_grad():
                    energy = (
                        self.weights.identity * identity
                        + self.weights.classification * classification
                    )[: batch.count]
                    energy = energy * point_weights[batch.rows]
                slope = _gradient(energy, w, keep=False)
                gradient[batch.rows] = 0 if slope is None else slope[: batch.count]
        return gradient

    def _check_gradients(
        self, points: Tensor, images: Tensor, identity: Tensor, classification: Tensor
    ) -> None:
        """Once: an energy that stands still would leave a path as private as it was, silently."""
        if self.weights.identity != 0 or self.weights.classification != 0:
            check_gradients(generator=_gradient(images, points))
        if self.weights.identity != 0:
            check_gradients(identity_classifier=_gradient(identity, images))
        if self.weights.classification != 0:
            check_gradients(class_classifier=_gradient(classification, images))
        self._gradients_flow = True

    @torch.no_grad()
    def terms(
        self,
        path: Tensor,  # [B, T, D]
        labels: Tensor,  # [B]
        point_weights: Tensor | None = None,  # [T]
        eps_distance: float = 0.0,
        *,
        precision: Precision | PrecisionName = "float32",
    ) -> EnergyTerms:
        """The true energy of each path; points of weight zero are not looked at.

        `eps_distance` is added to every coordinate difference before squaring; the published
        code's pairwise distance adds 1e-6.
        """
        b, t, d = path.shape
        a = torch.ones(t, device=path.device) if point_weights is None else point_weights
        counted = a != 0
        points = path[:, counted].reshape(-1, d)
        per_point = labels.repeat_interleave(int(counted.sum()))
        identity = torch.empty(len(points), device=path.device)
        classification = torch.empty_like(identity)
        with self._evaluating(), Precision.of(precision).on(points.device):
            for batch in self._micro_batches(points, per_point):
                guides = self._guides(self.images(batch.points), batch.labels)
                identity[batch.rows], classification[batch.rows] = (
                    energy[: batch.count] for energy in guides
                )
        smoothness = (path[:, :-1] - path[:, 1:] + eps_distance).square().sum(dim=[1, 2])
        identity = (identity.view(b, -1) * a[counted]).sum(dim=1)
        classification = (classification.view(b, -1) * a[counted]).sum(dim=1)
        weights = self.weights
        total = (
            weights.smoothness * smoothness
            + weights.identity * identity
            + weights.classification * classification
        )
        return EnergyTerms(smoothness, identity, classification, total)

    def _micro_batches(self, points: Tensor, labels: Tensor) -> Iterator[_MicroBatch]:
        size = self.micro_batch or (64 if points.device.type == "cpu" else 512)
        for first in range(0, len(points), size):
            rows = slice(first, min(first + size, len(points)))
            batch = _MicroBatch(rows, points[rows], labels[rows])
            yield batch.filled(size) if self.fixed_batches else batch

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """All networks in eval mode, and every layer back to what it was afterwards."""
        networks = [m for m in self._models if isinstance(m, nn.Module)]
        was_training = {layer: layer.training for m in networks for layer in m.modules()}
        try:
            for network in networks:
                network.eval()
            yield
        finally:
            for network in networks:
                network.train(was_training[network])
            # Layer by layer too: a network in training may hold layers frozen in eval mode.
            for layer, training in was_training.items():
                layer.training = training


def _gradient(result: Tensor, source: Tensor, *, keep: bool = True) -> Tensor | None:
    """Gradient of the sum of `result`, None where it does not depend; `keep` keeps the graph."""
    if not result.requires_grad or not source.requires_grad:
        return None
    with torch.enable_grad():
        total = result.sum()
    return torch.autograd.grad(total, source, retain_graph=keep, allow_unused=True)[0]
