"""Classifiers in other forms than a module: programs of `torch.export`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from latentpath.core import InputError
from latentpath.models import ImageModel


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
    found = [
        node for node in program.graph.nodes if node.op == "placeholder" and node.name in names
    ]
    shape = tuple(found[0].meta["val"].shape) if len(found) == 1 else ()
    if len(shape) != 4:
        raise InputError(
            expected="an exported classifier with one input, images [M, C, H, W]",
            got=f"inputs {', '.join(map(str, names)) or 'none'}"
            + (f" of shape {list(shape)}" if shape else ""),
            fix="export a module whose forward takes the images alone",
        )
    return shape
