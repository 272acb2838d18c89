"""The attack on centroids: copies and averages are found, random images are not."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from latentpath.audit.attacks.group_attack import attack_groups
from latentpath.core.errors import DataError, InputError, ShapeError
from latentpath.data import ImageSet
from latentpath.similarity import prepare_real
from latentpath.similarity.gradients import prepare_gradients


def noise(count: int, seed: int, per_person: int = 1) -> ImageSet:
    people = np.repeat(np.arange(count), per_person)
    images = np.random.default_rng(seed).integers(0, 256, (len(people), 8, 8, 1)).astype(np.uint8)
    return ImageSet(images, people % 2, people, ("a", "b"))


def flat(images: torch.Tensor) -> torch.Tensor:
    return images.flatten(1)


def groups_of(real: ImageSet, size: int) -> list[np.ndarray]:
    """Groups of people of one class."""
    return [
        rows[start : start + size]
        for label in (0, 1)
        for rows in [np.flatnonzero(real.labels == label)]
        for start in range(0, len(rows) - size + 1, size)
    ]


def attack(centroids, groups, real, holdout=None, **options):
    return attack_groups(
        centroids, groups, real, holdout, embed=flat, **({"resamples": 200} | options)
    )


def test_copies_of_one_member_are_found():
    real, holdout = noise(120, 0), noise(80, 1)
    groups = groups_of(real, 5)
    centroids = real.images[[group[2] for group in groups]]
    found = attack(centroids, groups, real, holdout).scores
    assert set(found) == {"images_private", "images_holdout"}
    for score in found.values():
        assert score.hits[1].value == score.hits[5].value == 1
        # One of five members at the very top, the others anywhere.
        assert score.auc.value == pytest.approx(0.2 + 0.8 * 0.5, abs=0.06)
        assert score.tpr_at_1_percent.value == pytest.approx(0.2, abs=0.05)
        assert score.tpr_at_01_percent.low > 0.1
    assert (found["images_private"].centroids, found["images_private"].members) == (24, 120)
    assert found["images_private"].impostors == 24 * 55
    assert found["images_holdout"].impostors == 24 * 40


def test_averages_are_found():
    real, holdout = noise(120, 0), noise(80, 1)
    groups = groups_of(real, 3)
    centroids = np.stack([real.images[group].mean(0) for group in groups]).astype(np.uint8)
    found = attack(centroids, groups, real, holdout).scores["images_holdout"]
    assert found.auc.low > 0.95
    assert found.hits[1].low > 0.8


def test_random_centroids_are_at_chance():
    real, holdout = noise(120, 0), noise(80, 1)
    groups = groups_of(real, 5)
    found = attack(noise(len(groups), 7).images, groups, real, holdout).scores
    for score in found.values():
        assert score.auc.holds(0.5)
        assert score.tpr_at_1_percent.holds(0.01)
        for rank in (1, 5):
            assert score.hits[rank].holds(score.chance[rank])


def test_constant_distances_are_at_chance():
    grey = replace(noise(400, 0), images=np.full((400, 4, 4, 1), 9, np.uint8))
    groups = groups_of(grey, 2)
    found = attack(grey.images[: len(groups)], groups, grey).scores["images_private"]
    assert found.auc.value == 0.5
    assert found.tpr_at_1_percent.value == 0
    assert found.hits[5].holds(found.chance[5])


def test_figures_by_hand():
    """People on a line; one centroid at 0 of people at 1 and 5, another at 100."""
    places = np.array([1, 5, 3, 4, 9, 100, 104, 90, 91])
    images = np.broadcast_to(places[:, None, None, None], (9, 1, 1, 1)).astype(np.uint8)
    labels = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1])
    real = ImageSet(images, labels, np.arange(9), ("a", "b"))
    centroids = np.array([0, 100], np.uint8).reshape(2, 1, 1, 1)
    found = attack(centroids, [np.array([0, 1]), np.array([7, 8])], real).scores["images_private"]
    # First: 1 beats 3, 4, 9; 5 beats 9: 4 of 6. Second: 10 and 9 away, others 0 and 4: 0 of 4.
    assert found.auc.value == pytest.approx((4 / 6 + 0) / 2)
    assert (found.hits[1].value, found.hits[5].value) == (0.5, 1.0)
    assert found.chance[1] == pytest.approx((2 / 5 + 2 / 4) / 2)
    assert found.chance[5] == 1.0
    assert (found.members, found.impostors) == (4, 5)
    # Distances of outsiders: 3, 4, 9, 0, 4; none may be accused, so nobody is nearer than 0.
    assert found.tpr_at_1_percent.value == 0


def test_chance_by_counting():
    """Two of seven candidates are members: five of them miss both in 1 of 21 draws."""
    real = noise(14, 0)
    groups = groups_of(real, 2)[:1]
    found = attack(real.images[:1], groups, real).scores["images_private"]
    assert found.chance == {1: pytest.approx(2 / 7), 5: pytest.approx(1 - 1 / 21)}


def test_only_people_of_the_groups_class_compete():
    real = noise(40, 0)
    bright = real.images.copy()
    bright[real.labels == 1] = 255
    real = replace(real, images=bright // 2 + 100)
    groups = groups_of(real, 4)[:5]  # class a
    found = attack(noise(5, 9).images, groups, real).scores["images_private"]
    assert found.impostors == 5 * 16
    assert found.auc.value < 0.75  # the other class, far away, would make it nearly 1


def test_a_person_with_several_images_is_as_near_as_the_nearest():
    real = noise(20, 0, per_person=3)
    groups = [np.array([0, 6]), np.array([12, 18])]  # people 0 and 2, 4 and 6
    centroids = real.images[[2, 14]]  # another image of person 0, and of person 4
    found = attack(centroids, groups, real).scores["images_private"]
    assert found.hits[1].value == 1
    assert found.members == 4
    assert found.impostors == 2 * 8  # people, and not the members' other images


def test_latents_are_attacked_where_they_are_given():
    rng = np.random.default_rng(0)
    real, holdout = noise(60, 0), noise(40, 1)
    groups = groups_of(real, 5)
    private, others = rng.normal(size=(60, 6)), rng.normal(size=(40, 6))
    centres = np.stack([private[group].mean(0) for group in groups])
    images = noise(len(groups), 5).images
    found = attack(images, groups, real, holdout, latents=(centres, private, others)).scores
    assert found["latents_private"].auc.low > 0.55 > found["images_private"].auc.low
    assert found["latents_holdout"].auc.low > 0.55
    # Only the private set's: no holdout, no latents of it.
    assert set(attack(images, groups, real, latents=(centres, private, None)).scores) == {
        "images_private",
        "latents_private",
    }
    with pytest.raises(ShapeError, match=r"holdout \[0, 0\]"):
        attack(images, groups, real, holdout, latents=(centres, private, None))
    with pytest.raises(ShapeError, match=r"private \[59, 6\]"):
        attack(images, groups, real, latents=(centres, private[1:], None))


def test_memory_and_parts_do_not_change_the_figures(monkeypatch):
    real, holdout = noise(50, 0), noise(31, 1)
    groups = groups_of(real, 4)
    centroids = np.stack([real.images[group].mean(0) for group in groups]).astype(np.uint8)
    whole = attack(centroids, groups, real, holdout).as_dict()
    monkeypatch.setattr("latentpath.audit.attacks.group_score._COUNTS_AT_ONCE", 1000)
    little = attack(centroids, groups, real, holdout, max_bytes=30_000).as_dict()
    assert little == whole


def test_many_outsiders_are_sampled(monkeypatch):
    monkeypatch.setattr("latentpath.audit.attacks.group_score._PAIRS", 100)
    real = noise(80, 0)
    groups = groups_of(real, 4)
    found = attack(real.images[[g[0] for g in groups]], groups, real).scores["images_private"]
    assert found.impostors == 20 * 5
    assert found.hits[1].value == 1  # ranks see everybody


def test_groups_without_rivals_are_left_out():
    real = noise(8, 0)
    whole = [np.flatnonzero(real.labels == 0), np.flatnonzero(real.labels == 1)]
    found = attack(real.images[:2], whole, real, noise(6, 1)).scores
    assert set(found) == {"images_holdout"}


def test_lpips_and_plain_figures(people):
    real = people(12)
    found = attack_groups(real.images[:2], [np.array([0, 2]), np.array([1, 3])], real, resamples=9)
    plain = json.loads(json.dumps(found.as_dict()))
    assert plain["images_private"]["hits"]["top_1"]["value"] == 1
    assert plain["images_private"]["tpr_at_1_percent"]["resolved"] is False


@pytest.mark.parametrize(
    "groups",
    [
        [np.array([0, 1]), np.array([], int)],
        [np.array([0]), np.array([99])],
        [np.array([0.5]), np.array([1])],
        [np.array([-1]), np.array([1])],
    ],
)
def test_impossible_groups_are_refused(groups):
    real = noise(10, 0)
    with pytest.raises(DataError, match="group"):
        attack(real.images[:2], groups, real)


def test_what_does_not_fit_is_refused():
    real = noise(10, 0)
    with pytest.raises(ShapeError, match="one group for each"):
        attack(real.images[:2], [np.array([0])], real)
    with pytest.raises(ShapeError, match="size"):
        attack(real.images[:1, :4], [np.array([0])], real)
    with pytest.raises(DataError, match="at least one group"):
        attack(real.images[:0], [], real)


def test_points_of_one_walk_are_no_independent_witnesses():
    real, holdout = noise(60, 0), noise(40, 1)
    groups = groups_of(real, 5)
    copied = real.images[[group[0] for group in groups]]
    clusters = np.arange(len(groups)).repeat(10)
    many = [group for group in groups for _ in range(10)]
    once = attack(copied, groups, real, holdout).scores["images_holdout"]
    found = attack(copied.repeat(10, 0), many, real, holdout, clusters=clusters)
    again = found.scores["images_holdout"]
    assert (again.centroids, again.clusters) == (120, 12)
    for name in ("auc", "tpr_at_1_percent"):
        first, second = getattr(once, name), getattr(again, name)
        assert second.value == pytest.approx(first.value)
        assert second.high - second.low == pytest.approx(first.high - first.low, rel=0.25)
    assert again.hits[1].low == once.hits[1].low
    with pytest.raises(ShapeError, match=r"clusters \[120\]"):
        attack(copied.repeat(10, 0), many, real, clusters=clusters[1:])


def test_one_walk_settles_nothing():
    """However many points it has: all of them may be near the same few people by chance."""
    real = noise(60, 0)
    group = groups_of(real, 5)[0]
    for images in (real.images[group[:1]].repeat(50, 0), noise(50, 3).images):
        found = attack(images, [group] * 50, real, noise(40, 1), clusters=np.zeros(50))
        area = found.scores["images_holdout"].auc
        assert area.low < 0.5 < 0.6 < area.high


@pytest.mark.parametrize(("walks", "points"), [(30, 4), (8, 10)])
def test_intervals_hold_chance_though_people_are_not_alike(walks, points):
    """In three pixels some people are near to everything, and some to nothing."""
    held = {"auc": 0, "tpr_at_1_percent": 0}
    for seed in range(40):
        rng = np.random.default_rng(seed)
        images = rng.normal(128, 30, (160, 1, 3, 1)).clip(0, 255).astype(np.uint8)
        real, holdout = (
            ImageSet(part, np.zeros(80, int), np.arange(80), ("all",))
            for part in (images[:80], images[80:])
        )
        walk = rng.normal(128, 30, (walks, 1, 3, 1)).repeat(points, 0)
        walk = (walk + rng.normal(0, 8, walk.shape)).clip(0, 255).astype(np.uint8)
        clusters = np.arange(walks).repeat(points)
        ends = [rng.choice(80, 10, replace=False) for _ in range(walks)]
        groups = [ends[cluster] for cluster in clusters]
        found = attack(walk, groups, real, holdout, clusters=clusters, resamples=100)
        score = found.scores["images_holdout"]
        held["auc"] += score.auc.holds(0.5)
        held["tpr_at_1_percent"] += score.tpr_at_1_percent.holds(0.01)
    assert held["auc"] >= 35
    assert held["tpr_at_1_percent"] >= 35


def test_sets_that_were_prepared_need_no_other_embedding(people, lpips):
    real, holdout = people(12), people(8, seed=1)
    made, groups = people(4, seed=2).images, [np.array([0, 2, 4]), np.array([1, 3, 5])] * 2
    prepared = prepare_real(real, lpips), prepare_real(holdout, lpips)
    plain = attack_groups(made, groups, real, holdout, resamples=20).as_dict()
    for sets in (prepared, (prepared[0], holdout), (real, prepared[1])):
        assert attack_groups(made, groups, *sets, resamples=20).as_dict() == plain
    with pytest.raises(InputError, match="one embedding"):
        attack_groups(made, groups, prepared[0], embed=flat)
    with pytest.raises(InputError, match="one embedding"):
        attack_groups(made, groups, prepared[0], prepare_gradients(holdout))
