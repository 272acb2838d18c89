"""What an audit will cost, and its progress as one."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from latentpath.audit import AuditConfig, WholeProgress, audit_cost, measure_names
from latentpath.audit.question_costs import QuestionCost
from latentpath.training import ClassifierConfig
from latentpath.training.classifier_training import WitnessConfig

pytest.importorskip("monai")


def small(steps=40) -> AuditConfig:
    short = AuditConfig.short()
    training = replace(short.membership.training, steps=steps, width=2, batch=4)
    return replace(
        short,
        classifier=ClassifierConfig(steps=steps, batch=4, width=2),
        witness=WitnessConfig(steps=steps, batch=4, width=2, embedding=4),
        membership=replace(short.membership, training=training, shadows=4, targets=1),
    )


def test_every_training_is_counted_and_more_of_them_cost_more(people, monkeypatch):
    module = "latentpath.audit.question_costs"
    monkeypatch.setattr(f"{module}.seconds_per_unit", lambda work, **limits: 0.01)
    monkeypatch.setattr(f"{module}.workers_beside", lambda count: 2)
    real = people(24)

    def cost(config, **sets):
        found = audit_cost(real, {"": 10, **sets}, config, measure_names(), holdout=24)
        return {one.question: one for one in found}

    once, longer, two = cost(small()), cost(small(4000)), cost(small(), lines=10)
    others = "copies, closeness, attacks, fidelity"
    assert list(once) == ["recognition", "attacks", "utility", others]
    for question in ("recognition", "attacks", "utility"):
        assert longer[question].seconds == pytest.approx(100 * once[question].seconds)
    # Sets, seeds, steps and seconds a step; two trainings beside each other.
    seeds = len(small().seeds)
    assert once["utility"].seconds == pytest.approx(2 * seeds * 40 * 0.01 / 2)
    assert set(two["utility"].stages) == {"real: utility", "utility", "lines: utility"}
    # What is held against the real images takes them in, too.
    more = audit_cost(people(48), {"": 10}, small(), measure_names(), holdout=24)
    assert more[-1].seconds - once[others].seconds > 24 * 0.003 * 3
    assert "about" in once["attacks"].words
    assert "4 shadow models" in once["attacks"].words


def test_what_is_not_asked_costs_nothing(people):
    one, two = (
        audit_cost(people(8), {"": 8}, small(), measures)
        for measures in (("copies",), ("copies", "nearest"))
    )
    assert [cost.question for cost in one] == ["copies"]
    # Distances answer nothing by themselves.
    assert [cost.question for cost in two] == ["copies"]
    assert "the tables on closeness" in two[0].what
    # Of copies the real set is not asked, of its distances it is.
    assert two[0].seconds == pytest.approx(3 * one[0].seconds)
    # Without other people there is nobody to tell members from, nor to test models on.
    assert audit_cost(people(8), {"": 8}, small(), ("membership", "utility")) == []


def test_without_other_people_no_training_is_priced_and_no_answer_promised(people):
    """Nobody says whom a witness would name by chance; distances and features are for tables."""
    (cost,) = audit_cost(people(8), {"": 8}, small(), measure_names())
    assert cost.question == "copies"
    assert cost.what.endswith(", and the tables on closeness, attacks, fidelity")
    (cost,) = audit_cost(people(8), {"": 8}, small(), ("nearest", "reidentification"))
    assert cost.question == "the tables on closeness"


COSTS = [
    QuestionCost("recognition", 60.0, "", {"witness": 60.0}),
    QuestionCost(
        "utility", 80.0, "", {f"{name}utility": 20.0 for name in ("real: ", "a: ", "b: ", "")}
    ),
    QuestionCost(
        "copies", 40.0, "", {f"{name}measures": 10.0 for name in ("real: ", "a: ", "b: ", "")}
    ),
]


@pytest.mark.parametrize("slower", [0.25, 1, 4])
def test_all_stages_are_one_bar_by_what_is_left(slower):
    """Trainings as planned; searches, which a rule of thumb counts, at another speed."""
    now, told = 0.0, []
    whole = WholeProgress(lambda *step: told.append((now, *step)), COSTS, lambda: now)

    def work(stage, seconds):
        nonlocal now
        for done in range(1, 11):
            now += seconds / 10
            whole(stage, done, 10, {})

    for number, name in enumerate(("real: ", "a: ", "b: ", "")):
        work(f"{name}nearest", 10 * slower)
        if not number:
            work("witness", 60.0)
        work(f"{name}utility", 20.0)
        whole(f"{name}measures", 1, 1, {})
    assert {stage for _, stage, *_ in told} == {"audit"}
    assert all(a[2] <= b[2] < b[3] for a, b in itertools.pairwise(told))
    for time, _, done, total, _ in told:
        if time > 0.6 * now:
            left = time * (total - done) / done  # as bars reckon
            assert left == pytest.approx(now - time, abs=0.1 * now)
    whole.end()
    assert told[-1][2] == told[-1][3]


def test_a_part_that_takes_far_longer_than_planned_is_not_said_to_be_nearly_done():
    now, told = 0.0, []
    whole = WholeProgress(lambda *step: told.append(step), COSTS[2:], lambda: now)
    for _ in range(20):  # the first of four stages is told of nothing else
        now += 10.0
        whole("real: nearest people", 0, 100, {})
    _, done, total, _ = told[-1]
    left = now * (total - done) / done
    assert left > 2 * now, "three stages like this are to come"


def test_what_nobody_priced_is_shown_too():
    told = []
    whole = WholeProgress(lambda *step: told.append(step), [])
    whole("real: measures", 1, 2, {})
    whole.end()
    assert [step[:3] for step in told] == [("audit", 0, 1), ("audit", 1, 1)]


def test_short_trainings_are_the_default_and_long_ones_an_option():
    short, long = AuditConfig.short(), AuditConfig()
    assert short.limits == long.limits
    assert short.seeds == long.seeds, "intervals are over as many seeds"
    for name in ("classifier", "witness"):
        assert getattr(short, name).steps < getattr(long, name).steps
    assert short.membership.shadows < long.membership.shadows
