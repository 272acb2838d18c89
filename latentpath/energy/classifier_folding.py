"""Any classifier, made fast: the same logits from fewer layers, in the layout that suits it.

`ChannelMatch` finds out how a classifier takes the generator's images: channels, memory layout,
first layer. In eval mode a batch normalisation multiplies and adds what it holds, and so does the
convolution before it: one layer does the work of both (`without_norms`), and two passes over the
activations, forward and backward, are saved. 3x3 convolutions whose weights stay take a quarter of
the multiplications on processors (`with_fixed_weights`, `ops.conv3x3`).
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from latentpath import ops
from latentpath.core import (
    ConvolutionWatch,
    ShapeError,
    StridedPointwise,
    channels_last,
    faulty_layers,
)
from latentpath.energy.classifier_forms import REFUSALS, logits_of, random_images
from latentpath.generators import autocast_dtype
from latentpath.models import ImageModel


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
        logits = logits_of(folded, images)
    except torch.OutOfMemoryError:
        raise
    except REFUSALS:
        return None
    return folded if _same(whole, logits) else None


class FixedConv3x3(nn.Conv2d):
    """A 3x3 convolution, stride 1, whose weights get no gradient and must not change.

    Args:
        layer: the convolution, whose parameters are taken over.
    """

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__(1, 1, 3, padding=1, device="meta")  # nothing is drawn
        self._parameters = layer._parameters
        self.in_channels, self.out_channels = layer.in_channels, layer.out_channels
        self.fixed = ops.Conv3x3Weights.of(layer.weight)
        self.train(layer.training)

    def forward(self, x: Tensor) -> Tensor:  # [M, C, H, W] -> [M, O, H, W]
        if x.dtype != torch.float32 or torch.is_autocast_enabled(x.device.type):
            return super().forward(x)
        bias = None if self.bias is None else self.bias.detach()
        return ops.conv3x3(channels_last(x), self.fixed, bias)


@torch.no_grad()
def with_fixed_weights(model: ImageModel, image: Tensor) -> nn.Module | None:  # image [1, C, H, W]
    """A shallow copy of a model with `FixedConv3x3` wherever that is faster.

    None where it is nowhere, or where the copy's logits differ from the model's by more than
    rounding. Layers with hooks, and those in several places, stay as they are.
    """
    if not isinstance(model, nn.Module):
        return None
    plain = {
        layer: name
        for layer, name in _names(model).items()
        if type(layer) is nn.Conv2d
        and (layer.kernel_size, layer.stride, layer.padding) == ((3, 3), (1, 1), (1, 1))
        and (layer.dilation, layer.groups, layer.padding_mode) == ((1, 1), 1, "zeros")
        and ops.conv3x3_pays(layer.weight)
    }
    fast = model
    for layer, name in plain.items():
        fast = replaced(fast, name.split("."), FixedConv3x3(layer))
    if fast is model:
        return None
    images = torch.cat([image, random_images(image, 2)])
    try:
        whole, logits = logits_of(model, images), logits_of(fast, images)
    except torch.OutOfMemoryError:
        raise
    except REFUSALS:
        return None
    return fast if _same(whole, logits) else None


def _same(whole: Tensor, logits: Tensor) -> bool:
    """Whether logits differ by no more than rounding."""
    scale = float(whole.abs().max())
    return logits.shape == whole.shape and torch.allclose(whole, logits, rtol=0, atol=1e-4 * scale)


def _names(model: nn.Module) -> dict[nn.Module, str]:
    """Names of the layers that can be folded: in one place, without hooks, in eval mode."""
    modules = list(model.named_modules(remove_duplicate=False))
    places = Counter(layer for _, layer in modules)
    return {
        layer: name
        for name, layer in modules
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
    candidates: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []

    def after(conv: Any, _: Any, result: Tensor) -> None:
        calls[conv] += 1
        results.append((conv, result, result._version))

    def before(norm: Any, inputs: tuple[Tensor, ...]) -> None:
        calls[norm] += 1
        for conv, result, version in results:
            if inputs and result is inputs[0] and result._version == version:
                candidates.append((conv, norm))

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
    normed = Counter(conv for conv, _ in candidates)
    pairs += [
        (conv, norm) for conv, norm in candidates if calls[conv] == calls[norm] == normed[conv] == 1
    ]


class ChannelMatch:
    """Images as a classifier takes them: grey ones are repeated to three channels, as published.

    A model's `img_channels` is its word. Without it, grey images are tried on the model when
    they first come, one image, without gradients: three channels, and if it refuses those, one.
    Where the model is a module whose first convolution alone sees the three channels, `model` is
    a shallow copy of it whose first convolution takes the one, with its weights summed: the same
    logits for a third of that layer's work, and no image is repeated.

    The images come channels last where the model takes them so (one that calls `view` may
    refuse), on CPUs and in half precision, whose convolutions run up to twice as fast then; not
    on CPUs where the model holds a layer that must not run so, see `latentpath.core.layouts`.

    Args:
        model: images [M, C, H, W] to logits.
        fold_norms: make batch normalisations part of the convolutions before them, in a copy too,
            and 3x3 convolutions fast whose weights stay: see `without_norms` and
            `with_fixed_weights`.
    """

    def __init__(self, model: ImageModel, *, fold_norms: bool = False) -> None:
        self.model, self._fold_norms = model, fold_norms
        channels = getattr(model, "img_channels", None)
        self.channels = channels if isinstance(channels, int) else None
        self._looked = self._channels_last = self._faulty = False

    def __call__(self, images: Tensor) -> Tensor:  # [M, C, H, W] -> [M, C', H, W]
        """The images with as many channels as the classifier takes."""
        if not self._looked:
            self.look(images[:1].detach())
        if images.shape[1] == 1:
            images = images.expand(-1, self.channels or 1, -1, -1)
        device = images.device.type
        if device == "cpu" and self._faulty:
            return images.contiguous()
        pays = device == "cpu" or autocast_dtype(device) is not None
        return channels_last(images) if self._channels_last and pays else images

    @torch.no_grad()
    def look(self, image: Tensor) -> None:  # [1, C, H, W]
        """Find out how the model takes images like this one."""
        if self.channels is None:
            self.channels = self._tried(image)
        elif image.shape[1] not in (1, self.channels):
            raise ShapeError(
                expected=f"images with {self.channels} channel(s), as the classifier knows them",
                got=f"{image.shape[1]} channels from the generator",
                fix="use a classifier for images of these channels",
            )
        if image.shape[1] == 1 and self.channels == 3:
            folded = grey_copy(self.model, image)
            if folded is not None:
                self.model, self.channels = folded, 1
        if self._fold_norms:
            taken = image.expand(-1, self.channels, -1, -1)
            self.model = without_norms(self.model, taken) or self.model
            self.model = with_fixed_weights(self.model, taken) or self.model
        self._channels_last = self._runs(channels_last(image.expand(-1, self.channels, -1, -1)))
        self._looked = True

    def _runs(self, image: Tensor) -> bool:
        # What it holds, in branches not taken this time too, and what it runs, written as it may
        # be. Without gradients, as here, every layer is safe in every layout.
        if isinstance(self.model, nn.Module) and faulty_layers(self.model):
            self._faulty = True
        try:
            with ConvolutionWatch() as seen:
                logits_of(self.model, image)
            self._faulty |= seen.faulty
        except torch.OutOfMemoryError:
            raise
        except REFUSALS:
            return False
        return True

    def _tried(self, image: Tensor) -> int:  # [1, C, H, W] -> channels
        grey = image.shape[1] == 1
        said = []
        for channels in (3, 1) if grey else (image.shape[1],):
            try:
                logits_of(self.model, image.expand(-1, channels, -1, -1) if grey else image)
            except torch.OutOfMemoryError:
                raise  # says nothing about the channels
            except REFUSALS as error:
                said.append(error)
            else:
                return channels
        if isinstance(said[0], ShapeError):  # it ran, or it is ours: that message is the better one
            raise said[0]
        first_line = (str(said[0]).strip() or type(said[0]).__name__).splitlines()[0]
        raise ShapeError(
            expected="a classifier that takes the generator's images, "
            + ("repeated to three channels or as they are" if grey else "as they are"),
            got=f"images {list(image.shape)} and a refusal ({first_line})",
            fix="use a classifier for images of these channels and this size, "
            "and give it img_channels",
        ) from said[0]


def grey_copy(model: ImageModel, image: Tensor) -> nn.Module | None:  # image [1, 1, H, W]
    """A shallow copy that takes grey images for a model that takes them repeated to three channels.

    The first convolution's weights are summed over the channels, which is the same by linearity.
    None where the model has no such convolution, or the copy's logits are others.
    """
    if not isinstance(model, nn.Module):
        return None
    stems = [
        (name, layer)
        for name, layer in model.named_modules()
        if name and type(layer) is nn.Conv2d and layer.in_channels == 3 and layer.groups == 1
    ]
    if not stems:
        return None
    name, layer = stems[0]
    grey = copy.copy(layer)
    summed = layer.weight.detach().sum(dim=1, keepdim=True)
    grey._parameters = {**layer._parameters, "weight": nn.Parameter(summed, requires_grad=False)}
    grey.in_channels = 1
    clone = replaced(model, name.split("."), grey)
    if isinstance(getattr(clone, "img_channels", None), int):
        clone.img_channels = 1  # type: ignore[assignment]
    images = torch.cat([image, random_images(image, 2)])  # one of one shade could hide a difference
    whole = logits_of(model, images.expand(-1, 3, -1, -1))
    try:
        folded = logits_of(clone, images)
    except torch.OutOfMemoryError:
        raise
    except REFUSALS:
        return None
    same = folded.shape == whole.shape and torch.allclose(whole, folded, rtol=1e-3, atol=1e-4)
    return clone if same else None
