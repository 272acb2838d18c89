"""Figures of a training's steps, which nobody has to wait for who does not look at them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor


class Figures(Mapping[str, float]):
    """Figures that are still on a device, fetched when the first of them is looked at.

    A GPU then has to be waited for, once for all of them: who shows some steps only lets it work
    through the others.

    Args:
        figures: numbers, and tensors of one element on one device that nobody writes to.

    >>> Figures(loss=torch.tensor(0.5), step=3.0)["loss"]
    0.5
    """

    def __init__(self, **figures: float | Tensor) -> None:
        self._figures = {
            name: x.detach() if isinstance(x, Tensor) else x for name, x in figures.items()
        }

    def __getitem__(self, name: str) -> float:
        tensors = {key: x for key, x in self._figures.items() if isinstance(x, Tensor)}
        if tensors:
            numbers = torch.stack([x.double().reshape(()) for x in tensors.values()]).tolist()
            self._figures |= dict(zip(tensors, numbers, strict=True))
        return float(self._figures[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._figures)

    def __len__(self) -> int:
        return len(self._figures)
