"""How many points go through the networks together: micro-batches, and their size."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

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
