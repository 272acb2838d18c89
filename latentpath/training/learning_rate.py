"""What trainers share: the schedule of learning rates, and kernels and precision on GPUs."""

from __future__ import annotations

import torch

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
