"""Images between a generator and the classifiers: their number, channels and what comes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from latentpath.errors import InputError, ShapeError
from latentpath.generators import Generator

ImageModel = Callable[[Tensor], Tensor]

# How a network refuses images of the wrong number of channels.
REFUSALS = (RuntimeError, ValueError, TypeError, IndexError, AttributeError, AssertionError)


def images_of(generator: Generator, points: Tensor) -> Tensor:  # [M, D] -> [M, C, H, W]
    """The generator's images, clamped to [-1, 1], in the points' dtype.

    Raises:
        ShapeError: it returns anything but one image per point.
    """
    images = generator.synthesize(points)
    if not isinstance(images, Tensor) or images.ndim != 4 or len(images) != len(points):
        raise ShapeError(
            expected=f"a generator that returns images [{len(points)}, C, H, W], one per latent",
            got=_described(images),
            fix="wrap it: latentpath.generators.FunctionGenerator(synthesize, sample, latent_dim)",
        )
    return images.clamp(-1, 1).to(points.dtype)


def logits_of(model: ImageModel, images: Tensor) -> Tensor:  # [M, C, H, W] -> [M, K]
    """The model's logits, in float32 at least.

    Raises:
        ShapeError: it returns anything but one row of floating-point logits per image.
    """
    logits = model(images)
    if (
        not isinstance(logits, Tensor)
        or logits.ndim != 2
        or len(logits) != len(images)
        or not logits.is_floating_point()
    ):
        raise ShapeError(
            expected=f"a classifier that returns logits [{len(images)}, K], one row per image",
            got=_described(logits),
            fix="wrap it in a function that returns nothing but its logits",
        )
    # Softmax and cross-entropy are taken in float32 whatever the network computes in.
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


class ChannelMatch:
    """Images as a classifier takes them: grey ones are repeated to three channels, as published.

    A model's `img_channels` is its word. Without it, grey images are tried on the model when
    they first come, one image, without gradients: three channels, and if it refuses those, one.

    Args:
        model: images [M, C, H, W] to logits.
    """

    def __init__(self, model: ImageModel) -> None:
        self.model = model
        channels = getattr(model, "img_channels", None)
        self.channels = channels if isinstance(channels, int) else None

    def __call__(self, images: Tensor) -> Tensor:  # [M, C, H, W] -> [M, C', H, W]
        """The images with as many channels as the classifier takes."""
        if self.channels is None:
            self.channels = self._tried(images[:1].detach())
        if images.shape[1] == self.channels:
            return images
        if images.shape[1] == 1:
            return images.expand(-1, self.channels, -1, -1)
        raise ShapeError(
            expected=f"images with {self.channels} channel(s), as the classifier was trained on",
            got=f"{images.shape[1]} channels from the generator",
            fix="use a classifier for images of these channels",
        )

    @torch.no_grad()
    def _tried(self, image: Tensor) -> int:  # [1, C, H, W]
        grey = image.shape[1] == 1
        said = []
        for channels in (3, 1) if grey else (image.shape[1],):
            try:
                logits_of(self.model, image.expand(-1, channels, -1, -1) if grey else image)
            except torch.OutOfMemoryError:
                raise  # says nothing about the channels
            except REFUSALS as error:
                said.append(error)
            else:
                return channels
        if isinstance(said[0], ShapeError):  # it ran, or it is ours: that message is the better one
            raise said[0]
        first_line = (str(said[0]).strip() or type(said[0]).__name__).splitlines()[0]
        raise ShapeError(
            expected="a classifier that takes the generator's images, "
            + ("repeated to three channels or as they are" if grey else "as they are"),
            got=f"images {list(image.shape)} and a refusal ({first_line})",
            fix="use a classifier for images of these channels and this size, "
            "and give it img_channels",
        ) from said[0]


def check_gradients(**gradients: Tensor | None) -> None:
    """Raise InputError that names the first network through which no gradient came."""
    for name, gradient in gradients.items():
        if gradient is None:
            raise InputError(
                expected=f"a {name.replace('_', ' ')} through which gradients flow",
                got="a result that does not depend on its input",
                fix="leave out detach(), no_grad() and conversions to integers or NumPy inside it",
            )


def _described(result: Any) -> str:
    if isinstance(result, Tensor):
        return f"{str(result.dtype).removeprefix('torch.')} {list(result.shape)}"
    return f"a {type(result).__name__}"
