"""Batches of paths in flight: who is in them, in which order, and what they remember."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from latentpath.energy import PathEnergy
from latentpath.walks.fast import FastSolver
from latentpath.walks.flights import Flights
from support.tiny_walks import Setting, quick

PATHS = 5


@pytest.fixture
def setting():
    return Setting(paths=PATHS)


def solver_of(setting, steps, **options):
    energy = PathEnergy(setting.networks(), micro_batch=64, fixed_batches=True)
    return FastSolver(energy, quick(tolerance=0.0, **options), steps)


def begun(setting, solver):
    ends = torch.stack([setting.start, setting.end], dim=1)
    return solver.take_off(torch.arange(PATHS), setting.labels, ends, torch.zeros(PATHS, 4), ends)


def tensors(flights):
    """Every tensor by its name, those of the memory too."""
    everything = {**vars(flights), **vars(flights.memory)}
    return {name: x for name, x in everything.items() if isinstance(x, torch.Tensor)}


def test_a_part_is_those_paths_with_all_that_is_theirs(setting):
    flights = begun(setting, solver_of(setting, 17))
    (part,) = flights.where(torch.tensor([False, True, False, False, True]))
    names = {field.name for field in dataclasses.fields(Flights)} - {"level", "memory"}
    assert tensors(part).keys() == names | {"points", "errors", "told"}
    for name, whole in tensors(flights).items():
        own = tensors(part)[name]
        torch.testing.assert_close(own, whole[[1, 4]], rtol=0, atol=0, equal_nan=True)
    assert flights.where(torch.zeros(PATHS, dtype=torch.bool)) == []
    assert flights.where(torch.ones(PATHS, dtype=torch.bool)) == [flights]


def test_parts_of_a_level_are_joined_in_the_order_of_the_inputs(setting):
    flights = begun(setting, solver_of(setting, 17))
    odd = torch.arange(PATHS) % 2 == 1
    parts = flights.where(odd) + flights.where(~odd)
    finer = dataclasses.replace(flights, level=1)
    first, second = Flights.by_level([finer, *parts])
    assert second is finer
    assert first.number.tolist() == list(range(PATHS))
    assert torch.equal(first.path, flights.path)
    assert Flights.by_level([]) == []


@pytest.mark.parametrize(
    ("steps", "options"),
    [(4, {}), (17, {}), (34, {}), (34, {"memory": 20}), (34, {"memory": 0}), (9, {"starts": 1})],
)
def test_a_memory_holds_what_a_path_is_told_and_no_more(setting, steps, options):
    """Where the whole of it is less than was asked for, nothing is forgotten."""
    solver = solver_of(setting, steps, **options)
    flights, landed = [begun(setting, solver)], []
    size = flights[0].memory.points.shape[1]
    while flights:
        flights, ended = solver.advance(flights)
        landed += ended
    told = torch.cat([part.memory.told for part in landed])
    assert size == min(solver.config.memory, int(told[0]))
    assert (told == told[0]).all()
