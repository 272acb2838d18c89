"""A training's steps: learning rates, kernels and precision on GPUs, and figures of each step.

Nobody has to wait for figures who does not look at them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from latentpath.core import check_one_of

# Formats to train in. Float16 is none of them: its gradients would have to be scaled.
PRECISIONS = ("float32", "tf32", "bfloat16")


def check_precision(precision: str) -> None:
    """Raise InputError unless networks can be trained in this format."""
    check_one_of(PRECISIONS, precision=precision)


def fused_on(device: torch.device | str) -> bool | None:
    """Adam's `fused`: one kernel for all parameters on a GPU, PyTorch's choice elsewhere."""
    return True if torch.device(device).type == "cuda" else None


def one_cycle(
    optimizer: torch.optim.Optimizer, lr: float, steps: int, warm_up: float
) -> torch.optim.lr_scheduler.OneCycleLR:
    """Rise to `lr` over a share `warm_up` of the steps, then fall to nearly zero as a cosine.

    Source: Smith and Topin, "Super-Convergence", 2018; PyTorch's implementation, which divides by
    zero where the rise takes exactly one step.
    """
    if warm_up * steps == 1:
        warm_up = 1.5 / steps
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=warm_up)


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
