"""What latentpath asks of a generator, and adapters for everything else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from latentpath.core import InputError, ShapeError


@runtime_checkable
class Generator(Protocol):
    """Anything that turns latents into images.

    Attributes:
        latent_dim: width D of a latent.
        img_channels: 1 grey, 3 colour.
        img_resolution: side of the square images, pixels.
    """

    @property
    def latent_dim(self) -> int: ...

    img_channels: int
    img_resolution: int

    def synthesize(self, w: Tensor) -> Tensor:  # [M, D] -> [M, C, H, H]
        """Images of latents; values outside [-1, 1] are clamped by whoever uses them."""
        ...


class FunctionGenerator:
    """A generator made of two callables.

    Args:
        synthesize: latents [M, D] to images [M, C, H, H] in [-1, 1], differentiable.
        sample: number of latents wanted to latents [n, D]; needed only to train an encoder.
        latent_dim: width D of a latent.

    The image's size is found by one call of `synthesize`.

    >>> g = FunctionGenerator(lambda w: w.reshape(-1, 1, 4, 4), lambda n: torch.zeros(n, 16), 16)
    >>> g.synthesize(torch.zeros(2, 16)).shape, g.img_resolution
    (torch.Size([2, 1, 4, 4]), 4)
    """

    def __init__(
        self,
        synthesize: Callable[[Tensor], Tensor],
        sample: Callable[[int], Tensor] | None = None,
        latent_dim: int = 512,
        device: torch.device | str = "cpu",
    ) -> None:
        self._synthesize, self._sample = synthesize, sample
        self.latent_dim = latent_dim
        with torch.no_grad():
            probe = synthesize(torch.zeros(1, latent_dim, device=device))
        if probe.ndim != 4 or probe.shape[2] != probe.shape[3] or probe.shape[1] not in (1, 3):
            raise ShapeError(
                expected=f"images [1, 1 or 3, H, H] from one latent [1, {latent_dim}]",
                got=str(list(probe.shape)),
                fix="reshape the images inside the callable",
            )
        self.img_channels, self.img_resolution = probe.shape[1], probe.shape[2]

    def synthesize(self, w: Tensor) -> Tensor:  # [M, D] -> [M, C, H, H]
        return self._synthesize(w)

    def sample(self, n: int) -> Tensor:  # -> [n, D]
        """Draw latents from the prior."""
        if self._sample is None:
            raise InputError(
                expected="a generator that can sample latents",
                got="one made without `sample`",
                fix="pass FunctionGenerator(..., sample=lambda n: ...)",
            )
        return self._sample(n)


class PublishedGenerator:
    """A network object of the published StyleGAN2-ADA code, as a `Generator`.

    It is called as `network.synthesis(ws, noise_mode="const")` with one w for all layers
    (`network.mapping.num_ws` of them); nothing else of the object is needed, so stand-ins work.
    """

    def __init__(self, network: Any, latent_dim: int) -> None:
        self.network, self.latent_dim = network, latent_dim
        self.num_ws = int(network.mapping.num_ws)
        self.img_channels = int(getattr(network, "img_channels", 0))
        self.img_resolution = int(getattr(network, "img_resolution", 0))

    def synthesize(self, w: Tensor) -> Tensor:  # [M, D] -> [M, C, H, H]
        ws = w.unsqueeze(1).expand(-1, self.num_ws, -1)
        return self.network.synthesis(ws, noise_mode="const")


def as_generator(generator: Any, latent_dim: int) -> Generator:
    """Return `generator` if it meets the protocol, or wrap a published network object.

    Args:
        generator: a `Generator`, or an object with `synthesis(ws, noise_mode=)` and
            `mapping.num_ws`.
        latent_dim: width of the latents that it will be given.

    Raises:
        InputError: neither of the two, or a generator for latents of another width.
    """
    if not hasattr(generator, "synthesize"):
        if hasattr(generator, "synthesis") and hasattr(
            getattr(generator, "mapping", None), "num_ws"
        ):
            return PublishedGenerator(generator, latent_dim)
        raise InputError(
            expected="a generator with synthesize(w), or a published one with synthesis(ws)",
            got=f"a {type(generator).__name__}",
            fix="wrap it: latentpath.generators.FunctionGenerator(synthesize, sample, latent_dim), "
            "or DecoderGenerator(decoder, latent_shape)",
        )
    if generator.latent_dim != latent_dim:
        raise ShapeError(
            expected=f"latents of width {generator.latent_dim}, as the generator takes",
            got=f"width {latent_dim}",
            fix="pass latents of this generator",
        )
    return generator


def check_rows(x: Tensor | None, width: int, name: str) -> None:
    """Raise ShapeError unless x is [M, width]."""
    if x is None or x.ndim != 2 or x.shape[1] != width:
        raise ShapeError(
            expected=f"{name} [M, {width}]",
            got="None" if x is None else str(list(x.shape)),
            fix=f"pass one row of {width} values per image, flattened where they have more axes",
        )
