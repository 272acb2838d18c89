"""The fast solver: its promises about ends, energies, batches, passes and bad networks."""

from __future__ import annotations

import pytest
import torch

from latentpath.compat import get_privacy_path
from latentpath.core.errors import (
    InputError,
    LatentpathError,
    ShapeError,
    UnsupportedError,
    WeightsError,
)
from latentpath.energy import EnergyWeights
from latentpath.walks import FastConfig, PublishedConfig, straight_line, walk
from support.tiny_walks import CLASSES, PEOPLE, D, Setting, classifier_of, quick


@pytest.fixture
def setting():
    return Setting()


def assert_same_bits(first, second, order=None):
    order = slice(None) if order is None else order
    assert torch.equal(first.latents, second.latents[order])
    for name in first.after.names():
        assert torch.equal(getattr(first.after, name), getattr(second.after, name)[order])
        assert torch.equal(getattr(first.before, name), getattr(second.before, name)[order])
    assert torch.equal(first.passes, second.passes[order])


class TestPaths:
    @pytest.mark.parametrize("steps", [3, 4, 17, 70])
    @pytest.mark.parametrize("surrogate", [False, True])
    def test_ends_stay_and_no_path_is_worse_than_its_line(self, setting, steps, surrogate):
        made = setting.surrogate() if surrogate else None
        result = setting.walk(slice(0, 4), steps=steps, surrogate=made)
        assert result.latents.shape == (4, steps, D)
        assert torch.equal(result.latents[:, 0], setting.start[:4])
        assert torch.equal(result.latents[:, -1], setting.end[:4])
        assert (result.after.total <= result.before.total).all()
        assert torch.isfinite(result.latents).all()

    @pytest.mark.parametrize("surrogate", [False, True])
    def test_the_unit_of_the_latents_does_not_matter(self, setting, surrogate):
        """Latents 64 times as large, and the smoothness weighed for it, give the same curve."""
        other, scale = Setting(), 64.0
        other.generator.matrix /= scale
        other.start, other.end = scale * other.start, scale * other.end
        made, larger = (s.surrogate() if surrogate else None for s in (setting, other))
        if larger is not None:
            larger.spread *= scale
        weights = EnergyWeights(smoothness=EnergyWeights().smoothness / scale**2)
        first = setting.walk(config=quick(passes=3), surrogate=made)
        second = other.walk(config=quick(passes=3, weights=weights), surrogate=larger)
        assert first.stopped.count("line") < 3
        assert torch.allclose(second.latents / scale, first.latents, rtol=0, atol=0.03)

    def test_it_is_the_default(self, setting):
        networks = setting.networks()
        result = walk(setting.start[:1], setting.end[:1], 0, networks, steps=5)
        assert result.solver == "fast"
        assert result.latents.shape == (1, 5, D)
        vector = walk(setting.start[0], setting.end[0], 0, networks, steps=5)
        assert torch.equal(vector.latents, result.latents)

    def test_equal_ends(self, setting):
        setting.end = setting.start.clone()
        result = setting.walk()
        assert torch.isfinite(result.latents).all()
        assert torch.equal(result.latents[:, 0], result.latents[:, -1])
        assert (result.after.total <= result.before.total).all()

    @pytest.mark.parametrize("surrogate", [False, True])
    def test_lower_than_the_line_and_than_the_published_walk(self, setting, surrogate):
        made = setting.surrogate() if surrogate else None
        fast = setting.walk(steps=34, config=quick(passes=12, lr=0.3), surrogate=made)
        published = walk(
            setting.start,
            setting.end,
            setting.labels,
            setting.networks(),
            steps=34,
            solver="published",
            config=PublishedConfig(optim_steps=12),
        )
        assert fast.generator_passes <= published.generator_passes
        assert float(fast.after.total.mean()) < 0.9 * float(fast.before.total.mean())
        assert float(fast.after.total.mean()) < float(published.after.total.mean())

    @pytest.mark.parametrize("surrogate", [False, True])
    def test_long_stiff_paths_move(self, setting, surrogate):
        made = setting.surrogate() if surrogate else None
        # One curve's share of each energy, as at 50 points.
        weights = EnergyWeights(smoothness=(199 / 49) ** 2)
        config = quick(passes=8.0, weights=weights)
        result = setting.walk(slice(0, 2), steps=200, config=config, surrogate=made)
        assert (result.after.total < 0.97 * result.before.total).all()
        # No zigzag: one step goes on where the last one went.
        turns = result.latents.diff(n=2, dim=1).norm(dim=2)
        gaps = result.latents.diff(dim=1).norm(dim=2)
        assert (turns.mean(dim=1) < 0.15 * gaps.mean(dim=1)).all()

    def test_energies_are_those_of_the_paths(self, setting):
        config = quick(passes=10, weights=EnergyWeights(0.7, 0.3, 1.3), chunk=3)
        result = setting.walk(config=config, precision="bfloat16", surrogate=setting.surrogate())
        exact = setting.exact_terms(result.latents, setting.labels, config)
        line = straight_line(setting.start, setting.end, 17)
        exact_line = setting.exact_terms(line, setting.labels, config)
        for name in exact.names():
            for found, wanted in ((result.after, exact), (result.before, exact_line)):
                assert getattr(found, name).dtype == torch.float32
                assert torch.allclose(
                    getattr(found, name).double(), getattr(wanted, name), rtol=1e-5, atol=1e-5
                )

    def test_float64_latents_are_rounded_and_float64_networks_serve(self, setting):
        plain = setting.walk()
        setting.start, setting.end = setting.start.double(), setting.end.double()
        assert_same_bits(setting.walk(), plain)
        try:
            torch.set_default_dtype(torch.float64)
            assert setting.walk().latents.dtype == torch.float32
        finally:
            torch.set_default_dtype(torch.float32)

    def test_under_no_grad_and_not_in_inference_mode(self, setting):
        plain = setting.walk()
        with torch.no_grad():
            assert_same_bits(setting.walk(), plain)
        with torch.inference_mode(), pytest.raises(InputError, match="inference"):
            setting.walk()

    def test_networks_in_training_mode_serve_as_they_are_later(self, setting):
        plain = setting.walk()
        for network in setting.networks().modules():
            network.train()
        assert_same_bits(setting.walk(nearest=lambda x: x.mean(dim=(1, 2, 3))), plain)
        assert all(network.training for network in setting.networks().modules())


class TestIndependence:
    """What becomes of a path depends on that path alone, bit for bit."""

    @pytest.mark.parametrize("surrogate", [False, True])
    def test_order(self, setting, surrogate):
        made = setting.surrogate() if surrogate else None
        plain = setting.walk(steps=20, surrogate=made)
        order = torch.randperm(9, generator=torch.Generator().manual_seed(3))
        assert_same_bits(setting.walk(order, steps=20, surrogate=made), plain, order)

    @pytest.mark.parametrize("surrogate", [False, True])
    def test_paths_in_flight(self, setting, surrogate):
        made = setting.surrogate() if surrogate else None
        distance = lambda images: images.square().mean(dim=(1, 2, 3))  # noqa: E731
        rows = slice(0, 5)
        plain = setting.walk(rows, surrogate=made, nearest=distance)
        for in_flight in (1, 2, 4, 5, 1000):
            other = setting.walk(rows, surrogate=made, nearest=distance, in_flight=in_flight)
            assert_same_bits(plain, other)
            assert torch.equal(plain.nearest, other.nearest)

    def test_alone(self, setting):
        plain = setting.walk()
        for row in (0, 4, 8):
            assert_same_bits(setting.walk(slice(row, row + 1)), plain, slice(row, row + 1))

    def test_the_same_again_whatever_the_random_state(self, setting):
        torch.manual_seed(0)
        first = setting.walk()
        torch.manual_seed(1)
        state = torch.random.get_rng_state()
        assert_same_bits(setting.walk(), first)
        assert torch.equal(torch.random.get_rng_state(), state)

    def test_inputs_are_left_alone(self, setting):
        before = setting.start.clone(), setting.end.clone(), setting.labels.clone()
        setting.walk()
        after = setting.start, setting.end, setting.labels
        assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


class TestStopping:
    @pytest.mark.parametrize(
        "options",
        [
            {"lr": 1e6, "damping": 0.0},
            {"lr": 9e15, "damping": 0.0},
            {"lr": 1e-12},
            {"damping": 1e6},
            {"inner_steps": 50, "damping": 0.0},
            {"betas": (0.0, 0.0)},
            {"eps": 9e15},
            {"passes": 1e-6},
            {"coarsest": 1},
            {"coarsest": 500},
            {"active": 1e-3},
            {"active": 1.0},
            {"chunk": 100},
            {"weights": EnergyWeights(0.0, 0.0, 1.0)},
            {"weights": EnergyWeights(1.0, 0.0, 0.0)},
            {"weights": EnergyWeights(0.0, 5.0, 0.0)},
        ],
        ids=str,
    )
    @pytest.mark.parametrize("surrogate", [False, True])
    def test_hostile_options_cost_the_gain_and_no_more(self, setting, options, surrogate):
        made = setting.surrogate() if surrogate else None
        rows = slice(0, 2)
        result = setting.walk(rows, steps=13, config=quick(**options), surrogate=made)
        assert (result.after.total <= result.before.total).all()
        assert torch.isfinite(result.latents).all()
        line = straight_line(setting.start[rows], setting.end[rows], 13)
        for i, reason in enumerate(result.stopped):
            assert reason in ("schedule", "settled", "line")
            if reason == "line":
                assert torch.equal(result.latents[i], line[i])
                assert result.after.total[i] == result.before.total[i]

    def test_too_long_steps_end_on_the_line(self, setting):
        result = setting.walk(config=quick(lr=1e4))
        assert result.stopped == ("line",) * 9
        assert torch.equal(result.latents, straight_line(setting.start, setting.end, 17))

    def test_a_generator_that_fails_on_the_way(self, setting):
        whole = setting.walk(in_flight=3)
        total = setting.generator.points
        setting.generator.points = 0
        setting.generator.fails_after = 3 * 15 + 40  # after the first three lines
        early = []
        with pytest.raises(InputError, match="NaN or infinity on 3 of 3 path"):
            early += setting.stream(setting.requests(), in_flight=3)
        assert setting.generator.points < total / 2  # it gave up those paths at once
        setting.generator.points = 0
        result = setting.walk(slice(0, 3), in_flight=3)
        assert result.stopped == ("line",) * 3
        assert torch.equal(result.latents, straight_line(setting.start[:3], setting.end[:3], 17))
        assert torch.equal(result.before.total, whole.before.total[:3])

    def test_reasons(self, setting):
        always = setting.walk(config=quick(tolerance=0.0))
        assert set(always.stopped) <= {"schedule", "line"}
        assert "schedule" in always.stopped
        rows = slice(0, 4)
        eager, plain = (
            setting.walk(rows, config=quick(passes=30.0, **given))
            for given in ({"tolerance": 0.5}, {})
        )
        assert "settled" in eager.stopped
        assert eager.generator_passes < plain.generator_passes

    @pytest.mark.parametrize("steps", [3, 17, 33])
    @pytest.mark.parametrize("surrogate", [False, True])
    def test_passes_are_those_that_the_generator_saw(self, setting, steps, surrogate):
        made = setting.surrogate() if surrogate else None
        seen = []
        setting.generator.points = 0
        # Batches of one have no copies in them.
        result = setting.walk(
            slice(0, 2), steps=steps, micro_batch=1, surrogate=made, visited=seen.append
        )
        head = 1 if surrogate else 0  # one image to find the identity classifier's head with
        counted = round(float(result.passes.double().sum()) * (steps - 2))
        assert setting.generator.points == counted + head
        # The energies before and after; of short paths that end worse than they were, once more.
        energies = counted - sum(len(points) for points in seen)
        assert energies in [2 * 2 * (steps - 2) + more for more in range(3 if steps == 3 else 1)]
        assert float(result.passes.mean()) == pytest.approx(result.generator_passes)

    @pytest.mark.parametrize("passes", [4.0, 9.5, 25.0])
    def test_no_more_passes_than_asked_for(self, setting, passes):
        result = setting.walk(slice(0, 2), steps=25, config=quick(passes=passes, tolerance=0.0))
        assert float(result.passes.max()) <= passes + 2
        assert float(result.passes.max()) > 2.5


class TestSurrogate:
    def test_stale_ones_are_refused(self, setting):
        stale = setting.surrogate()
        with torch.no_grad():
            setting.classifier[1].weight[0, 0] += 1e-3
        with pytest.raises(WeightsError, match="one for other weights"):
            setting.walk(surrogate=stale)

    def test_unnamed_ones_are_refused(self, setting):
        with pytest.raises(WeightsError, match="names no networks"):
            setting.walk(surrogate=setting.surrogate(ours=False))

    def test_another_width(self, setting):
        with pytest.raises(LatentpathError, match=r"13|17"):
            setting.walk(surrogate=setting.surrogate(latent_dim=17))

    def test_another_identity_head(self, setting):
        setting.identity = classifier_of(PEOPLE)
        setting.identity[3] = torch.nn.Identity()
        with pytest.raises(InputError):
            setting.walk(surrogate=setting.surrogate())

    def test_double_precision(self, setting):
        made = setting.surrogate()
        result = setting.walk(surrogate=made.double())
        assert result.latents.dtype == torch.float32
        assert (result.after.total <= result.before.total).all()

    def test_on_another_device(self, setting):
        made = setting.surrogate()
        with pytest.raises(InputError, match="a surrogate on cpu"):
            setting.walk(surrogate=made.to("meta"))


class TestOptions:
    @pytest.mark.parametrize(
        "options",
        [
            {"passes": 0.0},
            {"passes": float("inf")},
            {"passes": "8"},
            {"inner_steps": 0},
            {"memory": -1},
            {"memory": 2.5},
            {"inner_steps": 2.0},
            {"lr": 0.0},
            {"lr": float("nan")},
            {"betas": (0.9, 1.0)},
            {"betas": (-0.1, 0.9)},
            {"betas": (0.9,)},
            {"eps": 0.0},
            {"damping": -1.0},
            {"tolerance": float("nan")},
            {"tolerance": "1"},
            {"active": 0.0},
            {"active": 1.5},
            {"active": float("nan")},
            {"coarsest": 0},
            {"chunk": 0},
        ],
        ids=str,
    )
    def test_impossible_ones(self, options):
        with pytest.raises(InputError, match=f"{next(iter(options))}") as raised:
            FastConfig(**options)
        assert "\n" not in str(raised.value)

    @pytest.mark.parametrize(
        ("changes", "text"),
        [
            (
                {"solver": "published", "config": FastConfig()},
                "a PublishedConfig for solver 'published'",
            ),
            ({"solver": "fast", "config": PublishedConfig()}, "a FastConfig for solver 'fast'"),
            ({"solver": "published", "config": None, "in_flight": 2}, "in_flight"),
            ({"solver": "published", "config": None, "visited": print}, "visited"),
            ({"solver": "published", "config": None, "nearest": print}, "nearest"),
            ({"solver": "published", "config": None, "cuda_graphs": True}, "cuda_graphs"),
            ({"in_flight": -1}, "in_flight"),
            ({"in_flight": 2.0}, "in_flight"),
            ({"micro_batch": -1}, "micro_batch"),
            ({"micro_batch": True}, "micro_batch"),
            ({"steps": 2}, "steps"),
            ({"precision": "float8"}, "precision"),
        ],
        ids=str,
    )
    def test_that_do_not_fit(self, setting, changes, text):
        with pytest.raises(InputError, match=text):
            setting.walk(**changes)

    def test_cuda_graphs_elsewhere(self, setting):
        with pytest.raises(UnsupportedError, match="CUDA"):
            setting.walk(cuda_graphs=True)

    @pytest.mark.parametrize("label", [CLASSES, -1])
    def test_labels_that_nobody_knows(self, setting, label):
        setting.labels[3] = label
        with pytest.raises(InputError, match=f"labels from 0 to {CLASSES - 1}"):
            setting.walk()

    def test_bfloat16_gradients(self, setting):
        plain, half = (setting.walk(precision=name) for name in ("float32", "bfloat16"))
        assert not torch.equal(plain.latents, half.latents)
        assert half.after.total.dtype == torch.float32
        assert float(half.after.total.mean()) == pytest.approx(
            float(plain.after.total.mean()), rel=0.1
        )


class TestHooks:
    def test_nearest_profile(self, setting):
        result = setting.walk(nearest=lambda images: images.mean(dim=(1, 2, 3)))
        with torch.no_grad():
            images = setting.generator.synthesize(result.latents.reshape(-1, D))
        wanted = images.mean(dim=(1, 2, 3)).view(9, 17)
        assert result.nearest.shape == (9, 17)
        assert torch.allclose(result.nearest, wanted, atol=1e-6)
        assert setting.walk().nearest is None

    @pytest.mark.parametrize("returned", [lambda x: x.mean(), lambda x: [0.0] * len(x)])
    def test_nearest_that_returns_something_else(self, setting, returned):
        with pytest.raises(ShapeError, match="one number per image"):
            setting.walk(nearest=returned)

    def test_visited_points_lie_where_the_walk_was(self, setting):
        seen = []
        setting.walk(slice(0, 1), steps=9, visited=seen.append)
        line = straight_line(setting.start[:1], setting.end[:1], 9)[0, 1:-1]
        assert torch.allclose(seen[0], line, atol=1e-6)
        assert all(points.shape[1] == D for points in seen)

    def test_progress_counts_paths(self, setting):
        told = []
        setting.walk(progress=lambda *news: told.append(news[:3]))
        assert told == [("walk", done, 9) for done in range(1, 10)]


class TestPublishedSignature:
    def test_fast(self, setting):
        surrogate = setting.surrogate()
        arguments = (setting.identity, setting.classifier, setting.generator, 12, 3)
        ends = setting.start[0], setting.end[0]
        path = get_privacy_path(*ends, *arguments, solver="fast", surrogate=surrogate)
        assert path.shape == (12, D)
        assert torch.equal(path[0], ends[0])
        assert torch.equal(path[-1], ends[1])
        again = walk(*ends, 3, setting.networks(surrogate), steps=12)
        assert torch.equal(path, again.latents[0])

    def test_surrogates_belong_to_fast(self, setting):
        arguments = (setting.identity, setting.classifier, setting.generator, 12, 3)
        with pytest.raises(InputError, match="surrogate"):
            get_privacy_path(
                setting.start[0], setting.end[0], *arguments, surrogate=setting.surrogate()
            )
