"""The promise of k_same on random and awkward inputs, and its refusals."""

from __future__ import annotations

import dataclasses
from collections import defaultdict

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from latentpath.core.errors import DataError, InputError, PrivacyError, ShapeError
from latentpath.ksame import Grouping, k_same

METHODS = ("farthest", "mdav", "auto")


def people_by_group(grouping: Grouping, identities) -> dict[int, set[int]]:
    members = defaultdict(set)
    for group, person in zip(grouping.assignment.tolist(), list(identities), strict=True):
        if group >= 0:
            members[group].add(int(person))
    return members


def assert_promise(grouping: Grouping, identities, labels, k: int) -> None:
    """Independent of Grouping.check: plain Python over the rows."""
    members = people_by_group(grouping, identities)
    assert sorted(members) == list(range(grouping.num_groups))
    for group, people in members.items():
        assert k <= len(people) <= 2 * k - 1
        assert grouping.sizes()[group] == len(people)
    homes = defaultdict(set)
    for group, person, label in zip(grouping.assignment, identities, labels, strict=True):
        if group >= 0:
            assert grouping.group_labels[group] == label
            homes[int(person), int(label)].add(int(group))
        else:
            assert int(label) in grouping.dropped_classes
    assert all(len(groups) == 1 for groups in homes.values())


@st.composite
def data_sets(draw):
    """Rows with repeated people, repeated latents, persons in several classes."""
    n = draw(st.integers(1, 90))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    identities = rng.integers(0, draw(st.integers(1, 2 * n)), n) * 7 - 3
    labels = rng.integers(0, draw(st.integers(1, 4)), n) * 5
    scale = draw(st.sampled_from([0.0, 1e-3, 1.0, 1e4]))
    latents = rng.integers(-2, 3, (n, draw(st.integers(1, 5)))) * scale
    if draw(st.booleans()):
        latents = latents + rng.standard_normal(latents.shape)
    return latents.astype(np.float32), identities, labels


@pytest.mark.parametrize("method", METHODS)
@given(data=data_sets(), k=st.integers(2, 9))
def test_groups_hold_k_to_2k_minus_1_people_of_one_class(method, data, k):
    latents, identities, labels = data
    counts = {int(y): len(set(identities[labels == y].tolist())) for y in set(labels.tolist())}
    small = {label for label, count in counts.items() if count < k}
    if small == set(counts):
        with pytest.raises(PrivacyError):
            k_same(latents, identities, labels, k, method, small_classes="drop")
        return
    if small:
        with pytest.raises(PrivacyError, match=f"class {min(small)} has {counts[min(small)]}"):
            k_same(latents, identities, labels, k, method)
    grouping = k_same(latents, identities, labels, k, method, small_classes="drop")
    assert set(grouping.dropped_classes) == small
    assert_promise(grouping, identities, labels, k)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("k", [2, 3, 5, 8])
def test_every_remainder_is_within_the_bounds(method, k):
    # n from k to 4k meets every number of leftovers, and n = k and n = 2k - 1 besides.
    rng = np.random.default_rng(0)
    for n in range(k, 4 * k + 1):
        latents = rng.standard_normal((n, 6))
        grouping = k_same(latents, np.arange(n), np.zeros(n, int), k, method)
        assert_promise(grouping, np.arange(n), np.zeros(n, int), k)
        assert grouping.num_groups == n // k


def test_leftovers_join_the_group_with_the_nearest_centroid():
    latents = np.array([[0.0], [1.0], [100.0], [101.0], [40.0]])
    grouping = k_same(latents, np.arange(5), np.zeros(5, int), 2)
    # 101 is farthest from the others and takes 100; 0 takes 1; 40 is nearer to 0.5 than to 100.5.
    assert people_by_group(grouping, range(5)) == {0: {2, 3}, 1: {0, 1, 4}}


@pytest.mark.parametrize("method", METHODS)
def test_one_person_with_many_images_is_one_person(method):
    # Nine images of person 0 in one place would make a group of 5 rows, but of one person.
    latents = np.concatenate([np.zeros((9, 3)), np.eye(3).repeat(2, axis=0) + 10])
    identities = np.array([0] * 9 + [1, 2, 3, 4, 5, 6])
    labels = np.zeros(15, dtype=int)
    grouping = k_same(latents, identities, labels, 3, method)
    assert_promise(grouping, identities, labels, 3)
    with pytest.raises(PrivacyError, match="class 0 has 1"):
        k_same(latents[:9], identities[:9], labels[:9], 2, method)


@pytest.mark.parametrize("method", METHODS)
def test_a_person_counts_with_the_mean_of_their_images(method):
    rng = np.random.default_rng(1)
    single = rng.standard_normal((12, 4))
    offsets = rng.standard_normal((12, 4)) * 50
    twice = np.concatenate([single + offsets, single - offsets])
    identities = np.tile(np.arange(12), 2)
    one = k_same(single, np.arange(12), np.zeros(12, int), 3, method)
    two = k_same(twice, identities, np.zeros(24, int), 3, method)
    np.testing.assert_array_equal(two.assignment, np.tile(one.assignment, 2))


def test_a_person_with_two_labels_has_one_group_in_each():
    rng = np.random.default_rng(2)
    identities = np.array([0, 1, 2, 3, 0, 4, 5, 6])
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    grouping = k_same(rng.standard_normal((8, 2)), identities, labels, 4)
    assert_promise(grouping, identities, labels, 4)
    assert grouping.num_groups == 2
    assert sorted(grouping.groups_per_identity(identities).tolist()) == [1] * 6 + [2]


@pytest.mark.parametrize("method", METHODS)
def test_identical_latents_are_grouped_by_index(method):
    grouping = k_same(np.ones((7, 3)), np.arange(7), np.zeros(7, int), 3, method)
    assert_promise(grouping, np.arange(7), np.zeros(7, int), 3)
    again = k_same(torch.ones(7, 3), np.arange(7), np.zeros(7, int), 3, method)
    np.testing.assert_array_equal(grouping.assignment, again.assignment)
    assert {0, 1, 2} <= people_by_group(grouping, range(7))[0]


@pytest.mark.parametrize("method", METHODS)
def test_far_from_the_origin_the_groups_are_the_same(method):
    rng = np.random.default_rng(3)
    latents = rng.standard_normal((61, 5))
    here = k_same(latents, np.arange(61), np.zeros(61, int), 4, method)
    there = k_same(latents + 1e7, np.arange(61), np.zeros(61, int), 4, method)
    np.testing.assert_array_equal(here.assignment, there.assignment)


def test_classes_are_grouped_apart_and_numbered_in_a_row():
    rng = np.random.default_rng(4)
    labels = rng.permutation(np.repeat([3, -1, 8], [20, 31, 9]))
    grouping = k_same(rng.standard_normal((60, 3)), np.arange(60), labels, 4)
    assert_promise(grouping, np.arange(60), labels, 4)
    assert grouping.group_labels.tolist() == [-1] * 7 + [3] * 5 + [8] * 2


def test_dropped_classes_leave_their_rows_out():
    latents = np.arange(9.0)[:, None]
    labels = np.array([0, 0, 0, 0, 5, 5, 7, 7, 7])
    with pytest.raises(PrivacyError, match="class 5 has 2"):
        k_same(latents, np.arange(9), labels, 3)
    grouping = k_same(latents, np.arange(9), labels, 3, small_classes="drop")
    assert grouping.dropped_classes == (5,)
    assert grouping.assignment[4:6].tolist() == [-1, -1]
    assert (grouping.assignment[[0, 1, 2, 3, 6, 7, 8]] >= 0).all()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"latents": np.ones((10,))}, ShapeError),
        ({"latents": np.ones((10, 0))}, ShapeError),
        ({"latents": np.ones((10, 2), dtype=int)}, ShapeError),
        ({"latents": np.ones((0, 2)), "identities": [], "labels": []}, DataError),
        ({"latents": np.full((10, 2), np.nan)}, DataError),
        ({"latents": np.full((10, 2), np.inf)}, DataError),
        ({"latents": np.full((10, 2), 1e200)}, DataError),
        ({"identities": np.arange(9)}, ShapeError),
        ({"identities": np.arange(10.0)}, ShapeError),
        ({"labels": np.zeros((10, 1), dtype=int)}, ShapeError),
        ({"k": 1}, PrivacyError),
        ({"k": 0}, PrivacyError),
        ({"k": 11}, PrivacyError),
        ({"k": 2.5}, InputError),
        ({"k": True}, InputError),
        ({"method": "nearest"}, InputError),
        ({"small_classes": "keep"}, InputError),
    ],
)
def test_impossible_input_is_refused(change, error):
    arguments = {
        "latents": np.arange(20.0).reshape(10, 2),
        "identities": np.arange(10),
        "labels": np.zeros(10, dtype=int),
        "k": 3,
        **change,
    }
    with pytest.raises(error) as caught:
        k_same(**arguments)
    assert "\n" not in str(caught.value)


def test_the_row_of_a_nan_is_named():
    latents = np.zeros((6, 2))
    latents[4, 1] = np.nan
    with pytest.raises(DataError, match="row 4"):
        k_same(latents, np.arange(6), np.zeros(6, int), 2)


def test_check_finds_a_broken_grouping():
    identities, labels = np.arange(12), np.repeat([0, 1], 6)
    latents = np.random.default_rng(5).standard_normal((12, 2))
    grouping = k_same(latents, identities, labels, 3)
    grouping.check(identities, labels)
    moved = grouping.assignment.copy()
    moved[np.flatnonzero(moved == 0)[0]] = 1
    for broken in (
        dataclasses.replace(grouping, assignment=moved),
        dataclasses.replace(grouping, k=4),
        dataclasses.replace(grouping, assignment=grouping.assignment + 1),
        dataclasses.replace(grouping, identity_counts=grouping.identity_counts + 1),
    ):
        with pytest.raises(PrivacyError):
            broken.check(identities, labels)
    with pytest.raises(PrivacyError):
        grouping.check(np.zeros(12, int), labels)
    with pytest.raises(PrivacyError):
        grouping.check(identities, labels[::-1].copy())
