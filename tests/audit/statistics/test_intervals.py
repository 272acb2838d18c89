"""Intervals: hand-computed values, coverage of the truth in simulation, groups, edges."""

from __future__ import annotations

import json

import numpy as np
import pytest

from latentpath.audit.statistics.intervals import (
    Interval,
    bootstrap,
    percentile,
    resampled_counts,
    share,
    wilson,
)
from latentpath.core.errors import DataError, InputError

SETS = 400


def covered(intervals: list[Interval], truth: float) -> float:
    return float(np.mean([interval.holds(truth) for interval in intervals]))


def test_wilson_equals_its_formula():
    # z = 1.959964; (p + z^2/2n) / (1 + z^2/n) -+ z sqrt(p(1-p)/n + z^2/4n^2) / (1 + z^2/n)
    found = wilson(5, 100)
    assert (found.low, found.high) == (
        pytest.approx(0.0215437, 1e-5),
        pytest.approx(0.1117505, 1e-5),
    )
    assert (found.value, found.level) == (0.05, 0.95)
    # With z = 1: 1/10 -> (0.1 + 0.05 -+ sqrt(0.009 + 0.0025)) / 1.1
    one = wilson(1, 10, level=0.6826894921370859)
    reach = np.sqrt(0.1 * 0.9 / 10 + 1 / 400)
    assert one.low == pytest.approx((0.15 - reach) / 1.1)
    assert one.high == pytest.approx((0.15 + reach) / 1.1)


def test_wilson_at_both_ends():
    none, every = wilson(0, 20), wilson(20, 20)
    assert none.low == 0 < none.high < 0.2
    assert every.high == 1 > every.low > 0.8
    assert none.high == pytest.approx(1 - every.low)


@pytest.mark.parametrize(("hits", "n"), [(1, 0), (0, 0), (3, 2), (-1, 5), (float("nan"), 5)])
def test_impossible_counts_are_refused(hits, n):
    with pytest.raises(InputError, match="successes"):
        wilson(hits, n)


@pytest.mark.parametrize("level", [0, 1, 95, float("nan")])
def test_impossible_levels_are_refused(level):
    with pytest.raises(InputError, match="between 0 and 1"):
        wilson(1, 5, level)


@pytest.mark.parametrize("n", [11, 60, 300])
def test_wilson_covers_at_its_level(n):
    """Over shares of all sizes; at a single one, counts being whole, it swings about its level."""
    rng = np.random.default_rng(1)
    truths = rng.uniform(0.01, 0.99, 3000)
    found = [wilson(int(rng.binomial(n, truth)), n, 0.9).holds(truth) for truth in truths]
    assert abs(np.mean(found) - 0.9) < 4 * np.sqrt(0.9 * 0.1 / 3000)


def test_the_bootstrap_covers_at_its_level():
    rng = np.random.default_rng(2)
    found = [
        bootstrap(np.mean, rng.exponential(size=80), seed=number, resamples=300, level=0.9)
        for number in range(SETS)
    ]
    # Four binomial standard errors, and two points that the percentile method lacks at n = 80.
    assert abs(covered(found, 1.0) - 0.88) < 4 * np.sqrt(0.9 * 0.1 / SETS)


def clusters(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """60 people with 1 to 9 images whose chance of a hit is their own; 0.3 on average."""
    sizes = rng.integers(1, 10, 60)
    people = np.repeat(np.arange(60), sizes)
    return rng.random(len(people)) < rng.beta(0.6, 1.4, 60)[people], people


def test_only_intervals_over_people_cover_when_images_are_alike():
    rng = np.random.default_rng(3)
    sets = [clusters(rng) for _ in range(SETS)]
    slack = 4 * np.sqrt(0.9 * 0.1 / SETS)
    assert abs(covered([share(hits, people, 0.9) for hits, people in sets], 0.3) - 0.9) < slack
    resampled = [
        bootstrap(np.mean, hits, seed=5, resamples=200, level=0.9, groups=[people])
        for hits, people in sets[:200]
    ]
    assert covered(resampled, 0.3) > 0.9 - 4 * np.sqrt(0.9 * 0.1 / 200)
    assert covered([share(hits, None, 0.9) for hits, _ in sets], 0.3) < 0.8


def test_shares_of_grouped_rows():
    people = np.repeat(np.arange(10), 4)
    # Rows of a person all alike: as ten trials, up to the one degree of freedom.
    alike = share(people < 5, people)
    ten = wilson(5 * 0.9, 9)
    assert (alike.low, alike.high) == (pytest.approx(ten.low), pytest.approx(ten.high))
    # Nobody hit: nothing shows how alike a person's rows are, so people are counted.
    assert share(np.zeros(40), people).high == pytest.approx(wilson(0, 10).high)
    # Half of everybody's rows: never surer than independent rows.
    even = share(np.arange(40) % 2 == 0, people)
    assert even.low == pytest.approx(wilson(20, 40).low)
    assert share(np.ones(4), np.zeros(4)).low == pytest.approx(wilson(1, 1).low)


def test_each_sample_is_resampled_on_its_own():
    seen = []

    def difference(a: np.ndarray, b: np.ndarray) -> float:
        seen.append((a.shape, b.shape, set(a) <= {1.0, 2.0, 3.0}, set(b) <= {10.0, 20.0}))
        return float(b.mean() - a.mean())

    found = bootstrap(difference, np.array([1.0, 2, 3]), np.array([10.0, 20]), seed=0, resamples=50)
    assert found.value == 13
    assert set(seen) == {((3,), (2,), True, True)}
    again = bootstrap(difference, np.array([1.0, 2, 3]), np.array([10.0, 20]), seed=0, resamples=50)
    assert again == found
    other = bootstrap(difference, np.array([1.0, 2, 3]), np.array([10.0, 20]), seed=1, resamples=50)
    assert other != found


def test_groups_are_drawn_whole():
    values, people = np.arange(7.0), np.array([4, 4, 4, 9, 9, 2, 2])
    wholes = {0.0, 3.0, 5.0}  # first values of each group

    def check(drawn: np.ndarray) -> float:
        place = 0
        while place < len(drawn):
            first = drawn[place]
            assert first in wholes
            size = 3 if first == 0 else 2
            np.testing.assert_array_equal(drawn[place : place + size], first + np.arange(size))
            place += size
        return float(len(drawn))

    found = bootstrap(check, values, seed=0, resamples=100, groups=[people])
    assert found.low >= 6
    assert found.high <= 9


def test_counts_are_resamples():
    people = np.array([0, 0, 1, 2, 2, 2])
    counts = resampled_counts(6, generator=np.random.default_rng(0), resamples=3000, groups=people)
    assert (counts[:, 0] == counts[:, 1]).all()
    assert (counts[:, 3] == counts[:, 5]).all()
    np.testing.assert_array_equal(counts[:, [0, 2, 3]].sum(1), 3)
    np.testing.assert_allclose(counts.mean(0), 1, atol=0.06)
    # Multinomial: the variance of a count is 3 * 1/3 * 2/3.
    np.testing.assert_allclose(counts.var(0), 2 / 3, atol=0.06)
    plain = resampled_counts(5, generator=np.random.default_rng(0), resamples=7)
    np.testing.assert_array_equal(plain.sum(1), 5)


def test_counts_do_not_depend_on_the_parts_they_are_made_in(monkeypatch):
    whole = resampled_counts(11, generator=np.random.default_rng(4), resamples=50)
    monkeypatch.setattr("latentpath.audit.statistics.intervals._COUNTS_AT_ONCE", 30)
    parts = resampled_counts(11, generator=np.random.default_rng(4), resamples=50)
    np.testing.assert_array_equal(whole, parts)


def test_figures_that_do_not_exist():
    found = percentile(1.0, np.array([0.0, np.nan, 2.0, np.nan]), 0.5)
    assert (found.low, found.high) == (0.5, 1.5)
    with pytest.raises(DataError, match="usable"):
        percentile(1.0, np.array([np.nan]))
    with pytest.raises(DataError, match="finite"):
        percentile(np.nan, np.array([1.0]))
    with pytest.raises(InputError, match="rows of at least 1"):
        bootstrap(np.mean, np.empty(0), seed=0)
    with pytest.raises(InputError, match="groups"):
        share(np.ones(3), np.zeros(2))
    with pytest.raises(InputError, match="groups for each"):
        bootstrap(np.mean, np.ones(3), seed=0, groups=[None, None])


def test_as_dict_is_plain():
    assert json.loads(json.dumps(wilson(1, 4).as_dict())).keys() == {
        "value",
        "low",
        "high",
        "level",
    }
