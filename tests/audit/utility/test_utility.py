"""Utility: classifiers trained on a set, tested on another, and two sets compared."""

from __future__ import annotations

import json

import numpy as np
import pytest

from latentpath.audit.utility.classifier_utility import Utility, from_predictions, measure_utility
from latentpath.audit.utility.predictions import Predictions
from latentpath.audit.utility.utility_findings import UtilityDifference, compare_utility
from latentpath.core.errors import DataError, InputError, ShapeError
from latentpath.data import ImageSet
from latentpath.training import AugmentConfig, ClassifierConfig

pytest.importorskip("monai")

QUICK = ClassifierConfig(
    steps=40, batch=16, width=4, augment=AugmentConfig(brightness=0, contrast=0)
)


def relabelled(images: ImageSet, labels: np.ndarray) -> ImageSet:
    return ImageSet(images.images, labels, images.identities, images.class_names)


def answered(predicted, labels, names=("a", "b", "c"), people=None, train=None) -> Utility:
    """The utility of classifiers that answer `predicted` [S, n]."""
    logits = np.eye(len(names), dtype=np.float32)[np.asarray(predicted)]
    labels = np.asarray(labels)
    people = np.arange(len(labels)) if people is None else people
    counts = np.ones(len(names), int) if train is None else np.asarray(train)
    predictions = Predictions(logits, labels, people, tuple(names), counts)
    return from_predictions(predictions, range(len(logits)))


def test_an_easy_set_is_learnt(people):
    told = []
    found = measure_utility(
        people(40),
        people(30, seed=1),
        config=QUICK,
        seeds=(3, 4),
        progress=lambda *event: told.append(event),
    )
    assert found.accuracy > 0.9
    assert found.balanced_accuracy > 0.9
    assert found.auc > 0.95
    assert found.accuracy == pytest.approx(np.mean([run.accuracy for run in found.runs]))
    assert found.accuracy_interval.value == pytest.approx(found.accuracy)
    assert found.accuracy_interval.low < found.accuracy
    assert found.seeds == (3, 4)
    assert found.test_images == 30
    assert found.accuracy_sd is not None
    assert {stage for stage, *_ in told} == {"utility"}
    assert told[-1][1:3] == (80, 80)


def test_wrong_labels_teach_the_wrong_thing(people):
    train = people(40)
    swapped = relabelled(train, 1 - train.labels)
    found = measure_utility(swapped, people(30, seed=1), config=QUICK, seeds=(0,))
    assert found.accuracy < 0.1
    assert found.auc < 0.1
    assert found.accuracy_sd is None
    assert found.covers == "test images, one seed only"


def test_shuffled_labels_teach_nothing(people):
    # Labels that have nothing to do with the images, over several draws: right half of the time.
    test, areas, shares = people(60, seed=1), [], []
    for draw in range(6):
        train = people(40, seed=10 + draw)
        random = np.random.default_rng(draw).permutation(train.labels)
        found = measure_utility(relabelled(train, random), test, config=QUICK, seeds=(draw,))
        areas.append(found.auc)
        shares.append(found.balanced_accuracy)
    assert np.mean(shares) == pytest.approx(0.5, abs=0.2)
    assert np.mean(areas) == pytest.approx(0.5, abs=0.3)


def test_a_class_that_the_set_lost_is_never_found(people):
    names = ("a", "b", "c")
    whole = people(45, classes=names)
    train = whole.subset(whole.labels != 1)
    found = measure_utility(train, people(30, classes=names, seed=1), config=QUICK, seeds=(0, 1))
    lost = found.per_class[1]
    assert (lost.train_images, lost.test_images) == (0, 10)
    assert lost.recall.value == 0
    assert lost.recall.high < 0.6
    assert lost.precision is None
    assert lost.auc is not None
    assert found.balanced_accuracy < 0.7


def test_figures_by_hand():
    found = answered([[0, 1, 0, 0, 2, 0]], [0, 1, 2, 0, 1, 2], train=[5, 6, 0])
    assert found.accuracy == pytest.approx(3 / 6)
    assert found.runs[0].recall == (1.0, 0.5, 0.0)
    assert found.balanced_accuracy == pytest.approx(0.5)
    assert found.confusion.tolist() == [[2, 0, 0], [0, 1, 1], [2, 0, 0]]
    assert [row.precision for row in found.per_class] == [0.5, 1.0, 0.0]
    assert [row.test_images for row in found.per_class] == [2, 2, 2]
    assert [row.train_images for row in found.per_class] == [5, 6, 0]
    # Class 0: both positives answered 0, and two of four negatives: half of the pairs tie.
    assert found.per_class[0].auc == pytest.approx(0.75)


def test_confusion_and_precision_hold_all_seeds():
    found = answered([[0, 1], [0, 0]], [0, 1], names=("a", "b"))
    assert found.confusion.tolist() == [[2, 0], [1, 1]]
    assert found.per_class[0].precision == pytest.approx(2 / 3)
    assert found.per_class[1].recall.value == pytest.approx(0.5)


def test_a_class_without_test_images_counts_for_nothing():
    found = answered([[0, 2, 2]], [0, 1, 0])
    assert found.runs[0].recall == (0.5, 0.0, None)
    assert found.balanced_accuracy == pytest.approx(0.25)
    row = found.per_class[2]
    assert (row.recall, row.auc, row.precision) == (None, None, 0.0)


@pytest.mark.parametrize("labels", [[0], [1, 1], [0, 1]])
def test_tiny_test_sets_still_have_figures(labels):
    found = answered([labels, labels], labels)
    assert found.accuracy == 1
    assert found.accuracy_interval.low < 0.7
    assert (found.auc is None) == (len(set(labels)) == 1)
    assert (found.auc_interval is None) == (len(set(labels)) == 1)
    json.dumps(found.as_dict(), allow_nan=False)


def test_the_dictionary_names_nobody():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 50)
    found = answered(rng.integers(0, 3, (3, 50)), labels, people=np.arange(50) // 2 + 9000)
    figures = found.as_dict()
    assert figures["intervals_cover"] == "seeds and test images"
    assert set(figures["intervals"]["accuracy"]) == {"value", "low", "high", "level"}
    assert [row["name"] for row in figures["classes"]] == ["a", "b", "c"]
    assert np.sum(figures["confusion"]) == 150
    json.dumps(figures, allow_nan=False)

    def lengths(value) -> list[int]:
        if not isinstance(value, (dict, list)):
            return []
        inside = value.values() if isinstance(value, dict) else value
        return [len(value), *(n for one in inside for n in lengths(one))]

    # Nothing in it is as long as the test set: there is no row per image or person.
    assert max(lengths(figures)) < 25


def test_figures_without_predictions_still_have_means():
    bare = Utility(answered([[0, 1, 2]], [0, 1, 1]).runs, (0,), 3)
    assert bare.accuracy == pytest.approx(2 / 3)
    assert bare.accuracy_interval is bare.calibration is bare.confusion is None
    assert bare.per_class == ()
    assert "intervals" not in bare.as_dict()
    with pytest.raises(DataError, match="predictions"):
        compare_utility(bare, bare)


def test_what_does_not_fit_is_refused(people):
    for seeds in ((), (1, 1)):
        with pytest.raises(InputError, match="at least one seed"):
            measure_utility(people(4), people(4), seeds=seeds)
    with pytest.raises(DataError, match="same class names"):
        measure_utility(people(4), people(4, classes=("dark", "light")))
    with pytest.raises(ShapeError):
        measure_utility(people(4), people(4, channels=3))
    predictions = answered([[0, 1]], [0, 1]).predictions
    with pytest.raises(InputError, match="a seed for each"):
        from_predictions(predictions, (0, 1))


def test_difference_of_two_sets_by_hand():
    labels = np.zeros(200, int)
    worse = (np.arange(200) < 30).astype(int)
    better = (np.arange(200) < 10).astype(int)
    found = compare_utility(answered([better], labels), answered([worse], labels))
    assert found.accuracy.value == pytest.approx(0.1)
    # 20 images differ: standard error of the mean of 20 ones among 200.
    half = 1.96 * np.sqrt(0.1 * 0.9 / 199)
    assert found.accuracy.low == pytest.approx(0.1 - half, abs=0.002)
    assert found.auc is None
    assert found.within(0) is True
    back = compare_utility(answered([worse], labels), answered([better], labels))
    assert back.accuracy.high == pytest.approx(-found.accuracy.low)
    assert back.within(2) is False
    assert back.within(10) is None
    assert back.within(20) is True
    json.dumps(back.as_dict(), allow_nan=False)


def test_sets_of_few_test_images_cannot_be_told_apart():
    found = compare_utility(answered([[0, 1, 2]], [0, 1, 2]), answered([[0, 1, 2]], [0, 1, 2]))
    assert isinstance(found, UtilityDifference)
    assert found.accuracy.value == 0
    assert found.within(2) is None


def test_only_the_same_test_images_compare():
    base = answered([[0, 1, 2, 0]], [0, 1, 2, 0])
    for other in (
        answered([[0, 1, 2]], [0, 1, 2]),
        answered([[0, 1, 2, 0]], [0, 1, 0, 2]),
        answered([[0, 1, 2, 0]], [0, 1, 2, 0], people=np.array([0, 0, 1, 2])),
        answered([[0, 1, 2, 0]], [0, 1, 2, 0], names=("a", "b", "d")),
    ):
        with pytest.raises(DataError, match="same test images"):
            compare_utility(base, other)
    with pytest.raises(InputError):
        compare_utility(base, base).within(-1)
