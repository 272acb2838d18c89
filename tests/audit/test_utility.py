"""Utility: classifiers trained on a set, tested on another."""

from __future__ import annotations

import numpy as np
import pytest

from latentpath.audit import measure_utility
from latentpath.audit.utility import score
from latentpath.data import ImageSet
from latentpath.errors import InputError
from latentpath.training import AugmentConfig, ClassifierConfig

pytest.importorskip("monai")

QUICK = ClassifierConfig(
    steps=40, batch=16, width=4, augment=AugmentConfig(brightness=0, contrast=0)
)


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
    assert found.accuracy == pytest.approx(np.mean([run.accuracy for run in found.runs]))
    assert found.seeds == (3, 4)
    assert found.test_images == 30
    assert found.accuracy_sd is not None
    assert {stage for stage, *_ in told} == {"utility"}
    assert told[-1][1:3] == (80, 80)


def test_wrong_labels_teach_the_wrong_thing(people):
    train = people(40)
    swapped = ImageSet(train.images, 1 - train.labels, train.identities, train.class_names)
    found = measure_utility(swapped, people(30, seed=1), config=QUICK, seeds=(0,))
    assert found.accuracy < 0.1
    assert found.accuracy_sd is None


def test_score_by_hand(people):
    test = people(6, classes=("a", "b", "c"))  # labels 0 1 2 0 1 2
    found = score(np.array([0, 1, 0, 0, 2, 0]), test)
    assert found.accuracy == pytest.approx(3 / 6)
    assert found.recall == (1.0, 0.5, 0.0)
    assert found.balanced_accuracy == pytest.approx(0.5)


def test_a_class_without_test_images_counts_for_nothing(people):
    test = people(4, classes=("a", "b", "c")).subset([0, 1, 3])  # labels 0 1 0
    found = score(np.array([0, 2, 2]), test)
    assert found.recall == (0.5, 0.0, None)
    assert found.balanced_accuracy == pytest.approx(0.25)


def test_no_seed_is_refused(people):
    with pytest.raises(InputError, match="at least one seed"):
        measure_utility(people(4), people(4), seeds=())
