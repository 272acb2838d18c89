"""Processor threads: how many a computation takes, independent ones, and the memory they leave."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

_Result = TypeVar("_Result")
# mallopt's number for the option, in glibc's malloc.h.
_M_ARENA_MAX = -8

# More threads have to take so much less time than fewer.
_WORTH_A_THREAD = 0.9


@contextmanager
def using_threads(threads: int) -> Iterator[None]:
    """Compute with so many CPU threads, on this thread of the program."""
    import torch  # a command that computes nothing does without it

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def threads_that_help(most: int = 0) -> int:
    """How many threads make a small network's training fastest now, by a trial of half a second.

    On a machine that does other work, threads wait for each other at every layer: two can be ten
    times as slow as one.

    Args:
        most: threads to try, at most; 0 takes PyTorch's number.
    """
    import torch

    most = most or torch.get_num_threads()
    # Nobody's random numbers are drawn for it.
    images = torch.linspace(-1, 1, 32 * 16 * 28 * 28).view(32, 16, 28, 28)
    weight = torch.linspace(-1, 1, 16 * 16 * 9).view(16, 16, 3, 3).requires_grad_()
    best, fastest = 1, float("inf")
    counts = sorted({1, *(most >> shift for shift in range(most.bit_length()))})
    for threads in counts:
        with using_threads(threads):
            seconds = sorted(_timed(images, weight) for _ in range(8))[3]
        if seconds < _WORTH_A_THREAD * fastest:
            best, fastest = threads, seconds
    return best


def threads_on(device: Any) -> int:
    """As many as make small networks fast there: `threads_that_help` on a processor, else all."""
    import torch

    on_processor = torch.device(device).type == "cpu"
    return threads_that_help() if on_processor else torch.get_num_threads()


def work_clock(device: Any) -> Callable[[], float]:
    """A clock for work on a device that other programs' work does not change, where there is one.

    On a processor it tells how long this thread has computed, and waited at work for those that
    PyTorch begins beside it; not how long it waited for a processor. On a GPU it is the usual one.
    """
    import torch

    return time.thread_time if torch.device(device).type == "cpu" else time.perf_counter


def on_this_machine(device: Any) -> str:
    """What a time by the `work_clock` of a device assumes, as words that follow it."""
    import torch

    if torch.device(device).type == "cpu":
        return "on this machine, longer while it does other work"
    return "on this machine, as busy as it is now"


def _timed(images: Any, weight: Any) -> float:
    import torch

    began = time.perf_counter()
    for _ in range(3):
        out = torch.nn.functional.conv2d(images, weight, padding=1).relu()
        out = torch.nn.functional.conv2d(out, weight, padding=1)
        torch.autograd.grad(out.square().mean(), weight)
    return time.perf_counter() - began


def workers_beside(count: int) -> int:
    """How many of so many computations `side_by_side` has at work at a time."""
    import torch

    return max(1, min(torch.get_num_threads(), count))


def side_by_side(function: Callable[[Any], _Result], items: Sequence[Any]) -> list[_Result]:
    """Results of independent computations on the processor, which share its threads out.

    Small networks keep one thread busy and not two: several at a time, of one thread each, are
    faster than one after the other. Whatever PyTorch releases its lock for runs at once.

    Args:
        function: computes one item; it must not touch PyTorch's default random generators.
        items: what to compute.
    """
    import torch

    threads, workers = torch.get_num_threads(), workers_beside(len(items))
    if workers <= 1:
        return [function(item) for item in items]

    def work(item: Any) -> _Result:
        with using_threads(threads // workers):
            return function(item)

    try:
        with ThreadPoolExecutor(workers, "side-by-side") as pool:
            return list(pool.map(work, items))
    finally:
        torch.set_num_threads(threads)  # what threads to come begin with


def share_arenas(most: int = 2) -> None:
    """Let the threads that this program begins take memory from a few arenas (glibc's malloc).

    Otherwise each thread has an arena of its own, which keeps what it once took: a sixth of
    the demo's memory lay in those of threads that had nothing to do any more. Other C libraries
    have no such option.
    """
    if (library := _c_library("mallopt")) is not None:
        library.mallopt(_M_ARENA_MAX, most)


def return_freed_memory() -> None:
    """Give what was freed back to the system, between stages that take memory of their own.

    The walks of the demo leave 200 MiB in pieces that what comes after them does not fit into.
    """
    if (library := _c_library("malloc_trim")) is not None:
        library.malloc_trim(0)


def _c_library(function: str) -> ctypes.CDLL | None:
    """The C library, where it has this function."""
    library = ctypes.CDLL(None) if os.name == "posix" else None
    return library if hasattr(library, function) else None
