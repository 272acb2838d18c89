"""What a Triton kernel is compiled for: sizes of tiles and blocks go by it."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

# Warps of a program that GPUs run at most: 1,024 threads.
MOST_WARPS = {"cuda": 32, "hip": 16}


def gpu_target(tensor: Tensor) -> str:
    """ "cuda:<capability>", as "cuda:90", or "hip", for where a tensor lies."""
    if torch.version.hip is not None:
        return "hip"
    if not tensor.is_cuda:
        return "cuda:90"  # the interpreter runs any tiles
    return _nvidia_target(tensor.device)


@functools.cache
def _nvidia_target(device: torch.device) -> str:
    major, minor = torch.cuda.get_device_capability(device)
    return f"cuda:{major}{minor}"
