"""What an audit will cost, and its progress as one."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from latentpath.audit import AuditConfig, WholeProgress, audit_cost, measure_names
from latentpath.audit.question_costs import QuestionCost
from latentpath.training import ClassifierConfig
from latentpath.training.witness_training import WitnessConfig

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
    monkeypatch.setattr(f"{module}._per_step", lambda train: train(lambda *_: None) and 0.01)
    monkeypatch.setattr(f"{module}._seconds_of", lambda work: work() and 0.2)
    monkeypatch.setattr(f"{module}.workers_beside", lambda count: 2)
    real = people(24)

    def cost(config, **sets):
        found = audit_cost(real, {"": 10, **sets}, config, measure_names(), holdout=24)
        return {one.question: one for one in found}

    once, longer, two = cost(small()), cost(small(4000)), cost(small(), lines=10)
    assert list(once) == ["recognition", "attacks", "utility", "other questions"]
    for question in ("recognition", "attacks", "utility"):
        assert longer[question].seconds == pytest.approx(100 * once[question].seconds)
    # Sets, seeds, steps and seconds a step; two trainings beside each other.
    seeds = len(small().seeds)
    assert once["utility"].seconds == pytest.approx(2 * seeds * 40 * 0.01 / 2)
    assert set(two["utility"].stages) == {"real: utility", "utility", "lines: utility"}
    assert "about" in once["attacks"].words
    assert "4 shadow models" in once["attacks"].words


def test_what_is_not_asked_costs_nothing(people):
    found = audit_cost(people(8), {"": 8}, small(), ("copies", "nearest"))
    assert [one.question for one in found] == ["other questions"]
    # Without other people there is nobody to tell members from.
    found = audit_cost(people(8), {"": 8}, small(), ("membership",))
    assert [one.question for one in found] == ["other questions"]


def test_all_stages_are_one_bar_that_never_goes_back():
    costs = [
        QuestionCost("recognition", 60.0, "", {"witness": 60.0}),
        QuestionCost("utility", 30.0, "", {"real: utility": 15.0, "utility": 15.0}),
        QuestionCost("other questions", 10.0, "", {}),
    ]
    told = []
    whole = WholeProgress(lambda *step: told.append(step[:3]), costs)
    for stage in ("embed", "witness", "re-identification", "real: utility", "utility", "nearest"):
        for done in range(4):
            whole(stage, done, 3, {})
    assert {stage for stage, _, _ in told} == {"audit"}
    assert all(a[1] <= b[1] < b[2] for a, b in itertools.pairwise(told))
    assert told[6][1] == pytest.approx(45, abs=3)  # two thirds of the witness
    whole.end()
    assert told[-1][1] == told[-1][2]


def test_short_trainings_are_the_default_and_long_ones_an_option():
    short, long = AuditConfig.short(), AuditConfig()
    assert short.limits == long.limits
    assert short.seeds == long.seeds, "intervals are over as many seeds"
    for name in ("classifier", "witness"):
        assert getattr(short, name).steps < getattr(long, name).steps
    assert short.membership.shadows < long.membership.shadows
