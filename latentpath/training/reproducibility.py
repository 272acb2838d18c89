"""Seeds for a while, and what tells one training set from another."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def fingerprint(*tensors: Tensor) -> str:
    """SHA-256 over shapes and bytes of `tensors`, to tell one training set from another.

    It stands in weights files, those that ship among them: another way to take it would make them
    disown the set that they were trained on.
    """
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(str((tuple(tensor.shape), tensor.dtype)).encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


# PyTorch's default generators are the whole program's.
_DEFAULT_GENERATORS = threading.RLock()


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed PyTorch's default generators inside, and leave them as they were outside.

    One thread at a time: what trains beside others takes its random numbers from a generator of
    its own.
    """
    with (
        _DEFAULT_GENERATORS,
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
    ):
        torch.manual_seed(seed)
        yield
