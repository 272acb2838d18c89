"""`audit.json` against its schema: every number of every report has its place there."""

from __future__ import annotations

import copy
import dataclasses
import json

import numpy as np
import pytest

from latentpath.audit import EnergyComparison, GateSummary, WalkProfile, audit_schema
from support import made_reports as made

jsonschema = pytest.importorskip("jsonschema")


@pytest.fixture(scope="module")
def schema():
    return audit_schema()


def check(schema, report):
    numbers = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    jsonschema.Draft202012Validator(schema).validate(numbers)
    return numbers


def test_the_schema_is_one(schema):
    jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("sets", [1, 2, 12])
def test_any_number_of_sets(schema, sets):
    numbers = check(schema, made.report(sets))
    assert len(numbers["sets"]) == sets + 1
    assert {about: verdict["colour"] for about, verdict in numbers["verdicts"].items()} == {
        "privacy": "green",
        "use": "green",
    }
    assert set(numbers["questions"]) == {
        "copies",
        "closeness",
        "recognition",
        "attacks",
        "utility",
        "fidelity",
    }


def test_a_report_of_production(schema):
    rng = np.random.default_rng(0)
    energies = {name: rng.random(3) for name in ("smoothness", "total")}
    report = made.report(
        2,
        verdicts=(),
        profile=WalkProfile(rng.random((3, 5)), rng.random((3, 5))),
        energies=EnergyComparison(energies, energies),
        certificate={"k": 5, "configuration": {"deep": [1]}},
        networks={"weak": ["generator_coverage"], "not_ready": [], "not_judged": {}},
    )
    gated = dataclasses.replace(report.sets[-1], gate=GateSummary(9, {"too close": 2}))
    numbers = check(schema, dataclasses.replace(report, sets=(*report.sets[:-1], gated)))
    assert numbers["verdicts"] == {}
    assert numbers["sets"]["synthetic"]["gate"]["kept"] == 7


@pytest.mark.parametrize("left_out", ["copies", "nearest", "membership", "utility", "fidelity"])
def test_measures_that_were_not_taken(schema, left_out):
    numbers = check(schema, made.report(1, made.audit(**{left_out: None})))
    assert numbers["sets"]["synthetic"]["not_measured"] == {left_out: "Left out on request."}


def test_figures_that_do_not_exist_are_null(schema):
    odd = dataclasses.replace(made.ratio(), median_ratio=float("nan"))
    numbers = check(schema, made.report(1, made.audit(record_ratio=odd)))
    assert numbers["sets"]["synthetic"]["record_ratio"]["median_ratio"] is None
    # Infinity came from made_reports.
    assert numbers["sets"]["synthetic"]["record_ratio"]["ratio_of_5th_percentiles"] is None


def test_what_has_no_place_in_the_schema_is_refused(schema):
    numbers = json.loads(json.dumps(made.report(1).as_dict()))
    validator = jsonschema.Draft202012Validator(schema)
    for path in (
        (),
        ("sets", "synthetic"),
        ("sets", "synthetic", "utility"),
        ("questions", "copies"),
    ):
        changed = copy.deepcopy(numbers)
        place = changed
        for step in path:
            place = place[step]
        place["unheard of"] = 1
        assert not validator.is_valid(changed)
    for name in numbers:
        assert not validator.is_valid({key: numbers[key] for key in numbers if key != name})


def test_nothing_about_single_people():
    """Arrays of the measures (rows, scores, distances) stay out: no list is as long as a set."""

    def lists(value, path=""):
        if isinstance(value, dict):
            for key, item in value.items():
                yield from lists(item, f"{path}/{key}")
        elif isinstance(value, list):
            yield path, len(value)
            for item in value:
                yield from lists(item, path)

    for path, length in lists(made.report(2).as_dict()):
        assert length < 50, path
