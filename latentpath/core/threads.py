"""Processor threads: how many a computation takes, and independent ones beside each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

_Result = TypeVar("_Result")


@contextmanager
def using_threads(threads: int) -> Iterator[None]:
    """Compute with so many CPU threads, on this thread of the program."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def side_by_side(function: Callable[[Any], _Result], items: Sequence[Any]) -> list[_Result]:
    """Results of independent computations on the processor, which share its threads out.

    Small networks keep one thread busy and not two: several at a time, of one thread each, are
    faster than one after the other. Whatever PyTorch releases its lock for runs at once.

    Args:
        function: computes one item; it must not touch PyTorch's default random generators.
        items: what to compute.
    """
    threads = torch.get_num_threads()
    workers = min(threads, len(items))
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
