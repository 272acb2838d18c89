"""Batches that go through networks together: how large they are, and what runs them fast.

Points go in micro-batches. A function of tensors of fixed shapes is recorded once as a CUDA graph
and replayed. And batches of rows come out the same, bit for bit, in any company: routines for
batches split their work, and so round, by how many rows and matrices they are given; on processors
rows go one by one, elsewhere always so many together.
"""

from __future__ import annotations

import inspect
import os
import warnings
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from latentpath.core import LatentpathWarning, UnsupportedError

# What backward holds at its peak, over what forward saved for it.
_PEAK = 1.5
# Saved activations of one micro-batch that processors work through fastest, bytes: with more, what
# one layer hands to the next leaves the caches; with fewer, convolutions miss their full speed.
_CPU_BEST = 128 << 20
_CPU_SIZES = (8, 64)
_GPU_MOST = 1024
# Points of a small batch, in which few points are looked at: at least so many times fewer than
# would fill the usual one.
SMALL_BATCH = 16
_WORTH_IT = 0.75


@dataclass(frozen=True)
class MicroBatch:
    """Points that go through the networks together."""

    rows: slice
    """Where they come from."""
    points: Tensor
    """[size, D]; the first `count` are the points of `rows`, the others copies."""
    labels: Tensor
    """[size]"""
    weights: Tensor
    """[size]; 0 for copies."""

    @classmethod
    def of(
        cls,
        points: Tensor,  # [M, D]
        labels: Tensor,  # [M]
        weights: Tensor,  # [M]
        first: int,
        size: int,
    ) -> MicroBatch:
        """The points from number `first` on, `size` of them or as many as are left."""
        rows = slice(first, min(first + size, len(points)))
        return cls(rows, points[rows], labels[rows], weights[rows])

    @property
    def count(self) -> int:
        """How many points of their own these are."""
        return self.rows.stop - self.rows.start

    def filled(self, size: int) -> MicroBatch:
        """As many points as `size`."""
        if self.count == size:
            return self
        weights = torch.cat([self.weights, self.weights.new_zeros(size - self.count)])
        return replace(self.repeated(size), weights=weights)

    def repeated(self, size: int) -> MicroBatch:
        """The same points over and over, with their weights, `size` of them."""
        index = torch.arange(size, device=self.points.device) % self.count
        return MicroBatch(self.rows, self.points[index], self.labels[index], self.weights[index])

    def begun(self, size: int) -> MicroBatch:
        """The first `size` points."""
        rows = slice(self.rows.start, min(self.rows.stop, self.rows.start + size))
        return MicroBatch(rows, self.points[:size], self.labels[:size], self.weights[:size])


def small_is_enough(count: int, size: int, device: torch.device) -> bool:
    """Whether small batches of so many points are less work than one of the usual size."""
    calls = -(-count // SMALL_BATCH)
    return device.type == "cpu" and calls * SMALL_BATCH <= _WORTH_IT * size


def saved_bytes(run: Callable[[], object]) -> int:
    """Bytes of all tensors that what `run` computes saves for backward, each memory counted once.

    Weights are among them: the more points, the less they matter.
    """
    storages: dict[int, int] = {}
    alive: list[Tensor] = []  # so that no two storages have the same address

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in storages:
            storages[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor.detach())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        run()
    return sum(storages.values())


def first_guess(img_resolution: int, device: torch.device) -> int:
    """A number of points that any machine has the memory for, from the images' size alone."""
    pixels = max(img_resolution, 64) ** 2
    least, most = (8, 64) if device.type == "cpu" else (8, 256)
    return min(max((most * 128**2) // pixels, least), most)


def fitting_size(per_point: int, device: torch.device, budget: int = 0) -> int:
    """The number of points that suits the device and the memory budget, at least 1.

    On a CPU as many as its caches like, 8 to 64; on a GPU as many as fit, up to 1024.

    Args:
        per_point: bytes that a point makes the networks save for backward.
        device: where the networks run.
        budget: bytes that a micro-batch may take; 0 takes half of what is free.
    """
    fits = max(1, int((budget or _free_bytes(device) // 2) / (_PEAK * per_point)))
    if device.type == "cpu":
        least, most = _CPU_SIZES
        wanted = min(max(_CPU_BEST // per_point, least), most)
    else:
        wanted = _GPU_MOST
    size = min(wanted, fits)
    return size // 8 * 8 if size >= 8 else size


def _free_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on every system
        return 4 << 30


_WARM_UP = 3
# Devices whose work can be recorded.
DEVICE_TYPE = "cuda"


def without_owner(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The same function; of a method, without holding on to its object.

    An object that keeps a method of its own lies in a circle, which nothing frees but Python's
    collector, when it comes by: until then it holds its networks' memory. For such attributes.
    """
    if not inspect.ismethod(function):
        return function
    found, method = weakref.ref(function.__self__), function.__func__
    return lambda *inputs: method(found(), *inputs)


class CudaGraphed:
    """Records `function` for every set of shapes it is called with, and replays it from then on.

    Replaying launches all kernels of the recording at once, which pays where a GPU works faster
    than Python can launch. Whatever `function` reads besides its arguments must stay where it is.

    Args:
        function: CUDA tensors to one tensor, without a wait for the GPU inside; of a method, whose
            object lives as long as this is called.
        may_fail: call the function itself, after a warning, where it cannot be recorded.

    Raises:
        UnsupportedError: called with tensors that are not on a CUDA device.
    """

    def __init__(self, function: Callable[..., Tensor], *, may_fail: bool = False) -> None:
        self._function, self._may_fail = without_owner(function), may_fail
        self._recordings: dict[Any, tuple[Any, list[Tensor], Tensor]] = {}
        self._failed = False

    def forget(self) -> None:
        """Give the recordings' memory back; what is called next is recorded anew."""
        self._recordings.clear()

    def __call__(self, *inputs: Tensor) -> Tensor:
        if inputs[0].device.type != DEVICE_TYPE:
            raise UnsupportedError(
                expected="tensors on a CUDA device for cuda_graphs=True",
                got=f"device {inputs[0].device}",
                fix="leave cuda_graphs out",
            )
        if self._failed:
            return self._function(*inputs)
        key = tuple((tensor.shape, tensor.dtype, tensor.device) for tensor in inputs)
        if key not in self._recordings:
            try:
                self._recordings[key] = self._record(inputs)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:  # a wait inside, or whatever cannot be recorded
                if not self._may_fail:
                    raise
                self._failed = True
                self.forget()
                warnings.warn(
                    "the networks cannot be recorded as a CUDA graph and are launched one kernel "
                    f"at a time, slower: {str(error).splitlines()[0]}",
                    LatentpathWarning,
                    stacklevel=2,
                )
                return self._function(*inputs)
        graph, places, result = self._recordings[key]
        for place, tensor in zip(places, inputs, strict=True):
            place.copy_(tensor)
        graph.replay()
        return result.clone()

    def _record(self, inputs: tuple[Tensor, ...]) -> tuple[Any, list[Tensor], Tensor]:
        places = [tensor.clone() for tensor in inputs]
        with torch.cuda.device(inputs[0].device):
            # Libraries set themselves up in the first calls, which cannot be recorded.
            side, current = torch.cuda.Stream(), torch.cuda.current_stream()
            side.wait_stream(current)
            with torch.cuda.stream(side):
                for _ in range(_WARM_UP):
                    self._function(*places)
            current.wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            # What other threads do meanwhile, such as encoding and copying, spoils no recording.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                result = self._function(*places)
        return graph, places, result


def stack_size(together: int, device: torch.device) -> int:
    """Rows of a stack, of which `together` are computed where that takes no longer than one."""
    return 1 if device.type == "cpu" else together


def stacks_of(rows: Tensor, size: int) -> list[Tensor]:  # [B, ...] -> [size, ...] each
    """So many rows each, those of the last stack over and over."""
    *stacks, last = rows.split(size)
    if len(last) < size:
        last = last[torch.arange(size, device=rows.device) % len(last)]
    return [*stacks, last]


def in_stacks(
    function: Callable[..., Tensor],  # [b, ...] each -> [b, ...]
    *rows: Tensor,  # [B, ...] each
    together: int,
) -> Tensor:  # [B, ...]
    """What `function` makes of the rows, stack by stack."""
    size = stack_size(together, rows[0].device)
    stacks = zip(*(stacks_of(x, size) for x in rows), strict=True)
    return torch.cat([function(*stack) for stack in stacks])[: len(rows[0])]
