"""Copies of networks in which single layers are others."""

from __future__ import annotations

import copy

from torch import nn


def replaced(model: nn.Module, path: list[str], layer: nn.Module) -> nn.Module:
    """A shallow copy of `model` with the submodule at `path` replaced by `layer`."""
    if not path:
        return layer
    clone = copy.copy(model)
    clone._modules = dict(model._modules)
    child = model._modules[path[0]]
    assert child is not None
    clone._modules[path[0]] = replaced(child, path[1:], layer)
    return clone
