"""Whoever works on a plan, in whatever order, with whatever failures: the set is the same."""

from __future__ import annotations

import os
import random
import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, strategies as st

from latentpath.core import StoppedError
from latentpath.core.errors import InputError, RunError
from latentpath.production import RunFolder
from latentpath.production.plan import Plan, Task
from latentpath.production.run import produce_run as perform
from latentpath.production.run.engines import PortionSize
from latentpath.production.worker import (
    Advance,
    Crew,
    Job,
    Outcome,
    WithdrawnError,
    Worker,
    attempt,
    crew_size,
    split_evenly,
)
from support.tiny_runs import config, same_set


class Unruly:
    """An engine that answers in any order, walks any shards together, fails as `fails` says and
    repeats itself."""

    name = "local"

    def __init__(
        self, job, *, workers=3, seed=0, fails=lambda number, time: None, repeats=False, at_once=0
    ):
        self.worker, self.workers = Worker(job), workers
        self.most = at_once or job.plan.walks_at_once(job.device)
        self.random, self.fails, self.repeats = random.Random(seed), fails, repeats
        self.tasks, self.times = [], {}
        self.pool = ThreadPoolExecutor(1)

    def room(self):
        return 2 * self.workers - len(self.tasks)

    def spare(self, number):
        return self.repeats

    def submit(self, tasks):
        self.tasks += tasks

    def poll(self, timeout):
        # The last one is kept until a second worker has it, too.
        if len(self.tasks) <= self.repeats:
            return []
        most = min(self.most, len(self.tasks) - self.repeats)
        some = 1 + self.random.randrange(most)
        name = f"unruly-{self.random.randrange(self.workers)}"
        tasks, outcomes = [], []
        for _ in range(some):
            task = self.tasks.pop(self.random.randrange(len(self.tasks)))
            number = task.number
            time = self.times[number] = self.times.get(number, 0) + 1
            if (error := self.fails(number, time)) is None:
                tasks.append(task)
            else:
                outcomes.append(attempt(lambda error=error: self.fail(error), number, name))
        if tasks:
            for computed in self.worker.compute(tasks):
                outcomes.append(self.worker.encode(computed, self.pool, name))
        return outcomes

    def fail(self, error):
        raise error

    def advanced(self):
        return 0.5 * len(self.tasks)

    def give_up(self):
        pass

    def withdraw(self):
        taken, self.tasks = [task.number for task in self.tasks[1:]], self.tasks[:1]
        return taken

    def close(self):
        self.pool.shutdown()


@pytest.fixture
def unruly(monkeypatch):
    def use(**how):
        monkeypatch.setattr(perform, "make_engine", lambda job, run, **_: Unruly(job, **how))

    return use


@pytest.mark.parametrize("seed", [0, 2])
def test_any_order(perform, finished, unruly, seed):
    unruly(seed=seed, workers=seed + 1)
    made = perform()
    assert same_set(made.folder, finished.folder)


def test_the_fast_solver_in_any_order(perform, unruly):
    fast = config(solver="fast", passes=4.0, count=20)
    alone = perform("alone", config=fast)
    unruly(seed=7)
    assert same_set(perform(config=fast).folder, alone.folder)


def test_every_shard_fails_once(perform, finished, unruly):
    unruly(fails=lambda number, time: MemoryError() if time == 1 else None)
    assert same_set(perform().folder, finished.folder)


def test_stragglers_are_given_to_a_second_worker_and_count_once(
    perform, finished, unruly, monkeypatch
):
    monkeypatch.setattr("latentpath.production.run.driver._STRAGGLES", 0.0)
    unruly(repeats=True, workers=6)
    made = perform()
    assert "a second worker" in made.folder.log.read_text()
    assert same_set(made.folder, finished.folder)


def test_a_shard_that_fails_too_often_stops_the_run_and_it_goes_on(
    perform, finished, unruly, tmp_path
):
    unruly(fails=lambda number, time: ValueError("a secret") if number == 2 else None)
    with pytest.raises(RunError, match=r"shard 2.* 3 failed attempts.*ValueError") as error:
        perform()
    assert error.value.exit_code == 3
    assert "secret" not in str(error.value)
    kept = sorted((tmp_path / "run" / "private" / "shards").rglob("*.safetensors"))
    assert kept
    times = [path.stat().st_mtime_ns for path in kept]
    unruly()
    assert same_set(perform(resume=True).folder, finished.folder)
    assert [path.stat().st_mtime_ns for path in kept] == times


def test_what_nobody_can_do_is_said_at_once(perform, unruly):
    wrong = InputError(expected="this", got="that", fix="try it")
    unruly(fails=lambda number, time: wrong)
    with pytest.raises(InputError, match="expected this, got that"):
        perform()


def test_shards_of_another_kind_of_machine_are_not_taken(
    perform, finished, unruly, monkeypatch, tmp_path
):
    real = Worker.encode

    def elsewhere(self, computed, pool, worker):
        outcome = real(self, computed, pool, worker)
        if worker == "unruly-1":
            outcome = replace(outcome, arithmetic={**outcome.arithmetic, "device": "other"})
        return outcome

    monkeypatch.setattr(Worker, "encode", elsewhere)
    unruly(workers=2, seed=3)
    made = perform(run={"attempts": 40})
    log = made.folder.log.read_text()
    assert "another kind of machine than before (device)" in log
    # Whichever kind came first made them all.
    assert len(set(re.findall("done by (unruly-[0-9])", log))) == 1
    assert same_set(made.folder, finished.folder)


def test_asked_to_stop_what_nobody_has_begun_is_taken_back(perform, finished, unruly, tmp_path):
    asked = []

    def stop(stage, done, total, figures):
        if stage == "produce" and done and not asked:
            asked.append(done)
            signal.raise_signal(signal.SIGTERM)

    unruly(workers=9, at_once=1)
    with pytest.raises(StoppedError):
        perform(progress=stop)
    log = (tmp_path / "run" / "private" / "run.log").read_text()
    assert "was taken back" in log
    assert same_set(perform(resume=True).folder, finished.folder)


def test_a_shard_that_fails_spoils_no_other(finished, data, bundle, monkeypatch):
    """Shards that cannot be done together are done alone."""
    job = Job(finished.plan, bundle, data, "cpu")
    tasks = [finished.plan.task(number) for number in range(4)]
    walked = Worker._compute

    def fails(self, tasks, *more):
        if any(task.number == 2 for task in tasks):
            raise MemoryError
        return walked(self, tasks, *more)

    monkeypatch.setattr(Worker, "_compute", fails)
    made = Crew(job, threads=2).attempt(tasks, "here")
    errors = [outcome for outcome in made if isinstance(outcome, Outcome)]
    assert [(outcome.number, outcome.worker) for outcome in errors] == [(2, "here")]
    assert {shard.shard.number for shard in made if shard not in errors} == {0, 1, 3}


@pytest.mark.parametrize(
    ("device", "threads", "each", "workers"),
    [("cpu", 1, 1, 1), ("cpu", 3, 1, 3), ("cpu", 7, 1, 4), ("cpu", 64, 16, 4), ("cpu", 64, 1, 4),
     ("cpu", 2, 4, 1), ("cuda:0", 8, 2, 1)],
)  # fmt: skip
def test_a_crew_is_a_few_workers_on_processors(finished, device, threads, each, workers):
    plan = replace(finished.plan, settings={**finished.plan.settings, "threads": each})
    assert crew_size(Job(plan, None, None, device), threads) == workers


@given(walks=st.lists(st.integers(1, 20), max_size=30), workers=st.integers(1, 5))
def test_portions_hold_every_shard_once_and_about_as_many_walks(walks, workers):
    pairs = [np.zeros((count, 2), np.int64) for count in walks]
    tasks = [Task(i, 0, rows, rows.astype(bool), 0) for i, rows in enumerate(pairs)]
    portions = split_evenly(tasks, workers)
    assert sorted(task.number for portion in portions for task in portion) == list(
        range(len(walks))
    )
    sizes = [sum(len(task.pairs) for task in portion) for portion in portions]
    assert len(sizes) == min(workers, len(walks))
    assert not sizes or max(sizes) - min(sizes) <= max(walks)


def test_an_outcome_says_nothing_of_where_it_failed():
    def fail():
        raise OSError(2, "No such file", "/home/anna/patient-17.png")

    outcome = attempt(fail, 3, "local")
    assert isinstance(outcome, Outcome)
    assert outcome.error.startswith("FileNotFoundError in latentpath/production/worker.py:")
    assert "patient-17" in outcome.trace


@pytest.mark.parametrize(
    "wrong",
    [
        {"engine": "slurm"},
        {"workers": -1},
        {"workers": 3},
        {"attempts": 0},
        {"ray_address": "auto"},
    ],
)
def test_impossible_options(perform, wrong):
    with pytest.raises(InputError):
        perform(run=wrong)


def test_portions_are_as_many_walks_as_a_minute_takes():
    size = PortionSize(most=40, first=4)
    assert (size.walks, size.per_walk, size.seconds) == (4, None, 0)
    for walks, seconds, then in ((4, 40.0, 6), (6, 600.0, 1), (1, 0.01, 40)):
        size.note(walks, seconds)
        assert size.walks == then
    assert PortionSize(most=3, first=16).walks == 3
    assert PortionSize(most=40, first=16, asked=2).walks == 2


@pytest.mark.parametrize("solver", ["fast", "published"])
def test_a_worker_tells_how_far_its_walks_are_and_can_be_stopped(finished, data, bundle, solver):
    """Half-way, not only between shards; and what it made until then is no failed attempt."""
    told, job = [], Job(finished.plan, bundle, data, "cpu")

    class Told(Advance):
        def add(self, walks):
            super().add(walks)
            told.append(self.walks)

    made = config(solver=solver, passes=8.0, optim_steps=4)
    plan = Plan({**job.plan.settings, "config": made.as_dict()}, job.plan.arrays)
    worker, tasks = Worker(replace(job, plan=plan)), [plan.task(0)]
    advance = Told()
    advance.begin(len(tasks[0].pairs))
    (whole,) = worker.compute(tasks, advance)
    assert len(told) > 1
    assert told == sorted(told)
    assert 0 < told[0] < told[-1] <= len(tasks[0].pairs)
    (plain,) = worker.compute(tasks)
    assert np.array_equal(whole.shard.latents, plain.shard.latents)
    advance.stop()
    with pytest.raises(WithdrawnError):
        worker.compute(tasks, advance)


def test_a_stop_gives_up_what_would_take_long(perform, finished, monkeypatch, tmp_path):
    """It is made again when the run goes on, and no attempt counts as failed."""
    monkeypatch.setattr("latentpath.production.run.engines.PATIENCE", -1.0)
    begun = []
    usual = Advance.add

    def add(self, walks):
        begun.append(walks)
        if len(begun) == 1:
            os.kill(os.getpid(), signal.SIGINT)
            while not self.stopped:
                time.sleep(0.01)
        usual(self, walks)

    monkeypatch.setattr(Advance, "add", add)
    with pytest.raises(StoppedError):
        perform()
    text = RunFolder(tmp_path / "run").log.read_text()
    assert "was taken back" in text
    assert "failed" not in text
    monkeypatch.setattr(Advance, "add", usual)
    assert same_set(perform(resume=True).folder, finished.folder)
