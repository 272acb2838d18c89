"""Where a surrogate learns: points of the latent space, and what the networks say there."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from latentpath.core import DataError, evaluating
from latentpath.energy import (
    ChannelMatch,
    FeatureEnergy,
    as_image_model,
    check_gradients,
    find_identity_head,
    first_guess,
    gradient,
    images_of,
    logits_of,
)
from latentpath.models import Networks


@dataclass(frozen=True)
class Truth:
    """Points and what the networks say there, all in float32."""

    points: Tensor
    """[n, D]"""
    features: Tensor
    """[n, F], the identity classifier's last features."""
    logits: Tensor
    """[n, K], of the class classifier."""
    energy: Tensor
    """[n], the divergence of the identity logits from uniform, nats."""
    gradient: Tensor
    """[n, D], the gradient of `energy`, nats per latent unit."""

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, rows: Tensor | slice) -> Truth:
        return Truth(**{name: tensor[rows] for name, tensor in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """The fields by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @staticmethod
    def cat(parts: list[Truth]) -> Truth:
        """All points of several."""
        names = [field.name for field in fields(Truth)]
        return Truth(**{name: torch.cat([getattr(p, name) for p in parts]) for name in names})


class Teacher:
    """What a surrogate learns from: the networks that it stands in for.

    Args:
        networks: with a generator as from `Networks.for_latents` and an identity classifier that
            ends in a linear layer.
        latent: one latent [1, D] to look at the networks with.

    Raises:
        InputError: the identity classifier does not end in a linear layer, or no gradient flows
            from its energy to the latents.
    """

    def __init__(self, networks: Networks, latent: Tensor) -> None:
        self.networks = networks
        self._class_match = ChannelMatch(as_image_model(networks.classifier))
        with torch.no_grad(), evaluating(networks.modules()):
            image = images_of(networks.generator, latent)
            self._features, self.head = find_identity_head(networks.identity, image)
            self._class_match.look(image)
        self.feature_energy = FeatureEnergy(self.head, latent)
        self.num_classes = self._logits(image).shape[1]

    def _logits(self, images: Tensor) -> Tensor:
        with torch.no_grad(), evaluating(self.networks.modules()):
            return logits_of(self._class_match.model, self._class_match(images.detach()))

    def truth(self, points: Tensor) -> Truth:  # [n, D]
        """What the networks say at the points, in micro-batches that any machine has room for."""
        size = first_guess(self.networks.generator.img_resolution, points.device)
        with evaluating(self.networks.modules()), torch.enable_grad():
            return Truth.cat([self._micro_batch(part) for part in points.split(size)])

    def _micro_batch(self, points: Tensor) -> Truth:
        w = points.detach().requires_grad_()
        with torch.autocast(w.device.type, enabled=False):
            images = images_of(self.networks.generator, w)
            features = self._features(images).float()
            energy = self.feature_energy(features)
            logits = self._logits(images)
            slope = gradient(energy, w, keep=False)
        check_gradients(generator_or_identity_classifier=slope)
        assert slope is not None
        return Truth(points.detach(), features.detach(), logits, energy.detach(), slope)


def endpoints(
    latents: Tensor,  # [n, D]
    labels: Tensor,  # [n]
    classes: Tensor,  # [m]
    people: int,
) -> Tensor:  # [m, D]
    """Averages of 1 to `people` latents of each class asked for, as far as it has so many.

    Each is that of a random latent and others: its nearest ones, as in the centroids of k-same,
    or, for every second one on average, random ones, which lie nearer to the middle.
    """
    averages = latents.new_empty(len(classes), latents.shape[1])
    for label in classes.unique():
        wanted = classes == label
        members = latents[labels == label]  # [c, D]
        count, most = int(wanted.sum()), min(people, len(members))
        centres = torch.randint(len(members), (count, 1), device=latents.device)
        distances = torch.cdist(members[centres[:, 0]], members)  # [count, c]
        by_chance = torch.rand(count, 1, device=latents.device) < 0.5
        distances = torch.where(by_chance, torch.rand_like(distances), distances)
        distances.scatter_(1, centres, -1.0)  # itself comes first
        nearest = distances.topk(most, dim=1, largest=False).indices  # [count, most]
        counted = torch.randint(1, most + 1, (count, 1), device=latents.device)
        used = torch.arange(most, device=latents.device) < counted
        averages[wanted] = (members[nearest] * used[..., None]).sum(dim=1) / counted
    return averages


def line_points(
    latents: Tensor,  # [n, D]
    labels: Tensor,  # [n]
    count: int,
    *,
    people: int,
    noise: float,
) -> Tensor:  # [count, D]
    """Points on straight lines between endpoints of one class, each with noise of its own scale.

    Args:
        latents: latents of the real images.
        labels: their classes.
        count: how many points.
        people: most latents that an endpoint averages.
        noise: largest standard deviation of a point's noise, in mean standard deviations of the
            latents' coordinates.
    """
    classes = labels[torch.randint(len(labels), (count,), device=labels.device)]
    start, end = (endpoints(latents, labels, classes, people) for _ in range(2))
    share, scale = torch.rand(2, count, 1, device=latents.device)
    spread = noise * latents.std(dim=0, correction=0).mean()
    return start + share * (end - start) + scale * spread * torch.randn_like(start)


def check_latents(latents: Tensor, labels: Tensor) -> None:
    """Raise DataError unless these are finite latents [n, D], n >= 2, with integers [n]."""
    shaped = latents.ndim == 2 and latents.is_floating_point() and len(latents) > 1
    if not shaped or labels.shape != latents.shape[:1] or labels.is_floating_point():
        raise DataError(
            expected="latents [n, D] of at least two images with integer labels [n]",
            got=f"{list(latents.shape)} and {list(labels.shape)}",
            fix="encode the private set and pass its labels",
        )
    if not torch.isfinite(latents).all():
        raise DataError(
            expected="finite latents",
            got="NaN or infinity",
            fix="train the encoder again, or leave those images out",
        )
