"""The figures of the measures: any number of sets, odd values, the same bytes each time."""

from __future__ import annotations

import functools
from xml.etree import ElementTree

import numpy as np
import pytest

from latentpath.audit.report.measure_figures import (
    Named,
    distances_figure,
    intervals_figure,
    panels_figure,
    reliability_figure,
    roc_figure,
)
from latentpath.audit.statistics.intervals import Interval

pytest.importorskip("matplotlib")

NASTY = r"<b>$x_{1$ \alpha & " + "long " * 30


def sets(values):
    last = len(values) - 1
    return [
        Named(f"{NASTY}{i}" if i else NASTY, value, i == last) for i, value in enumerate(values)
    ]


def intervals(rng, n):
    return [Interval(v, v - 0.05, v + 0.1) for v in rng.random(n)]


@functools.cache
def draw_all(n: int) -> list[bytes]:
    rng, rate = np.random.default_rng(n), np.linspace(0, 1, 50)
    return [
        distances_figure(sets(list(rng.random((n, 30)))), "distance"),
        intervals_figure(sets(intervals(rng, n)), "share", marks=[(0.5, "half")]),
        panels_figure([(name, sets(intervals(rng, n))) for name in "abcde"], marks=[0.5, None]),
        roc_figure(sets([(rate, rate**power) for power in rng.random(n)])),
        reliability_figure(sets([(rate[::5], rate[::5])] * n)),
    ]


@pytest.mark.parametrize("n", [1, 12])
def test_any_number_of_sets(n):
    drawn = draw_all(n)
    for svg in drawn:
        assert ElementTree.fromstring(svg).tag.endswith("svg")


def test_the_same_sets_give_the_same_bytes():
    assert draw_all.__wrapped__(1) == draw_all(1)


def height(svg: bytes) -> float:
    return float(ElementTree.fromstring(svg).get("height").removesuffix("pt"))


def test_figures_grow_with_the_number_of_sets():
    one, twelve = draw_all(1), draw_all(12)
    for few, many in zip(one[:3], twelve[:3], strict=True):
        assert height(many) > 2 * height(few)


def test_figures_of_what_hardly_is():
    one = [Interval(1.0, 1.0, 1.0), None]
    for svg in (
        distances_figure(sets([np.zeros(4), np.zeros(1)]), "all copies"),
        distances_figure(sets([np.array([0.1])]), "one image"),
        intervals_figure(sets(one), "one is missing"),
        panels_figure([("a", sets(one)), ("b", sets([None, None]))]),
        roc_figure(sets([(np.array([0.0, 1.0]), np.array([0.0, 0.0]))])),
        reliability_figure(sets([(np.array([0.9]), np.array([0.1]))])),
    ):
        assert ElementTree.fromstring(svg).tag.endswith("svg")
