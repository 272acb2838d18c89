"""Mutated pickles load or are refused; nothing else happens, whatever the mutation."""

from __future__ import annotations

import collections

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

import latentpath
from support import fuzz_published, watching

SEEN: collections.Counter = collections.Counter()


@pytest.fixture(scope="module")
def fuzzer():
    return fuzz_published.Fuzzer(fuzz_published.corpus())


@pytest.fixture(scope="module")
def path(fuzzer, tmp_path_factory):
    """A place for files; all of the corpus has been loaded from there."""
    path = tmp_path_factory.mktemp("fuzz") / "mutated.pkl"
    for data in fuzzer.files:
        path.write_bytes(data)
        latentpath.load_generator(path)
    return path


@pytest.fixture(scope="module")
def memory(path):
    return watching.Memory()


@settings(max_examples=300, suppress_health_check=list(HealthCheck))
@given(choose=st.randoms(use_true_random=False))
def test_mutations(fuzzer, path, memory, choose):
    path.write_bytes(fuzzer.mutated(choose))
    SEEN[fuzz_published.outcome(path)] += 1
    assert memory.growth() < fuzz_published.MEMORY


def test_the_mutations_were_of_all_kinds():
    """Some do no harm, some are damage, some are refused for what they ask."""
    if not SEEN:
        pytest.skip("needs the test above")
    assert {"loaded", "DamagedPickleError", "UnsafePickleError"} <= set(SEEN)
