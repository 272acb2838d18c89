"""A generator's images and whatever judges them: modules, TorchScript, programs, functions.

Their shapes are checked here, with errors that say what came back, and their gradients.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from latentpath.core import InputError, ShapeError
from latentpath.generators import Generator
from latentpath.models import ImageModel

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


def random_images(like: Tensor, count: int) -> Tensor:  # [1, C, H, W] -> [count, C, H, W]
    """Noise in [-1, 1], the same every time, to compare two forms of a network on."""
    source = torch.Generator().manual_seed(0)
    return 2 * torch.rand((count, *like.shape[1:]), generator=source).to(like) - 1


def check_gradients(**gradients: Tensor | None) -> None:
    """Raise InputError that names the first network through which no gradient came."""
    for name, gradient in gradients.items():
        if gradient is None:
            raise InputError(
                expected=f"a {name.replace('_', ' ')} through which gradients flow",
                got="a result that does not depend on its input",
                fix="leave out detach(), no_grad() and conversions to integers or NumPy inside it",
            )


def gradient(result: Tensor, source: Tensor, *, keep: bool = True) -> Tensor | None:
    """Gradient of the sum of `result`, None where it does not depend; `keep` keeps the graph."""
    if not result.requires_grad or not source.requires_grad:
        return None
    with torch.enable_grad():
        total = result.sum()
    return torch.autograd.grad(total, source, retain_graph=keep, allow_unused=True)[0]


def _described(result: Any) -> str:
    if isinstance(result, Tensor):
        return f"{str(result.dtype).removeprefix('torch.')} {list(result.shape)}"
    return f"a {type(result).__name__}"


def as_image_model(model: Any) -> ImageModel:
    """A callable from images to logits: modules, TorchScript and functions as they are.

    Raises:
        InputError: something that cannot be called, such as a path or a state dict.
    """
    if _is_exported(model):
        return ExportedClassifier(model)
    if not callable(model):
        raise InputError(
            expected="a classifier: a module, a TorchScript or torch.export program, or a function",
            got=f"a {type(model).__name__}",
            fix="load the model first and pass it itself",
        )
    return model


def _is_exported(model: Any) -> bool:
    # By name: importing torch.export takes a second, and who has such a program has imported it.
    return any(cls.__name__ == "ExportedProgram" for cls in type(model).__mro__)


class ExportedClassifier:
    """A program of `torch.export` with one input, the images.

    A program exported for a fixed number of images runs that many at a time; the last ones are
    filled up with copies whose logits are dropped.

    Args:
        program: `torch.export.ExportedProgram`.

    Raises:
        InputError: not exactly one input [M, C, H, W].
    """

    def __init__(self, program: Any) -> None:
        shape = _input_shape(program)
        self._run = program.module()
        self.batch = shape[0] if isinstance(shape[0], int) else None
        if isinstance(shape[1], int):
            self.img_channels = shape[1]

    def __call__(self, images: Tensor) -> Tensor:  # [M, C, H, W] -> [M, K]
        if self.batch is None:
            return self._run(images)
        parts = []
        for part in images.split(self.batch):
            missing = self.batch - len(part)
            filled = torch.cat([part, part[:1].expand(missing, -1, -1, -1)]) if missing else part
            logits = self._run(filled)
            parts.append(logits[: len(part)] if isinstance(logits, Tensor) else logits)
        return parts[0] if len(parts) == 1 else torch.cat(parts)


def _input_shape(program: Any) -> tuple[Any, ...]:
    names = program.graph_signature.user_inputs
    inputs = [
        node for node in program.graph.nodes if node.op == "placeholder" and node.name in names
    ]
    shape = tuple(inputs[0].meta["val"].shape) if len(inputs) == 1 else ()
    if len(shape) != 4:
        raise InputError(
            expected="an exported classifier with one input, images [M, C, H, W]",
            got=f"inputs {', '.join(map(str, names)) or 'none'}"
            + (f" of shape {list(shape)}" if shape else ""),
            fix="export a module whose forward takes the images alone",
        )
    return shape
