"""Networks: in eval mode for a while, and the device they are on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import nn


@contextmanager
def evaluating(networks: Iterable[Any]) -> Iterator[None]:
    """All modules among `networks` in eval mode, and every layer back to what it was afterwards."""
    modules = [network for network in networks if isinstance(network, nn.Module)]
    was_training = {layer: layer.training for m in modules for layer in m.modules()}
    evaluated = []
    try:
        for module in modules:
            # The module of an exported program knows the mode of its export alone.
            with suppress(NotImplementedError):
                evaluated.append(module.eval())
        yield
    finally:
        for module in evaluated:
            module.train(was_training[module])
        # Layer by layer too: a network in training may hold layers frozen in eval mode.
        for layer, training in was_training.items():
            layer.training = training


def device_of(network: Any) -> torch.device:
    """The device of a module's first parameter or buffer; the CPU for a plain function."""
    if isinstance(network, nn.Module):
        for tensors in (network.parameters(), network.buffers()):
            for tensor in tensors:
                return tensor.device
    return torch.device("cpu")
