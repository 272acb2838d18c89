"""Classifiers whose batch normalisations are part of their convolutions.

In eval mode a batch normalisation multiplies and adds what it holds, and so does the convolution
before it: one layer does the work of both, and two passes over the activations, forward and
backward, are saved.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from latentpath.core import StridedPointwise
from latentpath.energy.images import REFUSALS, logits_of, random_images
from latentpath.energy.layers import replaced
from latentpath.models import ImageModel


@torch.no_grad()
def without_norms(model: ImageModel, image: Tensor) -> nn.Module | None:  # image [1, C, H, W]
    """A shallow copy of a model in eval mode, its batch normalisations folded where they can be.

    Which of them follows which convolution shows when images pass through. Layers with hooks, and
    those that are used more than once, stay as they are. None where nothing can be folded, or
    where the copy's logits differ from the model's by more than rounding.
    """
    if not isinstance(model, nn.Module):
        return None
    images = torch.cat([image, random_images(image, 2)])
    names = _names(model)
    try:
        with _watched(names) as pairs:
            whole = logits_of(model, images)
        folded = model
        for conv, norm in pairs:
            folded = replaced(folded, names[conv].split("."), fuse_conv_bn_eval(conv, norm))
            folded = replaced(folded, names[norm].split("."), nn.Identity())
        if folded is model:
            return None
        found = logits_of(folded, images)
    except torch.OutOfMemoryError:
        raise
    except REFUSALS:
        return None
    scale = float(whole.abs().max())
    same = found.shape == whole.shape and torch.allclose(whole, found, rtol=0, atol=1e-4 * scale)
    return folded if same else None


def _names(model: nn.Module) -> dict[nn.Module, str]:
    """Names of the layers that can be folded: in one place, without hooks, in eval mode."""
    found = list(model.named_modules(remove_duplicate=False))
    places = Counter(layer for _, layer in found)
    return {
        layer: name
        for name, layer in found
        if name
        and type(layer) in (nn.Conv2d, StridedPointwise, nn.BatchNorm2d)
        and places[layer] == 1
        and not (layer.training or layer._forward_hooks or layer._forward_pre_hooks)
        and getattr(layer, "running_var", layer) is not None
    }


@contextmanager
def _watched(layers: dict[nn.Module, str]) -> Iterator[list[tuple[nn.Conv2d, nn.BatchNorm2d]]]:
    """Pairs of a convolution and the normalisation of its untouched result, complete afterwards."""
    calls: Counter[nn.Module] = Counter()
    results: list[tuple[nn.Conv2d, Tensor, int]] = []  # with the tensor's version
    found: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []

    def after(conv: Any, _: Any, result: Tensor) -> None:
        calls[conv] += 1
        results.append((conv, result, result._version))

    def before(norm: Any, inputs: tuple[Tensor, ...]) -> None:
        calls[norm] += 1
        for conv, result, version in results:
            if inputs and result is inputs[0] and result._version == version:
                found.append((conv, norm))

    hooks = [
        layer.register_forward_hook(after)
        if isinstance(layer, nn.Conv2d)
        else layer.register_forward_pre_hook(before)
        for layer in layers
    ]
    try:
        yield pairs
    finally:
        for hook in hooks:
            hook.remove()
    normed = Counter(conv for conv, _ in found)
    pairs += [
        (conv, norm) for conv, norm in found if calls[conv] == calls[norm] == normed[conv] == 1
    ]
