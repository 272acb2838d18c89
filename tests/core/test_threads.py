"""Computations beside each other, what they tell of their progress, and memory given back."""

from __future__ import annotations

import ctypes
import threading
from pathlib import Path

import pytest
import torch

from latentpath.core import (
    SummedProgress,
    return_freed_memory,
    side_by_side,
    threads_that_help,
    using_threads,
)


@pytest.mark.parametrize(("threads", "items", "each"), [(1, 5, 1), (4, 2, 2), (3, 7, 1), (5, 3, 1)])
def test_items_share_the_threads_out_and_keep_their_order(threads, items, each):
    def work(item):
        return item, torch.get_num_threads()

    with using_threads(threads):
        results = side_by_side(work, range(items))
        assert torch.get_num_threads() == threads
    assert [item for item, _ in results] == list(range(items))
    assert {used for _, used in results} == {each}


def test_they_run_at_once():
    both = threading.Barrier(2, timeout=30)
    with using_threads(2):
        side_by_side(lambda _: both.wait(), range(2))


def test_an_error_of_one_is_raised():
    def work(item):
        if item == 1:
            raise ValueError("of one")
        return item

    with using_threads(2), pytest.raises(ValueError, match="of one"):
        side_by_side(work, range(4))


def test_threads_are_given_back_after_an_error():
    before = torch.get_num_threads()
    with pytest.raises(KeyError), using_threads(before + 1):
        raise KeyError
    assert torch.get_num_threads() == before


def test_parts_are_told_as_one_stage():
    told = []
    together = SummedProgress(lambda *given: told.append(given), 3)
    first, last = together.part(0), together.part(2)
    first("train", 1, 10, {"loss": 2.0})
    last("train", 4, 10, {"loss": 1.0})
    first("train", 10, 10, {"loss": 0.5})
    assert told == [
        ("train", 1, 30, {"loss": 2.0}),
        ("train", 5, 30, {"loss": 1.0}),
        ("train", 14, 30, {"loss": 0.5}),
    ]


def resident() -> int:
    """Bytes of this process that are in memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


@pytest.mark.skipif(
    not (Path("/proc/self/status").exists() and hasattr(ctypes.CDLL(None), "malloc_trim")),
    reason="needs glibc and /proc",
)
def test_pieces_between_others_that_are_in_use_go_back():
    blocks = [bytearray(60_000) for _ in range(1000)]
    kept = blocks[::100]
    del blocks
    before = resident()
    return_freed_memory()
    assert before - resident() > 40_000_000
    assert len(kept) == 10


def test_a_trial_of_threads_leaves_no_trace():
    before, state = torch.get_num_threads(), torch.get_rng_state()
    assert threads_that_help(1) == 1
    assert torch.get_num_threads() == before
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("seconds", "best"),
    [
        ({1: 1.0, 2: 0.5, 4: 0.3}, 4),
        ({1: 1.0, 2: 0.5, 4: 0.49}, 2),  # not worth two more
        ({1: 1.0, 2: 2.0, 4: 9.0}, 1),
    ],
)
def test_as_many_threads_as_help(seconds, best, monkeypatch):
    in_turn = lambda *_: seconds[torch.get_num_threads()]  # noqa: E731
    monkeypatch.setattr("latentpath.core.threads._timed", in_turn)
    before = torch.get_num_threads()
    assert threads_that_help(4) == best
    assert torch.get_num_threads() == before
