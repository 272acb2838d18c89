"""Walks in the metric of the generator's latents; short paths that begin beside the line."""

from __future__ import annotations

import pytest
import torch

from latentpath.core.errors import InputError
from latentpath.energy import EnergyWeights
from latentpath.walks import FastConfig, LatentMetric, PublishedConfig
from latentpath.walks.requests_and_results import straight_line
from support.tiny_walks import D, Setting, quick

COVARIANCE = torch.diag(torch.logspace(1, -6, D, dtype=torch.float64))


@pytest.fixture
def setting():
    return Setting()


@pytest.fixture
def metric():
    return LatentMetric.of_covariance(torch.linspace(-1, 1, D), COVARIANCE)


class TestCoordinates:
    def test_distances_are_those_of_the_covariance(self, metric):
        torch.manual_seed(1)
        mixing = torch.linalg.qr(torch.randn(D, D, dtype=torch.float64)).Q
        covariance = mixing @ COVARIANCE @ mixing.T
        turned = LatentMetric.of_covariance(torch.zeros(D), covariance, floor=0.1)
        a, b = torch.randn(2, D)
        inverse = torch.linalg.inv(2 * (covariance + 0.1 * 10 * torch.eye(D, dtype=torch.float64)))
        expected = (a - b).double() @ inverse @ (a - b).double()
        measured = (turned.into(a) - turned.into(b)).double().square().sum()
        assert measured == pytest.approx(float(expected), rel=1e-5)

    def test_there_and_back(self, metric):
        w = torch.randn(3, 4, D)
        assert torch.allclose(metric.back(metric.into(w)), w, atol=1e-5)

    def test_straight_lines_stay_straight(self, metric):
        start, end = torch.randn(2, 5, D)
        line = metric.back(straight_line(metric.into(start), metric.into(end), 7))
        assert torch.allclose(line, straight_line(start, end, 7), atol=1e-5)

    @pytest.mark.parametrize("covariance", [torch.zeros(D, D), torch.full((D, D), float("nan"))])
    def test_latents_that_do_not_differ_are_refused(self, covariance):
        with pytest.raises(InputError, match=r"differ.*--latent-metric euclidean"):
            LatentMetric.of_covariance(torch.zeros(D), covariance)


class TestOfGenerator:
    class Sampling:
        latent_dim, c_dim = 3, 2
        scales = torch.tensor([2.0, 1.0, 0.1])

        def sample(self, n, labels=None):
            apart = 0 if labels is None else 100.0 * labels[:, None]
            return torch.randn(n, 3) * self.scales + apart

    def test_classes_far_apart_make_no_distance_within(self):
        metric = LatentMetric.of_generator(self.Sampling(), floor=1e-3)
        expected = (2 * (self.Sampling.scales**2 + 4e-3)).sqrt()
        assert torch.allclose(metric.root.diagonal(), expected, rtol=0.03)

    def test_draws_leave_the_callers_random_numbers_alone(self):
        torch.manual_seed(3)
        expected = torch.rand(2)
        torch.manual_seed(3)
        first, again = (LatentMetric.of_generator(self.Sampling()) for _ in range(2))
        assert torch.equal(torch.rand(2), expected)
        assert torch.equal(first.root, again.root)

    def test_one_that_cannot_sample_is_refused(self, setting):
        with pytest.raises(InputError, match=r"sample.*--latent-metric euclidean"):
            LatentMetric.of_generator(setting.generator)


class TestWalks:
    @pytest.mark.parametrize("surrogate", [False, True])
    @pytest.mark.parametrize("steps", [4, 17])
    def test_ends_stay_and_no_path_is_worse_than_its_line(self, setting, metric, steps, surrogate):
        made = setting.surrogate() if surrogate else None
        config = quick(exploration=0.3, lr=1.0, weights=EnergyWeights(smoothness=0.01))
        options = {"metric": metric, "config": config, "surrogate": made}
        result = setting.walk(slice(0, 5), steps=steps, **options)
        assert torch.equal(result.latents[:, 0], setting.start[:5])
        assert torch.equal(result.latents[:, -1], setting.end[:5])
        assert (result.after.total <= result.before.total).all()
        assert result.stopped.count("line") < 5

    def test_the_smoothness_is_measured_in_it(self, setting, metric):
        result = setting.walk(slice(0, 3), steps=5, metric=metric, config=quick())
        inside = metric.into(result.latents).double()
        expected = inside.diff(dim=1).square().sum(dim=[1, 2])
        assert torch.allclose(result.after.smoothness.double(), expected, rtol=1e-3)

    def test_the_usual_metric_is_no_other_walk(self, setting):
        half = torch.eye(D, dtype=torch.float64) / 2.2  # with its floor: coordinates are latents
        usual = LatentMetric.of_covariance(torch.zeros(D), half, floor=0.1)
        config = PublishedConfig(optim_steps=6)
        plain, measured = (
            setting.walk(slice(0, 3), steps=6, solver="published", config=config, metric=m)
            for m in (None, usual)
        )
        assert torch.allclose(measured.latents, plain.latents, atol=1e-4)

    def test_steps_are_short_where_the_generator_goes_nowhere(self, setting, metric):
        weights = EnergyWeights(smoothness=0.01)
        narrow = LatentMetric.of_covariance(metric.mean, COVARIANCE, floor=0.01)
        plain, measured = (
            setting.walk(steps=4, config=quick(passes=20, lr=1.0, weights=weights), metric=m)
            for m in (None, narrow)
        )
        shares = []
        for result in (plain, measured):
            moved = result.latents - straight_line(setting.start, setting.end, 4)
            shares.append(float(moved[..., D // 2 :].square().sum() / moved.square().sum()))
        assert shares[1] < 0.5 * shares[0]

    def test_a_surrogate_and_listeners_know_latents(self, setting, metric):
        seen = []
        setting.walk(
            slice(0, 2), steps=4, metric=metric, surrogate=setting.surrogate(), visited=seen.append
        )
        first = seen[0].reshape(2, 2, D)
        assert torch.allclose(
            first, straight_line(setting.start[:2], setting.end[:2], 4)[:, 1:-1], atol=1e-5
        )


class TestExploration:
    def test_it_is_decided_by_the_ends_and_not_by_the_company(self, setting, metric):
        options = {"steps": 4, "config": quick(exploration=1.0), "metric": metric}
        together = setting.walk(slice(0, 6), **options)
        alone = setting.walk(slice(4, 5), **options)
        assert torch.equal(alone.latents[0], together.latents[4])

    def test_inner_points_begin_so_far_beside_the_line(self, setting, metric):
        seen = []
        config = quick(exploration=0.6)
        setting.walk(steps=5, config=config, metric=metric, visited=seen.append)
        begun = metric.into(seen[0].reshape(9, 3, D))
        line = straight_line(metric.into(setting.start), metric.into(setting.end), 5)[:, 1:-1]
        assert (begun - line).square().mean().sqrt() == pytest.approx(0.6, rel=0.1)

    def test_long_paths_begin_on_the_line(self, setting):
        plain, explored = (
            setting.walk(slice(0, 2), steps=30, config=quick(exploration=e)) for e in (0.0, 1.0)
        )
        assert torch.equal(plain.latents, explored.latents)

    @pytest.mark.parametrize("value", [-0.1, float("nan")])
    def test_impossible_ones_are_refused(self, value):
        with pytest.raises(InputError, match="exploration"):
            FastConfig(exploration=value)


def test_short_paths_turn_back_from_steps_that_are_too_long(setting):
    """Going on from a bad place would leave most on the line."""
    config = {"passes": 16, "weights": EnergyWeights(smoothness=0.01)}
    for lr in (0.5, 5.0):
        result = setting.walk(steps=4, config=quick(lr=lr, **config))
        lower = result.after.total < 0.9 * result.before.total
        assert lower.sum() >= 7, (lr, result.after.total / result.before.total)
