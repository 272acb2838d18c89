"""What networks are run in: eval mode, float32 with or without TF32, a device, a memory layout.

TF32 are float32 products with 10 bits of mantissa, which GPUs take for float32 unless told not to:
PyTorch lets cuDNN's convolutions use it. Whether they may is one setting of a process.

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
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

_lock = threading.Lock()
_asked: dict[int, list[bool]] = {}  # by thread: what the contexts that it is in ask for
_restore: list[Callable[[], Any]] = []  # what brings the settings back, while a thread is in one


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


@contextmanager
def tf32_allowed(allowed: bool, device: torch.device | str) -> Iterator[None]:
    """Let convolutions and matrix products of float32 on a GPU use TF32, or keep them from it.

    Of contexts within each other the innermost counts. Where threads differ none uses TF32: what
    has to be float32 is. Does nothing for other devices than "cuda". A backward pass computes under
    the settings of its own time: it belongs inside, too.
    """
    if torch.device(device).type != "cuda":
        yield
        return
    thread = threading.get_ident()
    with _lock:
        if not _asked:
            _restore[:] = _restoring()
        _asked.setdefault(thread, []).append(allowed)
        _apply()
    try:
        yield
    finally:
        with _lock:
            _asked[thread].pop()
            if not _asked[thread]:
                del _asked[thread]
            if _asked:
                _apply()
            else:
                for restore in _restore:
                    restore()


def uses_tf32() -> tuple[bool, bool]:
    """Whether convolutions and whether matrix products of float32 on GPUs may use TF32 now."""
    if _has_new_names():
        convolutions, products = (_new(op) for op in ("conv", "matmul"))
        return convolutions == "tf32", products == "tf32"
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


def _apply() -> None:
    allowed = all(stack[-1] for stack in _asked.values())
    torch.backends.cudnn.allow_tf32 = allowed
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    if _has_new_names() and uses_tf32() != (allowed, allowed):  # they were set for all of PyTorch
        for op in ("conv", "matmul"):
            _set_new(op, "tf32" if allowed else "ieee")


def _restoring() -> list[Callable[[], Any]]:
    """What brings back the settings of now."""
    steps: list[Callable[[], Any]] = []
    try:
        convolutions = torch.backends.cudnn.allow_tf32
        steps.append(lambda: setattr(torch.backends.cudnn, "allow_tf32", convolutions))
    except RuntimeError:  # set by the new names alone, which the old one refuses to speak for
        new = _new("conv")
        steps.append(lambda: _set_new("conv", new))
    try:
        products = torch.get_float32_matmul_precision()
        steps.append(lambda: torch.set_float32_matmul_precision(products))
    except RuntimeError:
        matmul = _new("matmul")
        steps.append(lambda: _set_new("matmul", matmul))
    return steps


# Since PyTorch 2.9 there is a second set of names for the same settings.


def _has_new_names() -> bool:
    return hasattr(torch._C, "_get_fp32_precision_getter")


def _new(op: str) -> str:
    return str(torch._C._get_fp32_precision_getter("cuda", op))


def _set_new(op: str, value: str) -> None:
    torch._C._set_fp32_precision_setter("cuda", op, value)


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
