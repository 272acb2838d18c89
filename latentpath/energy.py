"""The path energy: smoothness, identity repulsion and class consistency (DESIGN.md, section 3).

    E = smoothness * sum_t |w_{t+1} - w_t|^2
      + identity * sum_t a_t KL(uniform || softmax id(G(w_t)))
      + classification * sum_t a_t CE(class(G(w_t)), y)

`a_t` are per-point weights, one unless a solver says otherwise (the published one divides by the
size of the chunk a point fell into). Source: Pennisi et al., "A Privacy-Preserving Walk in the
Latent Space of Generative Models for Medical Applications", MICCAI 2023, equations 3 to 6.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentpath import ops
from latentpath.errors import InputError, ShapeError
from latentpath.generators import Generator

ImageModel = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class EnergyWeights:
    """How much each term counts; the published values are the defaults."""

    smoothness: float = 1.0
    """Weight of the squared distances between consecutive points."""
    identity: float = 0.1
    """Weight of the repulsion from real people."""
    classification: float = 1.0
    """Weight of class consistency."""


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


class IdentityGuide:
    """How much images [M, C, H, W] look like one real person: KL(uniform || softmax(logits)), [M].

    Args:
        model: images to identity logits [M, N].
        split_head: where the model ends in a linear layer, run the layers before it and let
            `ops.bank_lse` do the head, so that no [M, N] logits exist. None decides by size:
            with fewer identities than `min_identities` the logits are cheap.
        min_identities: from how many identities on `None` splits.
    """

    def __init__(
        self, model: ImageModel, *, split_head: bool | None = None, min_identities: int = 20_000
    ) -> None:
        self.model = model
        self._split_head, self._min_identities = split_head, min_identities
        self._head: _LinearHead | None = None
        self._searched = split_head is False

    def energy(self, images: Tensor) -> Tensor:  # [M, C, H, W] -> [M]
        """The divergence of each image, in nats."""
        if not self._searched:
            self._head, self._searched = self._find_head(images[:1].detach()), True
        if self._head is None:
            return ops.kl_uniform(self.model(images))
        return self._head.energy(images)

    def _find_head(self, image: Tensor) -> _LinearHead | None:
        found = find_linear_head(self.model, image)
        if found is None and self._split_head:
            raise InputError(
                expected="an identity classifier that ends in a linear layer",
                got=f"a {type(self.model).__name__} without one",
                fix="leave split_head at None or False",
            )
        small = found is not None and found[1].out_features < self._min_identities
        if found is None or (small and not self._split_head):
            return None
        return _LinearHead(*found)


class _LinearHead:
    """The identity energy from a trunk's features, without logits (DESIGN.md, section 3)."""

    def __init__(self, trunk: nn.Module, linear: nn.Linear) -> None:
        self.trunk = trunk
        self.bank = linear.weight.detach()  # [N, F]
        self.bias = None if linear.bias is None else linear.bias.detach()  # [N]
        self.mean_row = self.bank.mean(dim=0)
        self.mean_bias = 0.0 if self.bias is None else float(self.bias.mean())
        self.log_n = math.log(len(self.bank))

    def energy(self, images: Tensor) -> Tensor:  # [M, C, H, W] -> [M]
        features = self.trunk(images)
        lse, _ = ops.bank_lse(features, self.bank, self.bias)
        return lse - (features @ self.mean_row + self.mean_bias) - self.log_n


class ClassGuide:
    """Cross-entropy of the class classifier against each image's label, [M].

    Args:
        model: images to class logits [M, K].
    """

    def __init__(self, model: ImageModel) -> None:
        self.model = model

    def energy(self, images: Tensor, labels: Tensor) -> Tensor:  # [M, C, H, W], [M] -> [M]
        """The cross-entropy of each image, in nats."""
        logits = self.model(images)
        if int(labels.max()) >= logits.shape[1] or int(labels.min()) < 0:
            raise InputError(
                expected=f"labels from 0 to {logits.shape[1] - 1}, as the classifier knows them",
                got=f"{int(labels.min())} to {int(labels.max())}",
                fix="use the classifier that was trained on these classes",
            )
        return F.cross_entropy(logits, labels, reduction="none")


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

    One-channel images are repeated to three for a classifier whose first convolution wants three
    (and for callables that do not say), as the published code does.
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
    ) -> None:
        if micro_batch < 0:
            raise InputError(
                expected="micro_batch of at least 0", got=str(micro_batch), fix="raise it"
            )
        self.generator, self.weights = generator, weights or EnergyWeights()
        self.micro_batch = micro_batch
        self._models = [identity, classifier, getattr(generator, "network", generator)]
        self._identity = IdentityGuide(identity, split_head=split_head)
        self._class = ClassGuide(classifier)
        self._identity_channels = _wanted_channels(identity)
        self._class_channels = _wanted_channels(classifier)

    def images(self, points: Tensor) -> Tensor:  # [M, D] -> [M, C, H, H]
        """The generator's images, clamped to [-1, 1]."""
        return self.generator.synthesize(points).clamp(-1, 1)

    def _guides(self, points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        images = self.images(points)
        identity = self._identity.energy(_with_channels(images, self._identity_channels))
        return identity, self._class.energy(_with_channels(images, self._class_channels), labels)

    def guide_gradient(
        self,
        points: Tensor,  # [M, D]
        labels: Tensor,  # [M]
        point_weights: Tensor,  # [M]
    ) -> Tensor:  # [M, D]
        """Gradient of the weighted identity and class terms with respect to the points."""
        gradient = torch.empty_like(points)
        with self._evaluating():
            for rows in self._micro_batches(points):
                w = points[rows].detach().requires_grad_()
                with torch.enable_grad():
                    identity, classification = self._guides(w, labels[rows])
                    energy = (
                        self.weights.identity * identity
                        + self.weights.classification * classification
                    )
                    (gradient[rows],) = torch.autograd.grad((energy * point_weights[rows]).sum(), w)
        return gradient

    @torch.no_grad()
    def terms(
        self,
        path: Tensor,  # [B, T, D]
        labels: Tensor,  # [B]
        point_weights: Tensor | None = None,  # [T]
        eps_distance: float = 0.0,
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
        with self._evaluating():
            for rows in self._micro_batches(points):
                identity[rows], classification[rows] = self._guides(points[rows], per_point[rows])
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

    def _micro_batches(self, points: Tensor) -> Iterator[slice]:
        size = self.micro_batch or (64 if points.device.type == "cpu" else 512)
        for first in range(0, len(points), size):
            yield slice(first, min(first + size, len(points)))

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


def find_linear_head(model: ImageModel, image: Tensor) -> tuple[nn.Module, nn.Linear] | None:
    """Split a model that ends in a linear layer into (trunk, head), sharing its weights.

    The last `nn.Linear` is the head if `image` [1, C, H, W] gives the same logits with it cut off
    and applied afterwards; None otherwise.
    """
    if not isinstance(model, nn.Module):
        return None
    names = [name for name, module in model.named_modules() if type(module) is nn.Linear]
    if not names or isinstance(model, nn.Linear):
        return None
    trunk, head = _without(model, names[-1].split(".")), model.get_submodule(names[-1])
    assert isinstance(head, nn.Linear)
    with torch.no_grad():
        whole, features = model(image), trunk(image)
        if features.shape[-1] != head.in_features or features.ndim != 2:
            return None
        split = head(features)
    same = whole.shape == split.shape and torch.allclose(whole, split, rtol=1e-4, atol=1e-5)
    return (trunk, head) if same else None


def _without(model: nn.Module, path: list[str]) -> nn.Module:
    """A shallow copy of `model` with the submodule at `path` replaced by an identity."""
    if not path:
        return nn.Identity()
    clone = copy.copy(model)
    clone._modules = dict(model._modules)
    child = model._modules[path[0]]
    assert child is not None
    clone._modules[path[0]] = _without(child, path[1:])
    return clone


def _wanted_channels(model: ImageModel) -> int:
    """Image channels of a classifier: its own word, else its first convolution's, else three."""
    channels = getattr(model, "img_channels", None)
    if isinstance(channels, int):
        return channels
    if isinstance(model, nn.Module):
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                return module.in_channels
    return 3


def _with_channels(images: Tensor, channels: int) -> Tensor:  # [M, C, H, W]
    if images.shape[1] == channels:
        return images
    if images.shape[1] == 1:
        return images.expand(-1, channels, -1, -1)
    raise ShapeError(
        expected=f"images with {channels} channel(s), as the classifier was trained on",
        got=f"{images.shape[1]} channels from the generator",
        fix="use a classifier for images of these channels",
    )
