"""What latentpath asks of a generator, and adapters for decoders and everything else."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from latentpath.core import InputError, ShapeError, check_finite, check_whole, device_of, evaluating


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


class DecoderGenerator:
    """A decoder with latents of any shape, as a `Generator` with latents of one axis.

    Latents [M, D] are brought into the decoder's shape, row by row in memory's order, divided by
    `scale`, moved by `shift` and decoded. With the decoders of diffusers:

        tiny = AutoencoderTiny.from_pretrained(folder)
        generator = DecoderGenerator(tiny, (4, 32, 32))
        vq = VQModel.from_pretrained(folder)
        generator = DecoderGenerator(vq, (3, 64, 64), force_not_quantize=True)

    (A quantised decoder passes gradients straight through its code book; without quantisation
    they are those of the image that comes out.) `flatten` brings latents that an encoder gave
    into one axis.

    Args:
        decoder: an object with `decode(latents)`, such as diffusers' autoencoders, or any module
            or function that is called with the latents. It may return the images, something with
            the images as `.sample`, or a tuple that starts with them.
        latent_shape: shape of one image's latents, such as (4, 32, 32), or (512,).
        scale: what latents are divided by on their way into the decoder: `scaling_factor` of
            diffusers where its latents are kept scaled.
        shift: what is added to them then.
        sample: number of latents wanted to latents [n, *latent_shape] or [n, D]; needed only to
            train an encoder.
        device: where the decoder is; found out where it is a module.
        options: keyword arguments of every call.

    Raises:
        ShapeError: it returns no square images of 1 or 3 channels.
        InputError: an impossible shape, scale or shift, or nothing that can be called.

    >>> from torch import nn
    >>> decoder = nn.Sequential(nn.ConvTranspose2d(2, 1, 4, 2, 1), nn.Tanh())
    >>> g = DecoderGenerator(decoder, (2, 8, 8))
    >>> g.latent_dim, g.img_channels, g.img_resolution
    (128, 1, 16)
    >>> g.synthesize(torch.zeros(5, 128)).shape, g.flatten(torch.zeros(5, 2, 8, 8)).shape
    (torch.Size([5, 1, 16, 16]), torch.Size([5, 128]))
    """

    def __init__(
        self,
        decoder: Any,
        latent_shape: Sequence[int],
        *,
        scale: float = 1.0,
        shift: float = 0.0,
        sample: Callable[[int], Tensor] | None = None,
        device: torch.device | str | None = None,
        **options: Any,
    ) -> None:
        shape = tuple(latent_shape) if isinstance(latent_shape, Sequence) else ()
        check_whole(1, **{f"latent_shape[{i}]": size for i, size in enumerate(shape)})
        check_finite(scale=scale, shift=shift)
        decode = getattr(decoder, "decode", decoder)
        if not shape or scale == 0 or not callable(decode):
            raise InputError(
                expected="a decoder that can be called, the shape of one image's latents, and a "
                "scale that is not 0",
                got=f"a {type(decoder).__name__}, latent_shape={latent_shape!r}, scale={scale}",
                fix="pass for example DecoderGenerator(autoencoder, (4, 32, 32))",
            )
        self.network, self.latent_shape = decoder, shape
        self.latent_dim = math.prod(shape)
        self._decode, self._options, self._sample = decode, options, sample
        self.scale, self.shift = float(scale), float(shift)
        probe = torch.zeros(1, self.latent_dim, device=device or device_of(decoder))
        with torch.no_grad(), evaluating([decoder]):
            images = self.synthesize(probe)
        if images.shape[2] != images.shape[3] or images.shape[1] not in (1, 3):
            raise ShapeError(
                expected="a decoder that makes images [M, 1 or 3, H, H]",
                got=str(list(images.shape)),
                fix="wrap it in a module that crops or converts its images",
            )
        self.img_channels, self.img_resolution = images.shape[1], images.shape[2]

    def synthesize(self, w: Tensor) -> Tensor:  # [M, D] -> [M, C, H, H]
        """Images of latents."""
        check_rows(w, self.latent_dim, "latents")
        latents = w.reshape(-1, *self.latent_shape)
        if (self.scale, self.shift) != (1.0, 0.0):
            latents = latents / self.scale + self.shift
        result = self._decode(latents, **self._options)
        images = getattr(result, "sample", result[0] if isinstance(result, tuple) else result)
        if not isinstance(images, Tensor) or images.ndim != 4 or len(images) != len(w):
            raise ShapeError(
                expected=f"images [{len(w)}, C, H, H] from latents {list(latents.shape)}",
                got=str(list(images.shape))
                if isinstance(images, Tensor)
                else f"a {type(images).__name__}",
                fix="check latent_shape, or wrap the decoder in a function that returns its images",
            )
        return images

    def flatten(self, latents: Tensor) -> Tensor:  # [M, *latent_shape] -> [M, D]
        """Latents in the decoder's shape as walks and groups take them."""
        if latents.shape[1:] != self.latent_shape:
            raise ShapeError(
                expected=f"latents [M, {', '.join(map(str, self.latent_shape))}]",
                got=str(list(latents.shape)),
                fix="pass latents of this decoder",
            )
        return latents.reshape(len(latents), -1)

    def unflatten(self, w: Tensor) -> Tensor:  # [M, D] -> [M, *latent_shape]
        """The way back of `flatten`."""
        return w.reshape(len(w), *self.latent_shape)

    def sample(self, n: int) -> Tensor:  # -> [n, D]
        """Draw latents from the prior."""
        if self._sample is None:
            raise InputError(
                expected="a generator that can sample latents",
                got="one made without `sample`",
                fix="pass DecoderGenerator(..., sample=lambda n: ...)",
            )
        return self._sample(n).reshape(n, self.latent_dim)
