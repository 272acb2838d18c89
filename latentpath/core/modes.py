"""What networks are run in: eval mode, float32 with or without TF32, a device, a seed.

TF32 are float32 products with 10 bits of mantissa, which GPUs take for float32 unless told not to:
PyTorch lets cuDNN's convolutions use it. Whether they may is one setting of a process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import torch
from torch import nn

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
    with suppress(RuntimeError):  # the old name refuses to speak for what a new one alone has set
        convolutions = torch.backends.cudnn.allow_tf32
        steps.append(lambda: setattr(torch.backends.cudnn, "allow_tf32", convolutions))
    with suppress(RuntimeError):
        products = torch.get_float32_matmul_precision()
        steps.append(lambda: torch.set_float32_matmul_precision(products))
    # Last, as the old name tells what it was set to even where a new one has changed it since.
    if _has_new_names():
        steps += [partial(_set_new, op, _new(op)) for op in ("conv", "matmul")]
    return steps


# Since PyTorch 2.9 there is a second set of names for the same settings.


def _has_new_names() -> bool:
    return hasattr(torch._C, "_get_fp32_precision_getter")


def _new(op: str) -> str:
    return str(torch._C._get_fp32_precision_getter("cuda", op))


def _set_new(op: str, value: str) -> None:
    if _new(op) != value:
        torch._C._set_fp32_precision_setter("cuda", op, value)


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
