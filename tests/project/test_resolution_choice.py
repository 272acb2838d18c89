"""The resolution of a project depends on its images and hours, not on the load of the moment."""

from __future__ import annotations

import itertools
import time
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("monai")

from latentpath.data import DataSource, scan
from latentpath.production import TrainingConfig
from latentpath.project import ProjectConfig, StageEstimate, reading_side, time_generator
from latentpath.project.resolution_choice import likely_resolution
from latentpath.training import GeneratorConfig
from support import tiny_models

SMALL = tiny_models.private_set((14, 12), per_person=2)
LARGE = replace(SMALL, images=SMALL.images.repeat(8, 1).repeat(8, 2))
CONFIG = ProjectConfig(training=TrainingConfig(generator=GeneratorConfig(total_images=10_000)))


class Machine:
    """One whose clocks tell what a program took, and what it waited for others."""

    def __init__(self, seconds, load):
        self.seconds, self.load = seconds, itertools.cycle(load)
        self.own = self.wall = 0.0

    def train(self, images, labels, *, config, progress, **_):
        """As `train_generator`; an image takes so many seconds at this side."""
        for done in range(0, config.total_images, config.batch):
            took = config.batch * self.seconds[images.shape[-1]]
            self.own += took
            self.wall += took * next(self.load)
            progress("generator", done, config.total_images, {})


@pytest.fixture
def machine(monkeypatch):
    def made(seconds, load):
        here = Machine(seconds, load)
        monkeypatch.setattr("latentpath.core.threads.threads_that_help", lambda: 1)
        monkeypatch.setattr("latentpath.project.time_trial.train_generator", here.train)
        monkeypatch.setattr(time, "perf_counter", lambda: here.wall)
        monkeypatch.setattr(time, "thread_time", lambda: here.own)
        return here

    return made


LOADS = {"none": [1], "much": [7], "less and less": np.linspace(9, 1, 50), "bursts": [1, 1, 30, 2]}


@pytest.mark.parametrize("load", LOADS.values(), ids=LOADS)
def test_other_work_changes_no_resolution(machine, load):
    machine({64: 1.0, 128: 2.5}, load)
    chosen, why = likely_resolution(LARGE, CONFIG)
    assert chosen == 64
    assert "64 pixels and not 128, at which the generator alone would take about 6.9 hours" in why
    assert "on this machine, longer while it does other work" in why
    assert time_generator(LARGE, CONFIG, 64).seconds == pytest.approx(10_000)


def test_a_trial_ends_by_the_clock_on_the_wall(machine):
    here = machine({64: 0.01, 128: 0.01}, [100])
    likely_resolution(LARGE, CONFIG)
    assert here.wall < 300, "a busy machine gets fewer steps, not a longer trial"


def test_a_smaller_resolution_than_the_images_have_is_explained(monkeypatch):
    hours = {64: 2.0, 128: 7.3}

    def timed(data, config, side, **_):
        return StageEstimate("generator", 3600 * hours[side], "")

    monkeypatch.setattr("latentpath.project.resolution_choice.time_generator", timed)
    shown = []

    def progress(*words):
        shown.append(words)

    chosen, why = likely_resolution(LARGE, CONFIG, progress=progress)
    assert chosen == 64
    assert why == (
        "resolution: 64 pixels and not 128, at which the generator alone would take about 7.3 "
        "hours on this machine, longer while it does other work: more than half of --hours 12 "
        "(--hours 17 allows 128)"
    )
    assert [words[1] for words in shown] == [0, 64, 128], "it is told before the first is timed"
    assert [words[3] for words in shown] == [{}, {}, {}], "no hours of what is not chosen"
    assert shown[-1][1] == shown[-1][2]
    assert likely_resolution(LARGE, replace(CONFIG, hours=17)) == (128, "")


@pytest.mark.parametrize(
    ("sides", "side"),
    [
        ([(20, 24)], 0),  # as they are
        ([(20, 24), (40, 70), (90, 36), (300, 33)], 32),
        ([(200, 300)], 128),
        ([(200, 300), (600, 500)], 128),
        ([(5, 7), (9, 8)], 16),
    ],
)
def test_large_and_mixed_images_are_read_at_one_side(tmp_path, sides, side):
    rng = np.random.default_rng(0)
    for number, (width, height) in enumerate(sides):
        path = tmp_path / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (height, width), dtype=np.uint8)).save(path)
    assert reading_side(scan(DataSource(tmp_path))) == side
