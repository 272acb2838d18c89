"""How many images fall below a threshold by chance, against counting and against simulation."""

from __future__ import annotations

import numpy as np
import pytest

from latentpath.audit.copies.false_alarms import FalseAlarms, SuspicionCalibration


def test_one_fresh_person_is_below_the_lowest_of_n_with_one_chance_in_n_plus_one():
    """Of two fresh people and nine others, each of whom is as likely to be the lowest."""
    nine = FalseAlarms(0.1, 1, 9)
    # Nobody below: the lowest of 11 is one of the 9. Both: the lowest two of 11 are the 2.
    nobody, both = 9 / 11, 2 / (11 * 10)
    assert nine.likely(2, level=2 * nobody - 1 - 1e-9) == (0, 0)
    assert nine.likely(2, level=2 * nobody - 1 + 1e-9) == (0, 1)
    assert nine.likely(2, level=1 - 2 * both - 1e-9) == (0, 1)
    assert nine.likely(2, level=1 - 2 * both + 1e-9) == (0, 2)


@pytest.mark.parametrize("rate", [0.01, 0.1])
def test_fresh_people_are_as_many_as_promised(rate):
    """In 95% of the draws, or a few more as counts are whole numbers; never in fewer."""
    rng, inside, over = np.random.default_rng(0), [], []
    for _ in range(2000):
        people, fresh = rng.gamma(2, size=200), rng.gamma(2, size=150)
        chance = SuspicionCalibration(people, np.zeros(200, np.int64)).at_rate(rate)
        low, high = chance.likely(150)
        count = int((fresh <= chance.threshold).sum())
        inside.append(low <= count <= high)
        over.append(chance.excess(fresh <= chance.threshold).low > 0)
    assert np.mean(inside) >= 0.94
    assert np.mean(over) <= 0.035


def test_copies_are_what_chance_does_not_explain():
    chance = FalseAlarms(0.1, 10, 1000)
    hits = np.arange(500) < 40
    least, most = chance.likely(500)
    found = chance.excess(hits)
    assert 0 <= least < 5 < most < 15
    assert found.low == (40 - most) / 500
    assert found.high == (40 - least) / 500
    assert found.value == pytest.approx((40 - 500 * 10 / 1001) / 500)
    none = chance.excess(np.zeros(500, bool))
    assert (none.low, none.value, none.high) == (0, 0, 0)


def test_walks_may_be_false_alarms_as_a_whole():
    chance = FalseAlarms(0.1, 10, 1000)
    hits = np.arange(500) < 40
    walks = chance.excess(hits, np.repeat(np.arange(10), 50))
    alone = chance.excess(hits, np.arange(500))
    assert alone == chance.excess(hits)
    assert walks.low < alone.low
    assert walks.high == 40 / 500


def test_classes_count_as_often_as_in_the_set():
    """Ten people of each of two classes; those of the second are closer to each other."""
    suspicion = np.concatenate([np.linspace(1, 2, 10), np.linspace(0.1, 0.2, 10)])
    labels = np.repeat([0, 1], 10)
    people = SuspicionCalibration(suspicion, labels)
    assert people.at_rate(0.2) == people.at_rate(0.2, labels)
    assert people.at_rate(0.2).people == 20
    first = people.at_rate(0.2, np.zeros(7, np.int64))
    assert first == SuspicionCalibration(suspicion[:10], labels[:10]).at_rate(0.2)
    assert first.threshold > 1
    # Three to one: weights of 1.5 and 0.5 sum to 20, their squares to 25.
    mixed = people.at_rate(0.2, np.array([0, 0, 0, 1]))
    assert mixed.people == pytest.approx(20**2 / 25)
    assert people.share_below(0.5).value == 0.5
    assert people.share_below(0.5, np.array([0, 0, 0, 1])).value == pytest.approx(0.25)
    # A class that no real person has says nothing about the mix.
    assert people.at_rate(0.2, np.array([2, 2])) == people.at_rate(0.2)


def test_nobody_to_learn_from():
    nobody = SuspicionCalibration(np.zeros(0), np.zeros(0, np.int64)).at_rate(0.01)
    assert nobody == FalseAlarms(0.0, 0.0, 0.0)
    found = nobody.excess(np.array([True, False]))
    assert (found.low, found.value, found.high) == (0.5, 0.5, 0.5)


def test_people_who_are_all_alike():
    """Ties at the threshold are all counted: then everybody is below it, and nothing is shown."""
    chance = SuspicionCalibration(np.ones(50), np.zeros(50, np.int64)).at_rate(0.02)
    assert (chance.threshold, chance.alarms) == (1.0, 50.0)
    assert chance.excess(np.ones(20, bool)).low == 0
