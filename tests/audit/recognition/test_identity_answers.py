"""Ranks against chance, thresholds set on holdout, and two classifiers side by side."""

from __future__ import annotations

import dataclasses
import itertools
import json

import numpy as np
import pytest
import torch

from latentpath.audit.recognition.identity_answers import agreement, ask, calibrated_naming
from latentpath.audit.recognition.reidentification import reidentify
from latentpath.core.errors import DataError, InputError, ShapeError
from latentpath.data import to_tensor

PEOPLE = 30


def answering(images, people: list[list[int]]):
    """Classifier that ranks the listed people first, in their order, and the others behind."""
    keys = to_tensor(images.images).flatten(1)

    def identity(batch: torch.Tensor) -> torch.Tensor:
        rows = torch.cdist(batch.flatten(1), keys).argmin(1)
        logits = torch.zeros(len(batch), PEOPLE)
        for place, row in enumerate(rows.tolist()):
            for rank, person in enumerate(people[row]):
                logits[place, person] = 9.0 - rank
        return logits

    return identity


def test_sources_count_at_rank_one_and_five(people):
    images = people(6, seed=1)
    named = [[3, 4, 5, 6, 7], [0, 1, 2, 3, 4], [9, 8, 7, 6, 5], [1], [2, 1], [20, 21, 22, 23, 11]]
    sources = [[3, 9], [4, 9], [1, 2], [1], [1], [10, 11, 12]]
    found = reidentify(
        images,
        np.zeros(6, int),
        answering(images, named),
        people=PEOPLE,
        sources=[np.array(some) for some in sources],
    ).sources
    assert found.rank1.value == pytest.approx(2 / 6)  # images 0 and 3
    assert found.rank5.value == pytest.approx(5 / 6)  # not image 2
    assert found.uniform == pytest.approx((2 + 2 + 2 + 1 + 1 + 3) / 6 / PEOPLE)


def test_chance_is_the_mean_over_all_shuffles():
    labels = np.array([0, 0, 0, 1, 1, 1])
    answers = np.array([[5, 2], [5, 1], [2, 3], [7, 8], [8, 7], [0, 8]])
    right = [np.array(some) for some in ([5, 2], [5, 2], [3], [8], [7, 0], [8])]
    found = agreement(answers, right, labels, people=9)
    for rank, chance in ((1, found.chance1), (2, found.chance5)):
        shuffled = [
            np.mean(
                [
                    np.isin(answers[source, :rank], right[image]).any()
                    for image, source in enumerate([*first, *second])
                ]
            )
            for first in itertools.permutations(range(3))
            for second in itertools.permutations(range(3, 6))
        ]
        assert chance == pytest.approx(np.mean(shuffled))


def test_naming_the_same_person_everywhere_is_chance():
    labels = np.zeros(40, int)
    right = [np.array([0, 1]) if image < 10 else np.array([2, 3]) for image in range(40)]
    found = agreement(np.zeros((40, 1), int), right, labels, people=10)
    assert found.rank1.value == found.chance1 == 0.25


def test_intervals_count_walks():
    labels, right = np.zeros(40, int), [np.array([1])] * 40
    answers = (np.arange(40) < 20).astype(int)[:, None]
    rows = agreement(answers, right, labels, people=5)
    walks = agreement(answers, right, labels, people=5, groups=np.arange(40) // 10)
    assert walks.rank1.value == rows.rank1.value == 0.5
    assert walks.rank1.high - walks.rank1.low > 1.5 * (rows.rank1.high - rows.rank1.low)


def test_the_margin_tells_probabilities_apart_that_round_to_one(people):
    images = people(2)
    logits = torch.tensor([[60.0, 0.0, 0.0], [80.0, 0.0, 0.0]])
    found = ask(lambda x: logits, images, people=3)
    np.testing.assert_allclose(found.margin, [60 - np.log(2), 80 - np.log(2)])
    np.testing.assert_array_equal(found.probability, 1)
    np.testing.assert_array_equal(found.people[:, 0], 0)
    assert found.people.shape == (2, 3)
    alone = ask(lambda x: torch.zeros(2, 1), images, people=1)
    np.testing.assert_array_equal(alone.probability, 1)


def test_the_threshold_names_one_stranger_in_a_hundred():
    holdout = np.arange(200.0)
    found = calibrated_naming(np.array([196.0, 197, 197.5, 198, 300]), holdout)
    assert found.threshold == 197
    assert found.named.value == pytest.approx(3 / 5)
    assert found.holdout.value <= 0.04
    assert found.resolved
    few = calibrated_naming(np.array([98.5, 99.5]), np.arange(99.0) + 1)
    assert few.threshold == 99
    assert few.named.value == 0.5
    assert not few.resolved


def test_an_over_confident_classifier_is_seen_through():
    """As sure about holdout as about these images: nobody is named more than holdout are."""
    rng = np.random.default_rng(0)
    found = calibrated_naming(rng.normal(50, 1, 2000), rng.normal(50, 1, 1000))
    assert found.named.value == pytest.approx(0.01, abs=0.012)
    assert found.holdout.value == pytest.approx(0.01, abs=0.012)
    assert found.named.low < found.holdout.high
    leak = calibrated_naming(rng.normal(54, 1, 500), rng.normal(50, 1, 1000))
    assert leak.named.low > 0.85


def test_people_of_the_holdout_with_several_images_stay_together():
    people = np.repeat(np.arange(50), 4)
    margins = np.random.default_rng(1).normal(size=50)[people]
    found = calibrated_naming(margins, margins, holdout_groups=people)
    assert not found.resolved
    with pytest.raises(DataError, match="two people in the holdout"):
        calibrated_naming(margins, margins[:4], holdout_groups=people[:4])


def test_the_witness_speaks_for_itself(people):
    images, holdout = people(6, seed=1), people(110, seed=2)
    nearest = np.array([0, 1, 2, 3, 4, 5])
    walk = answering(images, [[0], [1], [9], [9], [9], [9]])
    other = answering(images, [[9], [1], [9], [3], [4], [5, 9]])
    found = reidentify(
        images,
        nearest,
        walk,
        people=PEOPLE,
        witness=other,
        holdout=holdout,
        groups=np.arange(6),
    )
    assert found.linkage == pytest.approx(2 / 6)
    assert found.witness.linkage == pytest.approx(4 / 6)
    # The walk's classifier names whom the other names first: images 1 (1) and 2 (9).
    assert found.classifiers.rank1.value == pytest.approx(2 / 6)
    assert found.witness.witness is None
    assert found.naming.resolved
    alone = reidentify(images, nearest, other, people=PEOPLE, holdout=holdout, groups=np.arange(6))
    assert dataclasses.replace(alone, classifier="witness") == found.witness
    assert (found.who, found.witness.who) == ("The identity classifier", "The witness")
    plain = json.loads(json.dumps(found.as_dict()))
    assert plain["witness"]["nearest"]["rank_1"]["value"] == pytest.approx(4 / 6)
    assert plain["naming"]["holdout"]["value"] <= 1
    assert "sources" not in plain


def test_people_who_do_not_exist_are_refused(people):
    images = people(3)
    ignorant = lambda x: torch.zeros(len(x), PEOPLE)  # noqa: E731
    for wrong in ([[0], [1], [PEOPLE]], [[0], [-1], [1]], [[0], [], [1]]):
        with pytest.raises(InputError, match="people from 0 to 29"):
            reidentify(
                images,
                np.zeros(3, int),
                ignorant,
                people=PEOPLE,
                sources=[np.array(some, dtype=int) for some in wrong],
            )
    with pytest.raises(ShapeError, match="each of the 3 images"):
        reidentify(images, np.zeros(3, int), ignorant, people=PEOPLE, sources=[np.array([0])] * 2)
    with pytest.raises(ShapeError, match="one per person of the real set"):
        reidentify(
            images,
            np.zeros(3, int),
            ignorant,
            people=PEOPLE,
            witness=lambda x: torch.zeros(len(x), 4),
        )
