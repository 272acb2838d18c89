"""Which shards are begun, and which count: the plan decides, never who was faster."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, strategies as st

from latentpath.production.selection import Schedule

SAMPLES, WALKS = 10, 2


def plan_of(labels, wanted):
    labels = np.array(labels)
    return SimpleNamespace(
        arrays={"shard_label": labels},
        wanted=wanted,
        shards_of=lambda label: np.flatnonzero(labels == label).tolist(),
        samples_of=lambda number: SAMPLES,
        walks_of=lambda number: WALKS,
    )


def work_off(plan, accepted, choose, hands):
    """Finish shards in an order that `choose` picks; returns what counts and what was begun."""
    schedule, in_hand, begun = Schedule(plan, {}), [], []
    while not schedule.complete:
        if len(in_hand) < hands:
            numbers = schedule.take(WALKS * (hands - len(in_hand)))
            in_hand += numbers
            begun += numbers
        number = in_hand.pop(choose(len(in_hand)))
        schedule.finished(number, accepted[number], SAMPLES)
    return schedule.counted(), begun


@given(
    accepted=st.lists(st.integers(0, SAMPLES), min_size=24, max_size=24),
    wanted=st.tuples(st.integers(0, 90), st.integers(0, 60)),
    picks=st.lists(st.integers(0, 1000), min_size=100, max_size=100),
    hands=st.integers(1, 8),
)
def test_the_order_of_completion_changes_nothing(accepted, wanted, picks, hands):
    plan = plan_of([0, 0, 1] * 8, dict(enumerate(wanted)))
    alone, _ = work_off(plan, accepted, lambda n: 0, 1)
    turns = iter(picks)
    together, begun = work_off(plan, accepted, lambda n: next(turns) % n, hands)
    assert together == alone
    assert len(begun) == len(set(begun))
    # They are the first ones that suffice.
    for label, count in enumerate(wanted):
        mine = [n for n in alone if plan.arrays["shard_label"][n] == label]
        assert mine == plan.shards_of(label)[: len(mine)]
        assert sum(accepted[n] for n in mine[:-1]) < max(count, 1)


@given(
    accepted=st.lists(st.integers(0, SAMPLES), min_size=20, max_size=20),
    done=st.sets(st.integers(0, 19)),
)
def test_a_resumed_schedule_fills_gaps_before_it_counts(accepted, done):
    """Shards behind a gap do not stand in for the one that is missing."""
    plan = plan_of([0] * 20, {0: 60})
    alone, _ = work_off(plan, accepted, lambda n: 0, 1)
    schedule = Schedule(plan, {number: (accepted[number], SAMPLES) for number in done})
    while not schedule.complete:
        (number,) = schedule.take(1)
        assert number not in done
        schedule.finished(number, accepted[number], SAMPLES)
    assert schedule.counted() == alone


def test_classes_take_turns_and_stop_when_they_should_do():
    plan = plan_of([0, 1, 0, 1, 0, 1, 0, 1], {0: 18, 1: 9})
    schedule = Schedule(plan, {})
    # Nine samples in ten are hoped to pass.
    assert schedule.take(100) == [0, 1, 2]
    assert schedule.take(100) == []


@pytest.mark.parametrize(("walks", "numbers"), [(1, [0]), (2, [0]), (3, [0, 1]), (7, [0, 1, 2, 3])])
def test_shards_are_taken_until_they_have_the_walks_wanted(walks, numbers):
    schedule = Schedule(plan_of([0] * 9, {0: 90}), {})
    assert schedule.take(walks) == numbers


def test_what_failed_is_begun_again_and_what_was_lost_too():
    plan = plan_of([0] * 5, {0: 20})
    schedule = Schedule(plan, {})
    assert schedule.take(3 * WALKS) == [0, 1, 2]
    schedule.given_up(1)
    assert schedule.take(1) == [1]
    for number in (0, 1, 2):
        schedule.finished(number, 10, SAMPLES)
    assert schedule.complete
    schedule.lost(0)
    assert not schedule.complete
    assert schedule.take(1) == [0]
    with pytest.raises(ValueError, match="missing"):
        schedule.counted()


def test_the_plan_may_run_out():
    plan = plan_of([0, 0], {0: 50})
    schedule = Schedule(plan, {0: (3, 10), 1: (0, 10)})
    assert schedule.take(1) == []
    assert schedule.complete
    assert schedule.counted() == [0, 1]
    assert schedule.accepted == 3
