"""Pairs within a class, none twice, deterministic, even, and complete up to the limit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from scipy.spatial.distance import cdist

from latentpath.core.errors import DataError, InputError, ShapeError
from latentpath.ksame import distances, pair_groups, pair_limits, pairing

METHODS = ("random", "nearest", "tour")


def assert_pairs(pairing, group_labels, count):
    assert pairing.pairs.shape == (count, 2)
    assert pairing.pairs.dtype == np.int64
    assert (pairing.pairs[:, 0] != pairing.pairs[:, 1]).all()
    assert len({frozenset(pair) for pair in pairing.pairs.tolist()}) == count
    assert (group_labels[pairing.pairs] == pairing.labels[:, None]).all()


@pytest.mark.parametrize("method", METHODS)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    share=st.floats(0, 1),
    seed=st.integers(0, 1000),
    copies=st.booleans(),
)
def test_pairs_are_distinct_and_within_a_class(method, sizes, share, seed, copies):
    rng = np.random.default_rng(seed)
    group_labels = rng.permutation(np.repeat(np.arange(len(sizes)) * 3 - 4, sizes))
    centroids = np.zeros((len(group_labels), 3)) if copies else rng.random((len(group_labels), 3))
    limit = sum(m * (m - 1) // 2 for m in sizes)
    count = round(share * limit)
    pairing = pair_groups(centroids, group_labels, count, method, seed=seed)
    assert_pairs(pairing, group_labels, count)
    again = pair_groups(centroids, group_labels, count, method, seed=seed)
    np.testing.assert_array_equal(pairing.pairs, again.pairs)
    single = {int(y) for y in set(group_labels.tolist()) if (group_labels == y).sum() == 1}
    assert set(pairing.single_group_classes) == single


@pytest.mark.parametrize("method", METHODS)
def test_the_limit_is_reached_and_named(method):
    group_labels = np.repeat([0, 1, 2], [7, 4, 1])
    centroids = np.random.default_rng(0).random((12, 2))
    assert pair_limits(group_labels) == {0: 21, 1: 6, 2: 0}
    everything = pair_groups(centroids, group_labels, 27, method)
    assert_pairs(everything, group_labels, 27)
    with pytest.raises(InputError, match="27 pairs"):
        pair_groups(centroids, group_labels, 28, method)
    with pytest.raises(InputError, match="6 pairs of class 1"):
        pair_groups(centroids, group_labels, {0: 3, 1: 7}, method)
    with pytest.raises(InputError, match="0 pairs of class 2"):
        pair_groups(centroids, group_labels, {2: 1}, method)
    with pytest.raises(InputError):
        pair_groups(centroids, group_labels, -1, method)


def test_a_number_for_each_class():
    group_labels = np.repeat([0, 1, 2], [7, 4, 3])
    centroids = np.random.default_rng(0).random((14, 2))
    pairing = pair_groups(centroids, group_labels, {2: 2, 0: 5})
    assert_pairs(pairing, group_labels, 7)
    assert pairing.labels.tolist() == [0] * 5 + [2] * 2


def test_a_total_follows_the_classes_sizes_or_is_balanced():
    group_labels = np.repeat([0, 1, 2], [30, 10, 1])
    centroids = np.random.default_rng(0).random((41, 2))
    by_size = pair_groups(centroids, group_labels, 40)
    assert np.bincount(by_size.labels).tolist() == [30, 10]
    even = pair_groups(centroids, group_labels, 41, balanced=True)
    assert sorted(np.bincount(even.labels).tolist()) == [20, 21]
    # What the small class cannot give, the large one does; not so in equal shares.
    assert np.bincount(pair_groups(centroids, group_labels, 470).labels).tolist() == [425, 45]
    edge = pair_groups(centroids, group_labels, 91, balanced=True)
    assert np.bincount(edge.labels).tolist() == [46, 45]
    with pytest.raises(InputError, match="91 pairs in equal shares"):
        pair_groups(centroids, group_labels, 92, balanced=True)


@pytest.mark.parametrize("m", [2, 3, 8, 11])
def test_random_pairs_use_every_group_evenly(m):
    centroids, labels = torch.zeros(m, 2), np.zeros(m, int)
    for count in range(1, m * (m - 1) // 2 + 1):
        pairing = pair_groups(centroids, labels, count, seed=1)
        uses = np.bincount(pairing.pairs.ravel(), minlength=m)
        # An odd number of groups leaves one out of each round.
        assert uses.max() - uses.min() <= 1 + m % 2


def test_random_pairs_depend_on_the_seed_and_cover_all_pairs():
    centroids, labels = np.zeros((6, 1)), np.zeros(6, int)
    firsts = {
        frozenset(pair_groups(centroids, labels, 1, seed=seed).pairs[0].tolist())
        for seed in range(200)
    }
    assert len(firsts) == 15


def test_nearest_pairs_go_by_rank_then_distance():
    rng = np.random.default_rng(3)
    centroids = rng.random((25, 3))
    distances = cdist(centroids, centroids) + np.diag([np.inf] * 25)
    expected = []
    for rank in range(24):
        order = np.argsort(distances, axis=1)[:, rank]
        edges = {frozenset((i, int(order[i]))) for i in range(25)} - set(expected)
        expected += sorted(edges, key=lambda e: distances[tuple(e)])
    for count in (10, 60, 299):
        pairing = pair_groups(centroids, np.zeros(25, int), count, "nearest")
        found = [frozenset(pair) for pair in pairing.pairs.tolist()]
        assert found == expected[:count]


def test_a_tour_visits_every_group_once_and_joins_up():
    rng = np.random.default_rng(4)
    centroids = rng.random((40, 2))
    pairing = pair_groups(centroids, np.zeros(40, int), 39, "tour", seed=5)
    assert (pairing.pairs[1:, 0] == pairing.pairs[:-1, 1]).all()
    visited = [pairing.pairs[0, 0], *pairing.pairs[:, 1]]
    assert sorted(visited) == list(range(40))
    lengths = np.linalg.norm(
        centroids[pairing.pairs[:, 0]] - centroids[pairing.pairs[:, 1]], axis=1
    )
    random = pair_groups(centroids, np.zeros(40, int), 39, "random").pairs
    assert (
        lengths.sum()
        < 0.5 * np.linalg.norm(centroids[random[:, 0]] - centroids[random[:, 1]], axis=1).sum()
    )


@pytest.fixture
def listed_neighbours(monkeypatch):
    """What serves very many groups, at sizes a test can afford."""
    monkeypatch.setattr(pairing, "_EXACT_BELOW", 100)
    monkeypatch.setattr(pairing, "_LISTED", 6)
    monkeypatch.setattr(distances, "CELL", 16)
    monkeypatch.setattr(distances, "REACH", 64)


@pytest.mark.parametrize("method", ["nearest", "tour"])
@pytest.mark.parametrize("copies", [False, True])
def test_many_groups_are_paired_through_lists(listed_neighbours, method, copies):
    labels = np.zeros(150, int)
    centroids = np.random.default_rng(6).random((150, 2)) * (not copies)
    for count in (140, 500, 150 * 149 // 2):
        assert_pairs(pair_groups(centroids, labels, count, method), labels, count)
    few = pair_groups(centroids, labels, 140, method).pairs
    random = pair_groups(centroids, labels, 140, "random").pairs
    apart = [np.linalg.norm(np.subtract(*centroids[p.T]), axis=1).mean() for p in (few, random)]
    assert apart[0] < 0.35 * apart[1] or copies


def test_no_class_with_two_groups_gives_an_empty_pairing():
    pairing = pair_groups(np.zeros((3, 2)), [0, 1, 2], 0)
    assert pairing.pairs.shape == (0, 2)
    assert pairing.single_group_classes == (0, 1, 2)
    with pytest.raises(InputError, match="0 to 0 pairs"):
        pair_groups(np.zeros((3, 2)), [0, 1, 2], 1)


def test_what_is_no_set_of_centroids_is_refused():
    with pytest.raises(ShapeError):
        pair_groups(np.zeros((3, 2)), [0, 1], 1)
    with pytest.raises(DataError):
        pair_groups(np.full((3, 2), np.nan), [0, 0, 0], 1)
    with pytest.raises(InputError):
        pair_groups(np.zeros((3, 2)), [0, 0, 0], 1, "closest")
