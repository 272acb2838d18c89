"""LiRA against the densities written out, its variances, its halves."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from latentpath.audit.attacks.lira import (
    OWN_VARIANCE_FROM,
    aligned,
    confidence,
    lira_offline,
    lira_online,
    random_halves,
)
from latentpath.core.errors import DataError, ShapeError


def normal_log_density(x: float, values: list[float], variance: float) -> float:
    mean = sum(values) / len(values)
    return -0.5 * math.log(2 * math.pi * variance) - (x - mean) ** 2 / (2 * variance)


def made_up(models: int, people: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    inside = random_halves(np.arange(people), models, seed)
    shadows = rng.normal(size=(models, people)) * rng.uniform(0.3, 2, people) + 1.5 * inside
    return rng.normal(1, 1, people), shadows, inside


def split(shadows: np.ndarray, inside: np.ndarray, person: int) -> tuple[list, list]:
    column, chosen = shadows[:, person], inside[:, person]
    return list(column[chosen]), list(column[~chosen])


def sample_variance(values: list[float]) -> float:
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values) / (len(values) - 1)


def test_many_models_give_each_person_a_variance():
    target, shadows, inside = made_up(2 * OWN_VARIANCE_FROM, 7)
    online, offline = (f(target, shadows, inside) for f in (lira_online, lira_offline))
    for person in range(7):
        with_person, without = split(shadows, inside, person)
        ratio = normal_log_density(
            target[person], with_person, sample_variance(with_person)
        ) - normal_log_density(target[person], without, sample_variance(without))
        assert online[person] == pytest.approx(ratio, rel=1e-12)
        z = (target[person] - np.mean(without)) / math.sqrt(sample_variance(without))
        assert offline[person] == pytest.approx(z, rel=1e-12)


def test_few_models_share_one_variance():
    target, shadows, inside = made_up(8, 9)
    online, offline = (f(target, shadows, inside) for f in (lira_online, lira_offline))
    parts = [split(shadows, inside, person) for person in range(9)]
    shared = [float(np.mean([sample_variance(part[side]) for part in parts])) for side in (0, 1)]
    for person, (with_person, without) in enumerate(parts):
        ratio = normal_log_density(target[person], with_person, shared[0]) - normal_log_density(
            target[person], without, shared[1]
        )
        assert online[person] == pytest.approx(ratio, rel=1e-12)
        z = (target[person] - np.mean(without)) / math.sqrt(shared[1])
        assert offline[person] == pytest.approx(z, rel=1e-12)


def test_two_models_are_enough_and_constant_ones_stay_finite():
    target, shadows, inside = made_up(2, 5)
    assert np.isfinite(lira_online(target, shadows, inside)).all()
    same = lira_online(target, np.zeros((4, 5)), random_halves(np.arange(5), 4, 0))
    np.testing.assert_array_equal(same, 0)


def test_confidence_by_hand_and_without_overflow():
    logits = torch.tensor([[0.0, math.log(3.0)], [400.0, -400.0], [-3000.0, 3000.0]])
    found = confidence(logits, torch.tensor([1, 0, 0]))
    np.testing.assert_allclose(found, [math.log(3), 800, -6000], rtol=1e-6)
    three = torch.tensor([[1.0, 2.0, 0.5]])
    p = three.double().softmax(1)[0, 2].item()
    assert confidence(three, torch.tensor([2]))[0] == pytest.approx(math.log(p / (1 - p)))
    stacked = confidence(torch.stack([logits, -logits]), torch.tensor([1, 0, 0]))
    np.testing.assert_allclose(stacked, [found, -found])


def test_useless_logits_are_refused():
    with pytest.raises(DataError, match="two classes"):
        confidence(torch.zeros(3, 1), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(DataError, match="finite"):
        confidence(torch.full((3, 2), torch.nan), torch.zeros(3, dtype=torch.int64))


@pytest.mark.parametrize("count", [2, 7, 64])
def test_halves_hold_whole_people_and_everybody_equally_often(count):
    people = np.repeat(np.arange(11), np.arange(1, 12))
    inside = random_halves(people, count, seed=3)
    assert inside.shape == (count, len(people))
    for person in range(11):
        rows = inside[:, people == person]
        assert (rows == rows[:, :1]).all()
        assert abs(int(rows[:, 0].sum()) - count / 2) <= 0.5
    firsts = inside[:, np.unique(people, return_index=True)[1]]
    assert set(firsts.sum(1)) <= {5, 6}
    np.testing.assert_array_equal(inside, random_halves(people, count, seed=3))
    assert (inside != random_halves(people, count, seed=4)).any()


def test_alignment_shifts_to_the_shadow_models_mean():
    found = aligned(np.array([1.0, 3.0]), np.array([[10.0, 20.0], [30.0, 40.0]]))
    np.testing.assert_array_equal(found, [24, 26])


def test_arrays_that_do_not_fit_are_refused():
    target, shadows, inside = made_up(4, 6)
    with pytest.raises(ShapeError, match="confidences"):
        lira_online(target[:-1], shadows, inside)
    always = inside.copy()
    always[:, 2] = True
    with pytest.raises(DataError, match="always in or always out"):
        lira_offline(target, shadows, always)
    with pytest.raises(DataError, match="always in or always out"):
        lira_online(target, shadows, ~always)
    np.testing.assert_array_equal(
        np.isfinite(lira_offline(target, shadows, ~always)), True
    )  # offline needs nobody inside
