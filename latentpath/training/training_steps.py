"""A training's steps: the loop, learning rates, kernels and precision on GPUs, figures.

Nobody has to wait for figures who does not look at them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from latentpath.core import Progress, check_one_of
from latentpath.training.checkpoint import Checkpointer

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


def take_steps(
    stage: str,
    network: nn.Module,
    loss: Callable[[], tuple[Tensor, Figures]],
    *,
    lr: float,
    steps: int,
    weight_decay: float,
    device: torch.device,
    saver: Checkpointer,
    progress: Progress,
    largest_gradient: float | None = None,
) -> None:
    """Train a network's weights in place by AdamW and one cycle, from the saved step on.

    Args:
        stage: what `progress` is told, and what the checkpoint calls the network.
        network: in train mode.
        loss: of one batch, with the figures to show.
        lr: the largest learning rate.
        steps: in all.
        weight_decay: AdamW's.
        device: of the network.
        saver: where the training goes on from, and is saved to.
        progress: told after every step.
        largest_gradient: norm that gradients are cut to, if any.
    """
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=lr, weight_decay=weight_decay, fused=fused_on(device)
    )
    schedule = one_cycle(optimizer, lr, steps, warm_up=0.1)
    parts: dict[str, Any] = {stage: network, "optimizer": optimizer, "schedule": schedule}
    first = 0
    if (saved := saver.load()) is not None:
        first = saved["step"]
        for name, part in parts.items():
            part.load_state_dict(saved[name])
    for step in range(first, steps):
        value, figures = loss()
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        if largest_gradient is not None:
            nn.utils.clip_grad_norm_(network.parameters(), largest_gradient)
        optimizer.step()
        schedule.step()
        progress(stage, step + 1, steps, figures)
        if saver.due() or step + 1 == steps:
            states = {name: part.state_dict() for name, part in parts.items()}
            saver.save({"step": step + 1, **states})
