"""Distances between latents as the generator means them, and walks that measure by them.

A generator's own latents fill a few directions of their space and hardly any of the others. Steps
that are measured coordinate by coordinate leave them at once, for images that no person resembles
because they resemble little; models learn less from those. In the metric of the covariance of
generated latents (Mahalanobis, 1936),

    |a - b|^2 = (a - b)^T (2 C + 2 floor c I)^-1 (a - b),    c the largest eigenvalue of C,

two independent draws are one unit apart in each coordinate (2 C is their difference's covariance),
a step in a direction that the generator uses little is a long one, and smoothness holds paths where
the generator is good. A walk in a metric is an ordinary walk in coordinates in which the metric is
the usual one: straight lines stay straight, and the kernels know nothing of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from latentpath.core import InputError, check_above_zero, check_at_least
from latentpath.energy import in_stacks
from latentpath.generators import Generator
from latentpath.models import Networks, Surrogate
from latentpath.walks.requests_and_results import with_ends

# Rows and paths that change their coordinates together elsewhere than on processors.
_TOGETHER = 256
# Draws that the covariance is estimated from, for each coordinate, and at least.
_PER_COORDINATE, _LEAST = 32, 4096
_EUCLIDEAN = "walk in the Euclidean metric: --latent-metric euclidean"


@dataclass(frozen=True, eq=False)
class LatentMetric:
    """Coordinates u = (w - mean) inverse in which a metric of latents is the usual one."""

    mean: Tensor
    """[D]"""
    root: Tensor
    """[D, D], symmetric: w = mean + u root."""
    inverse: Tensor
    """[D, D], of the root."""

    @classmethod
    def of_covariance(cls, mean: Tensor, covariance: Tensor, floor: float = 0.1) -> LatentMetric:
        """The metric of a covariance [D, D].

        Args:
            mean: [D], where coordinates begin.
            covariance: symmetric, in squared units of the latents.
            floor: added to all of its eigenvalues, as a share of the largest: how much longer a
                step is in directions that the generator does not use.

        Raises:
            InputError: a covariance of nothing, or a floor that is not above zero.
        """
        check_above_zero(floor=floor)
        covariance = covariance.double().cpu()
        if not (bool(covariance.isfinite().all()) and bool(covariance.any())):
            raise InputError(
                expected="finite latents that differ from each other",
                got="a covariance of zeros" if bool(covariance.isfinite().all()) else "NaN",
                fix=f"check the generator's sample(n), or {_EUCLIDEAN}",
            )
        values, vectors = torch.linalg.eigh(covariance)
        largest = float(values[-1])
        lengths = (2 * (values.clamp_min(0) + floor * largest)).sqrt()
        root = (vectors * lengths) @ vectors.T
        inverse = (vectors / lengths) @ vectors.T
        return cls(mean.detach(), root.to(mean), inverse.to(mean))

    @classmethod
    def of_generator(cls, generator: Any, *, floor: float = 0.1, seed: int = 0) -> LatentMetric:
        """The metric of a generator's own latents, from draws with `sample(n)`.

        Of a generator with classes (`c_dim` above 1) it is that of the mean covariance within a
        class: how far classes lie apart says nothing of a walk, which stays in one.

        Args:
            generator: with the method `sample`, as `latentpath.generators.StyleGAN2` has it; one
                with classes takes their numbers as `labels`.
            floor: see `of_covariance`.
            seed: of the draws; the caller's random numbers are left alone.

        Raises:
            InputError: a generator that cannot sample, or whose latents are all the same.
        """
        check_at_least(0, seed=seed)
        if not callable(getattr(generator, "sample", None)):
            raise InputError(
                expected="a generator with sample(n), whose latents show how far apart they are",
                got=f"a {type(generator).__name__} without one",
                fix=_EUCLIDEAN,
            )
        count = max(_LEAST, _PER_COORDINATE * generator.latent_dim)
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(seed)
            parts = list(_draws(generator, count))
        mean = torch.stack([part.mean(dim=0) for part in parts]).mean(dim=0)
        covariance = torch.stack([torch.cov(part.T) for part in parts]).mean(dim=0)
        return cls.of_covariance(mean.float(), covariance, floor)

    def into(self, w: Tensor) -> Tensor:  # [..., D] -> [..., D]
        """Latents in the coordinates of the metric."""
        return (w - self.mean) @ self.inverse

    def back(self, u: Tensor) -> Tensor:  # [..., D] -> [..., D]
        """Coordinates of the metric as latents."""
        return u @ self.root + self.mean

    def ends_into(self, ends: Tensor) -> Tensor:  # [B, 2, D] -> [B, 2, D]
        """Ends of paths in the coordinates of the metric, the same bits in any company."""
        each = in_stacks(self.into, ends.flatten(0, 1), together=_TOGETHER)
        return each.view_as(ends)

    def paths_back(self, paths: Tensor, ends: Tensor) -> Tensor:  # [B, T, D], [B, 2, D]
        """Paths as latents, the same bits in any company, with these ends bit for bit."""
        latents = in_stacks(self.back, paths, together=_TOGETHER)
        return with_ends(latents, *ends.unbind(dim=1))

    def networks(self, networks: Networks) -> Networks:
        """The same networks for latents in the coordinates of the metric."""
        generator = _InMetric(networks.generator, self)
        surrogate = networks.surrogate
        if surrogate is not None:
            surrogate = self._surrogate(surrogate)
        return replace(networks, generator=generator, surrogate=surrogate)

    def visited(self, visited: Callable[[Tensor], None] | None) -> Callable[[Tensor], None] | None:
        """A listener for latents, as one for coordinates of the metric."""
        return None if visited is None else lambda u: visited(self.back(u))

    def _surrogate(self, surrogate: Surrogate) -> Surrogate:
        """The same function of w, with the change of coordinates in its first layer."""
        made = Surrogate(**surrogate.config).to(surrogate.centre)
        made.load_state_dict(surrogate.state_dict())
        made.trained_for = surrogate.trained_for
        weight = surrogate.first.weight.double() / surrogate.spread.double()
        moved = weight @ (self.mean - surrogate.centre).to(weight)
        with torch.no_grad():
            made.first.weight.copy_(weight @ self.root.to(weight))
            made.first.bias.copy_(surrogate.first.bias.double() + moved)
            made.centre.zero_()
            made.spread.fill_(1.0)
        return made.eval().requires_grad_(False)


def _draws(generator: Any, count: int) -> Iterator[Tensor]:  # [count, D] each, float64
    """Latents of each of a generator's classes, or of all there is."""
    classes = int(getattr(generator, "c_dim", 0))
    if classes < 2:
        yield generator.sample(count).double()
        return
    for label in range(classes):
        yield generator.sample(count, labels=torch.full((count,), label)).double()


class _InMetric:
    """A generator of latents in the coordinates of a metric."""

    def __init__(self, generator: Generator, metric: LatentMetric) -> None:
        # What it wraps, for whoever asks for its modules or its weights.
        self.network = getattr(generator, "network", generator)
        self.latent_dim = generator.latent_dim
        self.img_channels, self.img_resolution = generator.img_channels, generator.img_resolution
        self._generator, self._metric = generator, metric

    def synthesize(self, u: Tensor) -> Tensor:  # [M, D] -> [M, C, H, H]
        return self._generator.synthesize(self._metric.back(u))
