"""Interleaved timing with pytest-benchmark, and rows at the end of the session.

A workload's implementations are timed in turn, several times over, a few rounds each, so that a
machine that slows down slows them all. Rows merge all rounds of an implementation.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import workload as shared

SAMPLES: dict[tuple[str, ...], shared.Sample] = {}
TURNS = int(os.environ.get("LATENTPATH_BENCH_TURNS", "5"))
ROUNDS = int(os.environ.get("LATENTPATH_BENCH_ROUNDS", "3"))


def pytest_generate_tests(metafunc):
    """Run every test of a workload TURNS times; the turn changes after the implementation."""
    if "turn" in metafunc.fixturenames:
        metafunc.parametrize("turn", range(TURNS))


def pytest_collection_modifyitems(items):
    """Workload by workload, turn by turn, implementation by implementation."""

    def place(item):
        parameters = item.callspec.params
        return str(item.path), parameters["shape"], parameters["dtype"], parameters["turn"]

    items.sort(key=place)


@pytest.fixture
def measure(benchmark, turn):
    """Time one implementation of a workload and keep the rounds for its row."""

    def run(op, shape, dtype, implementation, workload):
        benchmark.group = f"{op} {shape} {dtype}"
        benchmark.pedantic(
            shared.synchronized(workload.runs[implementation]),
            rounds=ROUNDS,
            warmup_rounds=1,
            iterations=1,
        )
        bound = (workload.bytes, workload.flops, workload.bound)
        key = (op, shape, dtype, implementation)
        sample = SAMPLES.setdefault(key, shared.Sample(*key, bound))
        sample.seconds += benchmark.stats.stats.data
        sample.load = os.getloadavg()[0]

    return run


def pytest_sessionfinish(session, exitstatus):
    """Append the rows, unless something failed."""
    if SAMPLES and exitstatus == 0:
        shared.append(shared.rows(SAMPLES.values()))
