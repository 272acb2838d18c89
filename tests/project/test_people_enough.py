"""What so few people cannot tell is said before any work."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("monai")

from latentpath.audit import wings
from latentpath.audit.instrument_check import FALSE_ALARMS, FEWEST_PEOPLE, enough_people
from latentpath.data import FEWEST_TO_JUDGE, split_people, validation_people
from latentpath.production import TrainingConfig
from latentpath.project import ProjectConfig
from latentpath.project.people_enough import too_few_lines
from support import tiny_models

QUESTIONS = {wing.name: wing.question for wing in wings()}


def lines(sizes, config=None):
    data, config = tiny_models.private_set(sizes), config or ProjectConfig()
    return too_few_lines(data, split_people(data, config.hold_out), config)


def test_few_people_leave_the_questions_of_privacy_open():
    told = lines((33, 33))  # 52 behind the set, 14 held out
    assert [line for line in told if "closeness" in line or QUESTIONS["closeness"] in line] == [
        f"too few people to acquit the set by: {QUESTIONS['closeness']} It takes 30 people held "
        "out (--hold-out 0.44 or about 150 people in all)"
    ]
    for name in ("recognition", "attacks"):
        (line,) = [line for line in told if QUESTIONS[name] in line]
        assert line.endswith("It takes 100 people held out (about 500 people in all)")
    assert told[-1].startswith("too few people to judge generator and class classifier")
    assert told[-1].endswith("it takes 80 behind the set")
    assert len(told) == 4


def test_what_is_advised_is_enough():
    data = tiny_models.private_set((33, 33))
    people = split_people(data, 0.44)
    assert people.others.num_identities >= FEWEST_PEOPLE
    assert enough_people(people.others.num_identities, "other people").works
    assert split_people(data, 0.43).others.num_identities < FEWEST_PEOPLE


def test_many_people_are_enough():
    assert lines((250, 250)) == []
    assert len(lines((245, 245))) == 2, "98 held out tell no rate of 1%"
    assert round(1 / FALSE_ALARMS) == 100


def test_networks_that_nobody_is_to_be_held_out_of_are_no_surprise():
    config = ProjectConfig(training=TrainingConfig(validation=0))
    assert not any("judge" in line for line in lines((33, 33), config))


def test_the_number_that_can_be_judged_by_is_where_it_begins():
    for people, enough in ((FEWEST_TO_JUDGE, True), (FEWEST_TO_JUDGE - 2, False)):
        data = tiny_models.private_set((people // 2, people // 2))
        assert (validation_people(data, 0.1) is not None) is enough


def test_people_behind_the_set_count_as_well():
    config = replace(ProjectConfig(), hold_out=0.5)
    told = lines((20, 20), config)
    (line,) = [line for line in told if QUESTIONS["closeness"] in line]
    assert "It takes 30 people held out and 30 people behind the set (about 60 people" in line
