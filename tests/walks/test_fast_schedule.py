"""Levels: one energy for one curve on all of them, and passes that are not exceeded."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, strategies as st

from latentpath.walks.fast_schedule import plan_levels, resample


def smoothness(path):  # [T, D]
    return float(path.diff(dim=0).square().sum())


def curve(points, power=1):
    """A bent curve in four dimensions, float64."""
    t = torch.linspace(0, 1, points, dtype=torch.float64)[:, None]
    return torch.cat([t, torch.sin(3 * power * t), torch.cos(5 * t), t**2], dim=1)


@given(
    steps=st.integers(3, 6000),
    passes=st.floats(1e-3, 1e3),
    coarsest=st.integers(1, 300),
)
def test_plans(steps, passes, coarsest):
    levels = plan_levels(steps, passes, coarsest)
    sizes = [level.interior for level in levels]
    assert sizes == sorted(set(sizes))
    assert sizes[-1] == steps - 2
    assert sizes[0] >= min(coarsest, steps - 2)
    assert all(level.evaluations >= 1 for level in levels)
    assert all(level.points == level.interior + 2 for level in levels)
    cost = sum(level.evaluations * level.interior for level in levels) / (steps - 2)
    least = sum(sizes) / (steps - 2)
    assert cost <= max(passes, least) + least
    assert levels[-1].smoothness_scale == levels[-1].guide_scale == 1.0
    # Weights of all knots together are those of all points.
    for level in levels:
        assert level.guide_scale * level.interior == pytest.approx(steps - 2)


@given(passes=st.floats(1, 500), steps=st.integers(20, 500))
def test_more_passes_are_never_fewer_evaluations(passes, steps):
    few, more = (plan_levels(steps, count, 6) for count in (passes, 1.5 * passes))
    assert all(a.evaluations <= b.evaluations for a, b in zip(few, more, strict=True))


@pytest.mark.parametrize("steps", [3, 7, 50, 51, 400, 4000])
def test_a_straight_line_has_one_smoothness_on_all_levels(steps):
    ends = torch.tensor([[0.0, 3.0], [4.0, 0.0]], dtype=torch.float64)
    fine = smoothness(resample(ends, steps))
    assert fine == pytest.approx(25 / (steps - 1))
    for level in plan_levels(steps, 40, 3):
        coarse = smoothness(resample(ends, level.points))
        assert coarse * level.smoothness_scale == pytest.approx(fine, rel=1e-9)


@pytest.mark.parametrize("times", [1, 2, 5, 8])
def test_a_piecewise_linear_curve_keeps_its_smoothness(times):
    # Kinks at knots: every segment is cut into equal ones, d^2 into n (d / n)^2.
    coarse = curve(13)
    fine = resample(coarse, 12 * times + 1)
    assert smoothness(coarse) / times == pytest.approx(smoothness(fine), rel=1e-12)
    # What levels are rescaled by: (n + 1) / (fine + 1) for n = 11 interior knots.
    assert (11 + 1) / (12 * times - 1 + 1) == pytest.approx(1 / times)


@pytest.mark.parametrize("steps", [50, 131, 1000])
def test_a_curve_has_one_energy_on_all_levels(steps):
    fine = curve(steps)

    def guide(path):
        return float(path[1:-1].square().sum(dim=1).sin().sum())

    for level in plan_levels(steps, 40, 20):
        coarse = curve(level.points)
        assert smoothness(coarse) * level.smoothness_scale == pytest.approx(
            smoothness(fine), rel=0.02
        )
        assert guide(coarse) * level.guide_scale == pytest.approx(guide(fine), rel=0.05)


class TestResample:
    @pytest.mark.parametrize(("before", "after"), [(3, 3), (3, 50), (50, 3), (131, 17), (2, 9)])
    def test_ends_do_not_move_by_a_bit(self, before, after):
        torch.manual_seed(before)
        path = torch.randn(before, 5) * 1e3
        found = resample(path, after)
        assert found.shape == (after, 5)
        assert torch.equal(found[0], path[0])
        assert torch.equal(found[-1], path[-1])

    @given(before=st.integers(2, 60), after=st.integers(2, 60))
    def test_against_interpolation_by_hand(self, before, after):
        path = curve(before, power=3)
        found = resample(path, after)
        for row, place in enumerate(torch.linspace(0, before - 1, after, dtype=torch.float64)):
            left = min(int(place), before - 2)
            share = float(place) - left
            wanted = (1 - share) * path[left] + share * path[left + 1]
            assert torch.allclose(found[row], wanted, atol=1e-9)

    def test_a_copy(self):
        path = curve(5)
        resample(path, 5)[1] = 0.0
        assert torch.equal(path, curve(5))
