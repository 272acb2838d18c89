"""Rate and linkage with classifiers whose answers are planted."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from latentpath.audit import reidentify
from latentpath.audit.recognition.reidentification import chance_agreement
from latentpath.core.errors import ShapeError
from latentpath.data import to_tensor

PEOPLE = 40


def planted(images, answer: np.ndarray, confidence: np.ndarray):
    """Identity classifier that gives image i the answer[i] with probability confidence[i]."""
    keys = to_tensor(images.images).flatten(1)

    def identity(batch: torch.Tensor) -> torch.Tensor:
        row = torch.cdist(batch.flatten(1), keys).argmin(1).numpy()
        rest = (1 - confidence[row]) / (PEOPLE - 1)
        probability = np.repeat(rest[:, None], PEOPLE, 1)
        probability[np.arange(len(row)), answer[row]] = confidence[row]
        return torch.from_numpy(probability).log()

    return identity


def test_rate_and_linkage_count_what_is_planted(people):
    images = people(10, seed=1)
    answer = np.arange(10)
    confidence = np.array([0.9, 0.9, 0.9, 0.6, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4])
    witness = np.array([0, 1, 39, 39, 4, 5, 6, 39, 39, 39])
    found = reidentify(images, witness, planted(images, answer, confidence), people=PEOPLE)
    assert found.rate == pytest.approx(0.4)
    assert found.linkage == pytest.approx(0.5)
    assert found.mean_largest_probability == pytest.approx(confidence.mean())
    assert found.people == PEOPLE
    strict = reidentify(
        images, witness, planted(images, answer, confidence), people=PEOPLE, threshold=0.75
    )
    assert (strict.rate, strict.threshold) == (pytest.approx(0.3), 0.75)


def test_linkage_within_five(people):
    images = people(6, seed=1)

    def identity(batch: torch.Tensor) -> torch.Tensor:  # ranks people 0, 1, 2, ... for everyone
        return -torch.arange(PEOPLE).float().expand(len(batch), -1)

    found = reidentify(images, np.array([0, 1, 4, 5, 6, 0]), identity, people=PEOPLE)
    assert found.linkage == pytest.approx(2 / 6)
    assert found.linkage_top5 == pytest.approx(4 / 6)


def test_ignorance_scores_nothing(people):
    images = people(8)
    found = reidentify(images, np.arange(8), lambda x: torch.zeros(len(x), 200), people=200)
    assert found.rate == 0
    assert found.mean_largest_probability == pytest.approx(1 / 200)


def test_fewer_than_five_people(people):
    images = people(4)
    found = reidentify(images, np.zeros(4, int), lambda x: torch.zeros(len(x), 2), people=2)
    assert found.linkage_top5 == 1


def test_chance_is_the_mean_over_all_shuffles():
    labels = np.array([0, 0, 0, 1, 1, 1, 1])
    first = np.array([5, 5, 2, 7, 8, 8, 9])
    second = np.array([5, 2, 2, 8, 8, 1, 9])
    agreements = [
        np.concatenate([second[:3][list(a)], second[3:][list(b)]]) == first
        for a in itertools.permutations(range(3))
        for b in itertools.permutations(range(4))
    ]
    assert chance_agreement(first, second, labels) == pytest.approx(np.mean(agreements))


def test_a_classifier_for_other_people_is_refused(people):
    images = people(3)
    with pytest.raises(ShapeError, match="one per person of the real set"):
        reidentify(images, np.arange(3), lambda x: torch.zeros(len(x), 7), people=3)


def test_figures_are_plain(people):
    images = people(3)
    found = reidentify(images, np.arange(3), lambda x: torch.zeros(len(x), 3), people=3)
    assert found.as_dict()["threshold"] == 0.5
    assert replace(found, rate=0.25).as_dict()["rate"] == 0.25
