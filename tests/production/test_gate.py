"""The gate, with planted samples and planted classifiers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from latentpath.models import Networks
from latentpath.production import Gate
from latentpath.production.gate import NAMES_A_PERSON, OUT_OF_CLASS, TOO_CLOSE
from latentpath.similarity import nearest_other_person, prepare_real
from support import tiny_models


class Planted(nn.Module):
    """Logits from a rule on the images; a parameter, so that it has a device."""

    def __init__(self, rule):
        super().__init__()
        self.rule, self.nothing = rule, nn.Parameter(torch.zeros(1))

    def forward(self, images):
        return self.rule(images)


def brightest_third(images):
    """Class by where the picture is brightest, as the made-up set has it."""
    return torch.stack(
        [images[..., 5 * c : 5 * c + 5].mean(dim=[1, 2, 3]) for c in range(3)], dim=1
    )


UNSURE = Planted(lambda images: torch.zeros(len(images), 44))


@pytest.fixture(scope="module")
def reference(data, tiny_lpips):
    return prepare_real(data, tiny_lpips)


@pytest.fixture(scope="module")
def fresh():
    """Other people of the same classes."""
    return tiny_models.private_set((4, 4, 4), seed=9)


def gate(reference, identity=UNSURE, classifier=None, **options):
    networks = Networks(None, identity, classifier or Planted(brightest_third))
    return Gate(reference, networks, **options)


def test_planted_copies_are_turned_away(reference, data, fresh):
    images = np.concatenate([data.images[:5], fresh.images])
    labels = np.concatenate([data.labels[:5], fresh.labels])
    verdict = gate(reference, quantile=0.02).test(images, labels)
    assert not verdict.accepted[:5].any()
    assert verdict.accepted[5:].mean() > 0.7
    assert verdict.rejected[TOO_CLOSE] == int((~verdict.accepted).sum())
    assert verdict.rejected[NAMES_A_PERSON] == verdict.rejected[OUT_OF_CLASS] == 0
    assert np.abs(verdict.distance[:5]).max() < 1e-3
    assert verdict.distance[5:].min() > 0.01


def test_nearly_copies_are_turned_away(reference, data):
    rng = np.random.default_rng(0)
    near = data.images[:6].astype(int) + rng.integers(-2, 3, data.images[:6].shape)
    near = near.clip(0, 255).astype(np.uint8)
    assert not gate(reference).test(near, data.labels[:6]).accepted.any()


def test_several_shards_are_judged_as_each_alone_for_one_embedding_of_the_real_set(
    data, fresh, tiny_lpips
):
    """What does not fit into memory is embedded once for all of them."""
    reference = prepare_real(data, tiny_lpips, max_bytes=0)
    embed, embedded = reference.embedded.embed, []
    made = gate(reference)
    reference.embedded.embed = lambda images: (embedded.append(len(images)), embed(images))[1]
    shards = [(data.images[:5], data.labels[:5]), (fresh.images, fresh.labels)] * 3
    alone = [made.test(*shard) for shard in shards]
    one_by_one = sum(embedded)
    embedded.clear()
    together = made.test_each(shards)
    for found, expected in zip(together, alone, strict=True):
        assert np.array_equal(found.distance, expected.distance)
        assert np.array_equal(found.accepted, expected.accepted)
        assert found.rejected == expected.rejected
    assert sum(embedded) <= one_by_one - 5 * len(data)


def test_threshold_is_the_quantile_between_people(reference):
    between = nearest_other_person(reference).distance
    for quantile in (0.05, 0.5):
        found = gate(reference, quantile=quantile).threshold
        assert found == pytest.approx(float(np.quantile(between, quantile)), rel=1e-5)
    assert gate(reference, quantile=0.0).threshold == 0.0


def test_distance_test_switched_off(reference, data):
    verdict = gate(reference, quantile=0.0).test(data.images[:6], data.labels[:6])
    assert verdict.accepted.all()


def test_over_confident_identity(reference, fresh):
    """The planted classifier is sure of dark pictures: 0.8 for person 7, the rest unsure."""
    dark = fresh.images.copy()
    dark[::2] = (dark[::2] * 0.6).astype(np.uint8)
    level = np.log(0.8 / 0.2 * 43)

    def rule(images):
        sure = images.mean(dim=[1, 2, 3]) < np.median(dark.mean(axis=(1, 2, 3))) / 127.5 - 1
        return level * (torch.arange(44) == 7) * sure[:, None]

    for bound, expected in [(0.5, 6), (0.79, 6), (0.81, 0), (1.0, 0)]:
        test = gate(reference, Planted(rule), quantile=0.0, max_probability=bound, in_class=False)
        verdict = test.test(dark, fresh.labels)
        assert verdict.rejected[NAMES_A_PERSON] == expected
        assert int((~verdict.accepted).sum()) == expected
        if expected:
            assert not verdict.accepted[::2].any()


def test_wrong_class(reference, fresh):
    wrong = fresh.labels.copy()
    wrong[:3] = (wrong[:3] + 1) % 3
    verdict = gate(reference, quantile=0.0).test(fresh.images, wrong)
    assert verdict.accepted.tolist() == [False] * 3 + [True] * 9
    assert verdict.rejected == {TOO_CLOSE: 0, NAMES_A_PERSON: 0, OUT_OF_CLASS: 3}
    lenient = gate(reference, quantile=0.0, in_class=False).test(fresh.images, wrong)
    assert lenient.accepted.all()
    assert OUT_OF_CLASS not in lenient.rejected


def test_each_sample_counts_under_its_first_reason(reference, data):
    sure = Planted(lambda images: 100.0 * torch.eye(44)[torch.zeros(len(images)).long()])
    wrong = (data.labels[:5] + 1) % 3
    verdict = gate(reference, sure).test(data.images[:5], wrong)
    assert verdict.rejected == {TOO_CLOSE: 5, NAMES_A_PERSON: 0, OUT_OF_CLASS: 0}


def test_one_person_has_nobody_to_compare_with(tiny_lpips):
    lonely = tiny_models.private_set((1, 0, 0), per_person=3)
    made = gate(prepare_real(lonely, tiny_lpips), in_class=False)
    assert made.threshold == 0.0


def test_what_cannot_be_judged_does_not_pass(reference, fresh):
    broken = Planted(lambda images: torch.full((len(images), 44), torch.nan))
    verdict = gate(reference, broken, quantile=0.0, in_class=False).test(fresh.images, fresh.labels)
    assert not verdict.accepted.any()
    assert verdict.rejected[NAMES_A_PERSON] == len(fresh)
