"""The grouping methods against the published figures and plain textbook versions."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from latentpath.ksame import distances, group_methods, k_same
from support.fresh import python


def partition(assignment) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(assignment == g).tolist()) for g in set(assignment.tolist())}


def group(latents, k, method="farthest"):
    n = len(latents)
    return k_same(latents, np.arange(n), np.zeros(n, int), k, method).assignment


def farthest_textbook(latents, k) -> list[set[int]]:
    """The k-SALSA rule on the full matrix; leftovers are left out."""
    distances = cdist(latents, latents)
    free = set(range(len(latents)))
    groups = []
    while len(free) >= k:
        order = sorted(free)
        sums = distances[np.ix_(order, order)].sum(axis=1)
        centre = order[int(sums.argmax())]
        near = sorted(free - {centre}, key=lambda i: (distances[centre, i], i))[: k - 1]
        groups.append({centre, *near})
        free -= groups[-1]
    return groups


def mdav_textbook(latents, k) -> list[set[int]]:
    free = set(range(len(latents)))
    groups = []

    def farthest_from(target) -> int:
        return max(sorted(free), key=lambda i: np.linalg.norm(latents[i] - target))

    def take(centre) -> None:
        near = sorted(
            free - {centre}, key=lambda i: (np.linalg.norm(latents[i] - latents[centre]), i)
        )
        groups.append({centre, *near[: k - 1]})
        free.difference_update(groups[-1])

    while len(free) >= 3 * k:
        first = farthest_from(latents[sorted(free)].mean(axis=0))
        take(first)
        take(farthest_from(latents[first]))
    if len(free) >= 2 * k:
        take(farthest_from(latents[sorted(free)].mean(axis=0)))
    groups.append(free)
    return groups


def within_group_variance(latents, assignment) -> float:
    return sum(
        ((latents[assignment == g] - latents[assignment == g].mean(axis=0)) ** 2).sum()
        for g in set(assignment.tolist())
    )


def reference_sets(reference_dir):
    with np.load(reference_dir / "ksalsa_clusters.npz") as figures:
        for name in figures:
            if name.startswith("x_"):
                k = int(name.rsplit("_k", 1)[1])
                yield figures[name], figures["cluster" + name[1:]], k


def test_farthest_equals_the_published_partition_where_k_divides_n(reference_dir):
    compared = 0
    for latents, published, k in reference_sets(reference_dir):
        if len(latents) % k == 0:
            assert partition(group(latents, k)) == partition(published)
            compared += 1
    assert compared == 2


def test_farthest_keeps_k_where_the_published_grouping_does_not(reference_dir):
    compared = 0
    for latents, published, k in reference_sets(reference_dir):
        if len(latents) % k:
            # The published last round takes people away from earlier groups.
            assert np.bincount(published)[1:].min() < k
            ours = group(latents, k)
            assert np.bincount(ours).min() >= k
            # Up to that round both go the same way.
            untouched = {g for g in partition(published) if len(g) == k}
            held = [any(g <= mine for mine in partition(ours)) for g in untouched]
            assert sum(held) >= len(untouched) - 1
            compared += 1
    assert compared == 2


@pytest.mark.parametrize(("n", "dim", "k"), [(40, 2, 4), (77, 3, 7), (200, 64, 5), (123, 1, 2)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_farthest_equals_the_textbook(n, dim, k, seed):
    latents = np.random.default_rng(seed).standard_normal((n, dim))
    ours = partition(group(latents, k))
    theirs = farthest_textbook(latents, k)
    assert len(theirs) == len(ours)
    for members in theirs:
        assert any(members <= mine for mine in ours)


@pytest.mark.parametrize(("n", "dim", "k"), [(40, 2, 4), (77, 3, 7), (200, 64, 5), (123, 1, 2)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_mdav_equals_the_textbook(n, dim, k, seed):
    latents = np.random.default_rng(seed).standard_normal((n, dim))
    theirs = {frozenset(members) for members in mdav_textbook(latents, k)}
    assert partition(group(latents, k, "mdav")) == theirs


def test_close_pairs_are_told_apart_far_from_the_centre():
    # Differences of a millionth of the spread drown in |a|^2 + |b|^2 - 2 a.b.
    latents = np.array([[1e3, 0], [1e3, 2e-4], [1e3, 3e-4], [-1e3, 0], [-1e3, 1e-4], [-1e3, 3e-4]])
    assert partition(group(latents, 3)) == {frozenset({0, 1, 2}), frozenset({3, 4, 5})}
    # Four points within a millimetre, at a kilometre from the centre: the two ends pair up.
    close = [1000.0002, 1000.0, 1000.00005, 1000.0003]
    line = np.array([*close, 2000.0, 2001.0, -3500.0, -3500.5])[:, None]
    assert {frozenset({1, 2}), frozenset({0, 3})} <= partition(group(line, 2))


def test_copies_of_few_points_stay_together_in_textbook_order():
    corners = np.array([[0.0, 0.0], [7.0, 0.0], [0.0, 11.0]])
    latents = np.repeat(corners, 4, axis=0)
    same = [frozenset(range(4 * i, 4 * i + 4)) for i in range(3)]
    for method in ("farthest", "mdav"):
        assert partition(group(latents, 4, method)) == set(same)


@pytest.fixture
def small_approximation(monkeypatch):
    """The approximate method at sizes a test can afford."""
    monkeypatch.setattr(group_methods, "EXACT_BELOW", 200)
    monkeypatch.setattr(distances, "CELL", 32)
    monkeypatch.setattr(distances, "REACH", 256)


def test_auto_is_exact_for_few_people():
    latents = np.random.default_rng(6).standard_normal((300, 8))
    np.testing.assert_array_equal(group(latents, 5, "auto"), group(latents, 5))


@pytest.mark.parametrize(("kind", "bound"), [("even", 1.06), ("clusters", 1.06), ("narrow", 1.15)])
def test_auto_loses_little_against_exact(small_approximation, kind, bound):
    rng = np.random.default_rng(7)
    latents = rng.standard_normal((2003, 32))
    if kind == "clusters":
        latents = 0.3 * latents + rng.standard_normal((20, 32))[rng.integers(0, 20, 2003)]
    if kind == "narrow":
        latents = latents[:, :4]
    exact, found = group(latents, 5), group(latents, 5, "auto")
    sizes = np.bincount(found)
    assert sizes.min() >= 5
    assert sizes.max() <= 9
    assert len(sizes) == 2003 // 5
    loss = within_group_variance(latents, found) / within_group_variance(latents, exact)
    assert loss < bound
    shuffled = rng.permutation(found)
    assert within_group_variance(latents, shuffled) > 1.2 * within_group_variance(latents, found)


@pytest.mark.parametrize("copies", [1, 50, 2003])
def test_auto_gets_through_copies(small_approximation, copies):
    rng = np.random.default_rng(8)
    latents = np.repeat(rng.standard_normal((2003 // copies, 4)), copies, axis=0)
    sizes = np.bincount(group(latents, 7, "auto"))
    assert sizes.min() >= 7
    assert sizes.max() <= 13


def test_auto_serves_a_k_above_its_lists(small_approximation):
    latents = np.random.default_rng(9).standard_normal((1500, 3))
    sizes = np.bincount(group(latents, 90, "auto"))
    assert sizes.min() >= 90
    assert sizes.max() <= 179


PEAK = """
import os
import sys
from pathlib import Path
import numpy as np
import torch
from latentpath.ksame import group_methods, k_same
torch.set_num_threads(1)

def peak():  # KiB; getrusage would count what the parent process held before
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0])

group_methods.EXACT_BELOW = 2000
rng = np.random.default_rng(0)
n = int(sys.argv[1])
latents = rng.standard_normal((n, 8), dtype=np.float32)
for method in sys.argv[2:]:
    if child := os.fork():  # what one method leaves to the allocator would serve the next
        os.waitpid(child, 0)
        continue
    k_same(latents[:300], np.arange(300), np.zeros(300, int), 5, method)
    before = peak()
    k_same(latents, np.arange(n), np.zeros(n, int), 200, method)
    print((peak() - before) // 1024, flush=True)
    os._exit(0)
"""


@functools.cache
def peaks(*methods: str) -> dict[str, int]:
    """Largest memory that each method takes for 8,000 people, MiB."""
    run = python(PEAK, "8000", *methods)
    assert run.returncode == 0, run.stderr
    return dict(zip(methods, map(int, run.stdout.split()), strict=True))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
@pytest.mark.parametrize("method", ["farthest", "mdav", "auto"])
def test_memory_stays_far_below_a_distance_matrix(method):
    # A float32 matrix of all distances would take 244 MiB, a float64 one 488.
    assert 0 < peaks("farthest", "mdav", "auto")[method] < 100
