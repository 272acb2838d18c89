"""Memory layouts: the one place that decides which networks and images run channels-last.

Convolutions on processors, and in half precision on GPUs, run up to twice as fast where the
channels of a pixel lie side by side ("channels-last"). One of them must not meet that layout on a
processor. For the gradient of the *weights* of a 1x1 convolution with a stride, oneDNN first
gathers the pixels that count, into a workspace of `pixels * in_channels` numbers, but steps
through it by `pixels * block`, where a block is 8 channels with AVX2 and 16 with AVX-512
(https://github.com/uxlfoundation/oneDNN/issues/6035). With fewer input channels than a block it
writes past the end: a corrupted heap, wrong gradients, or threads that wait for ever. With AVX2 a
single thread is enough; with AVX-512 it takes two, that share one image's pixels.

A search over kernels, strides, widths, groups, dilations, paddings, sizes, batches, both layouts,
transposed and one-dimensional convolutions, float32 and bfloat16, with AVX-512, AVX2 and SSE4.1
and up to 16 threads, every result against float64 and every allocation between two guards, found
this fault in three forms and no other: in `conv2d`, in `conv1d` over a transposed input, and in
`conv_transpose2d`, where the output's channels are counted. Its bounds: kernel 1x1, a stride, one
group, fewer channels than a block, input channels-last (the weights' layout does not matter). A
contiguous input is safe, and so is stride 1.

So the rule, the same on every processor, whichever kernel it would choose:

- our own networks hold no such layer: `StridedPointwise` takes every s-th pixel first, and then
  convolves with stride 1, to the same numbers (`without_faulty_layers`);
- a foreign network with one such layer anywhere runs contiguous on processors, as a whole:
  layouts travel from layer to layer (`place`, `ConvolutionWatch`).
"""

from __future__ import annotations

import math
import sys
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

# The largest block of channels of any processor's kernels.
BLOCK = 16

Network = TypeVar("Network", bound=nn.Module)


def is_faulty(*, channels: int, kernel: Any, stride: Any, groups: int) -> bool:
    """Whether a convolution's weights get no safe gradient channels-last on a processor.

    Args:
        channels: the input's channels; of a transposed convolution, the output's.
        kernel: its sides, one number each.
        stride: likewise.
        groups: number of groups.
    """
    strided = max(stride) > 1
    return strided and math.prod(kernel) == 1 and groups == 1 and channels < BLOCK


def faulty_layers(network: nn.Module) -> list[str]:
    """Names of the layers of a network that must not run channels-last on a processor."""
    faulty = []
    for name, layer in network.named_modules():
        if isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.ConvTranspose1d, nn.ConvTranspose2d)):
            transposed = isinstance(layer, (nn.ConvTranspose1d, nn.ConvTranspose2d))
            if is_faulty(
                channels=layer.out_channels if transposed else layer.in_channels,
                kernel=layer.kernel_size,
                stride=layer.stride,
                groups=layer.groups,
            ):
                faulty.append(name)
    return faulty


def place(network: Network, device: torch.device | str) -> Network:
    """Move a network, in place, to a device and into the layout that is fast and safe there."""
    on_processor = torch.device(device).type == "cpu"
    safe = not (on_processor and faulty_layers(network))
    layout = torch.channels_last if safe else torch.contiguous_format
    return network.to(device=device, memory_format=layout)  # type: ignore[call-overload]


def channels_last(images: Tensor) -> Tensor:  # [M, C, H, W]
    """The images with their channels innermost; grey ones keep their memory.

    The strides of a single channel say nothing by themselves, and convolutions choose their
    layout by strides: they are set to what they are for more channels.
    """
    m, c, h, w = images.shape
    if c == 1 and images.is_contiguous():
        return images.view(m, h, w, 1).permute(0, 3, 1, 2)
    return images.contiguous(memory_format=torch.channels_last)


class StridedPointwise(nn.Conv2d):
    """A 1x1 convolution with a stride, as one with stride 1 over every s-th pixel.

    Forward and both gradients are the same, bit for bit where oneDNN's are right. It is slower by
    a copy of the pixels that count, so only layers that need it are replaced.

    Args:
        layer: the convolution, whose parameters are taken over; kernel 1x1, no padding.
    """

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__(1, 1, 1, device="meta")  # nothing is drawn: the parameters come
        self._parameters = layer._parameters
        self.in_channels, self.out_channels = layer.in_channels, layer.out_channels
        self.steps = layer.stride
        self.train(layer.training)

    def forward(self, x: Tensor) -> Tensor:  # [M, I, H, W] -> [M, O, ceil(H / s), ceil(W / s)]
        return self._conv_forward(
            x[:, :, :: self.steps[0], :: self.steps[1]], self.weight, self.bias
        )

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, steps={self.steps}"


def without_faulty_layers(network: Network) -> Network:
    """Replace, in place, the layers of a network that must not run channels-last.

    Names, parameters and results stay what they are.
    """
    for name in faulty_layers(network):
        layer = network.get_submodule(name)
        if type(layer) is nn.Conv2d and layer.padding == (0, 0):
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, StridedPointwise(layer))
    return network


class _Dispatch:
    """What `ConvolutionWatch` does at every operator, outside of the mode's own body.

    There PyTorch would wrap it, for the sake of compiled functions, in what imports all of
    torch.compile when it is first called: two seconds that a walk should not spend.
    """

    faulty: bool

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if "conv" in func.overloadpacket.__name__:
            given = {argument.name: argument.default_value for argument in func._schema.arguments}
            given |= dict(zip(given, args, strict=False)) | kwargs
            self._look(given.get("weight"), given.get("stride"), given.get("groups"))
        return func(*args, **kwargs)

    def _look(self, weight: Any, stride: Any, groups: Any) -> None:
        if isinstance(weight, Tensor) and weight.ndim in (3, 4) and stride is not None:
            self.faulty |= is_faulty(
                # [O, I / groups, ...], of transposed convolutions [I, O / groups, ...].
                channels=weight.shape[1],
                kernel=weight.shape[2:],
                stride=stride if isinstance(stride, (list, tuple)) else (stride,),
                groups=groups or 1,
            )


class ConvolutionWatch(_Dispatch, TorchDispatchMode):
    """Sees every convolution that runs inside it, whatever calls it.

    Modules, functions, TorchScript and programs of `torch.export` alike call the same few
    operators in the end; compiled functions run as they were written while it watches.

    Example:
        >>> import torch
        >>> layer = torch.jit.script(nn.Conv2d(4, 8, 1, stride=2))
        >>> with ConvolutionWatch() as seen:
        ...     _ = layer(torch.zeros(1, 4, 8, 8))
        >>> seen.faulty
        True
    """

    def __new__(cls) -> ConvolutionWatch:
        # Where functions may be compiled, the compiler has been imported.
        return super().__new__(_UncompiledWatch if "torch._dynamo" in sys.modules else cls)

    def __init__(self) -> None:
        super().__init__()
        self.faulty = False
        """Whether one of them must not run channels-last on a processor."""


class _UncompiledWatch(ConvolutionWatch):
    """With PyTorch's wrapper: what the watch does is not compiled itself."""

    __torch_dispatch__ = _Dispatch.__torch_dispatch__
