"""Training the latent surrogate."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from latentpath.core.errors import DataError, InputError, LatentpathError, WeightsError
from latentpath.generators import FunctionGenerator
from latentpath.models import Networks, Surrogate
from latentpath.training import (
    SurrogateConfig,
    evaluate_surrogate,
    surrogate_training,
    train_surrogate,
)
from latentpath.training.checkpoint import Checkpointer
from latentpath.training.surrogate_points import Teacher, Truth, endpoints, line_points
from latentpath.walks import walk
from support.drawn_networks import Drawer, classifier

TINY = SurrogateConfig(
    points=40,
    rounds=1,
    walk_points=30,
    walk_steps=6,
    walk_passes=2,
    width=16,
    depth=2,
    steps=4,
    batch=8,
)
LONGER = replace(TINY, points=600, walk_points=300, steps=400, batch=32, width=32, lr=1e-2)


class StopError(Exception):
    pass


def same_weights(first, second):
    pairs = zip(first.state_dict().items(), second.state_dict().values(), strict=True)
    return all(torch.equal(tensor, other) for (_, tensor), other in pairs)


def test_training_lowers_the_errors(networks, real):
    told = []
    short = train_surrogate(networks, *real, config=replace(LONGER, steps=1, rounds=0))
    long = train_surrogate(
        networks, *real, config=LONGER, progress=lambda *a: told.append((*a[:3], dict(a[3])))
    )
    before, after = (
        evaluate_surrogate(replace(networks, surrogate=s), *real, config=LONGER)
        for s in (short, long)
    )
    assert after["energy correlation"] > max(0.9, before["energy correlation"])
    assert after["gradient cosine"] > max(0.9, before["gradient cosine"] + 0.2)
    assert after["class agreement"] > 0.9
    assert 0.5 < after["walk energy ratio"] < 1.05
    assert set(after) == set(before)
    steps = [figures for stage, *_, figures in told if stage == "surrogate"]
    assert len(steps) == 800
    for name in ("outputs", "energy", "gradient"):
        assert steps[-1][name] < 0.5 * steps[0][name]
    seen = [(done, total) for stage, done, total, _ in told if stage == "surrogate points"]
    assert (600, 600) in seen
    assert seen[-1] == (300, 300)
    assert not long.training
    assert not any(p.requires_grad for p in long.parameters())


def test_it_belongs_to_its_networks_and_is_used(networks, real):
    made = replace(networks, surrogate=train_surrogate(networks, *real, config=TINY))
    made.check_trained_for()
    result = walk(real[0][:2], real[0][3:5], real[1][:2], made, steps=6)
    assert bool((result.after.total <= result.before.total).all())
    torch.manual_seed(5)
    other = replace(made, classifier=classifier(3))
    with pytest.raises(WeightsError, match="train surrogate"):
        walk(real[0][:2], real[0][3:5], real[1][:2], other, steps=6)


def test_networks_latents_and_random_numbers_stay(networks, real):
    generator, identity, classes = networks.modules()
    before = [{n: t.clone() for n, t in m.state_dict().items()} for m in networks.modules()]
    latents, labels = (t.clone() for t in real)
    state = torch.get_rng_state()
    identity.train()
    train_surrogate(networks, *real, config=TINY)
    assert identity.training
    assert not classes.training
    identity.eval()
    assert torch.equal(torch.get_rng_state(), state)
    for module, kept in zip(networks.modules(), before, strict=True):
        assert all(torch.equal(kept[n], t) for n, t in module.state_dict().items())
    assert torch.equal(latents, real[0])
    assert torch.equal(labels, real[1])
    assert all(p.grad is None for p in generator.parameters())


def test_the_same_seed_gives_the_same_surrogate(networks, real):
    first, again = (train_surrogate(networks, *real, config=TINY) for _ in range(2))
    assert same_weights(first, again)
    other = train_surrogate(networks, *real, config=replace(TINY, seed=1))
    assert not same_weights(first, other)


@pytest.mark.parametrize("options", [{"rounds": 0}, {"gradient": 0.0}, {"people": 1, "noise": 0.0}])
def test_other_ways_to_train(networks, real, options):
    made = train_surrogate(networks, *real, config=replace(TINY, **options))
    assert torch.isfinite(made(real[0])[0]).all()


def test_walked_points_are_those_that_walks_ask_for(networks, real, monkeypatch):
    """The rounds learn from what the solver is told, with the surrogate so far."""
    asked, used, seen = [], [], []

    def spy(start, end, labels, networks, *, visited, **options):
        used.append({n: t.clone() for n, t in networks.surrogate.state_dict().items()})

        def both(points):
            asked.append(points.clone())
            visited(points)

        return walk(start, end, labels, networks, visited=both, **options)

    original = Teacher.truth
    monkeypatch.setattr(surrogate_training, "walk", spy)
    monkeypatch.setattr(
        Teacher, "truth", lambda self, points: (seen.append(points), original(self, points))[1]
    )
    final = train_surrogate(networks, *real, config=replace(TINY, walk_points=20))
    assert sum(map(len, seen)) == 40 + 20
    assert torch.equal(torch.cat(seen)[40:], torch.cat(asked)[:20])
    assert not torch.equal(used[0]["first.weight"], final.first.weight)


def test_features_that_never_change_do_no_harm(real):
    torch.manual_seed(0)
    generator, identity, classes = Drawer(), classifier(5), classifier(3)
    identity[1].weight.data[:4] = 0  # four features are constant
    networks = Networks(*(m.eval().requires_grad_(False) for m in (generator, identity, classes)))
    made = train_surrogate(networks, *real, config=TINY)
    with torch.no_grad():
        features = identity[:3](generator.synthesize(real[0]).clamp(-1, 1))
    assert torch.isfinite(made(real[0])[0]).all()
    assert (made.output_scale > 0).all()
    assert torch.allclose(made.output_mean[:4], features[0, :4], atol=1e-5)


class TestResume:
    @pytest.fixture(autouse=True)
    def every_step(self, monkeypatch):
        monkeypatch.setattr(Checkpointer, "due", lambda self: self.path is not None)
        monkeypatch.setattr(surrogate_training, "_LINE_POINTS", 16)
        monkeypatch.setattr(surrogate_training, "_PATHS", 1)

    def test_interrupted_run_ends_as_the_undisturbed_one(self, tmp_path, networks, real):
        """Stopped after every batch of points and after every step, of both rounds."""
        calls = []
        whole = train_surrogate(
            networks, *real, config=TINY, progress=lambda *a: calls.append(a[0])
        )
        assert calls.count("surrogate points") > 5
        for stop_at in range(1, len(calls)):
            path, told = tmp_path / f"{stop_at}.checkpoint", []

            def stop(stage, *args, told=told, stop_at=stop_at):
                told.append(stage)
                if len(told) == stop_at:
                    raise StopError

            with pytest.raises(StopError):
                train_surrogate(networks, *real, config=TINY, checkpoint=path, progress=stop)
            resumed = train_surrogate(networks, *real, config=TINY, checkpoint=path)
            assert same_weights(resumed, whole), (stop_at, told[-1])

    def test_a_finished_run_is_not_repeated(self, tmp_path, networks, real):
        path, told = tmp_path / "run.checkpoint", []
        first = train_surrogate(networks, *real, config=TINY, checkpoint=path)
        again = train_surrogate(
            networks, *real, config=TINY, checkpoint=path, progress=lambda *a: told.append(a)
        )
        assert told == []
        assert same_weights(first, again)
        replace(networks, surrogate=again).check_trained_for()

    def test_another_run(self, tmp_path, networks, real):
        path = tmp_path / "run.checkpoint"
        train_surrogate(networks, *real, config=TINY, checkpoint=path)
        latents, labels = real
        with pytest.raises(WeightsError, match="other training data"):
            train_surrogate(networks, -latents, labels, config=TINY, checkpoint=path)
        with pytest.raises(WeightsError, match="another configuration"):
            train_surrogate(networks, *real, config=replace(TINY, lr=1e-4), checkpoint=path)
        torch.manual_seed(7)
        others = replace(networks, classifier=classifier(3))
        with pytest.raises(WeightsError, match="other training data"):
            train_surrogate(others, *real, config=TINY, checkpoint=path)


class TestPoints:
    def test_truth_against_the_networks(self, networks, real):
        generator, identity, classes = (m.double() for m in map(copy.deepcopy, networks.modules()))
        w = real[0].double().requires_grad_()
        images = generator.synthesize(w).clamp(-1, 1)
        logits = identity(images)
        energy = logits.logsumexp(1) - logits.mean(1) - torch.log(torch.tensor(30.0).double())
        (gradient,) = torch.autograd.grad(energy.sum(), w)
        truth = Teacher(networks, real[0][:1]).truth(real[0])
        assert torch.allclose(truth.features.double(), identity[:3](images), atol=1e-5)
        assert torch.allclose(truth.logits.double(), classes(images), atol=1e-5)
        assert torch.allclose(truth.energy.double(), energy, atol=1e-4)
        assert torch.allclose(truth.gradient.double(), gradient, atol=1e-4)
        assert torch.equal(truth.points, real[0])
        parts = Truth.cat([truth[:7], truth[7:]])
        assert torch.equal(parts.gradient, truth.gradient)
        assert len(parts) == 30

    def test_endpoints_are_averages_of_their_class(self):
        labels = torch.tensor([0, 0, 0, 4, 4])
        latents = torch.tensor([[0.0, 1], [3, 1], [9, 1], [0, 7], [1, 7]])
        torch.manual_seed(0)
        classes = torch.tensor([4, 0] * 1000)
        found = endpoints(latents, labels, classes, 3)
        assert torch.allclose(found[::2, 1], torch.tensor(7.0))
        assert torch.allclose(found[1::2, 1], torch.tensor(1.0))
        # Averages of different ones: one, or both, as there are no three.
        assert set(found[::2, 0].tolist()) == {0.0, 0.5, 1.0}
        assert set(found[1::2, 0].tolist()) == {0.0, 3.0, 9.0, 1.5, 4.5, 6.0, 4.0}
        # The far pair (0, 9) only comes together by chance, a nearest pair also otherwise.
        counted = [int((found[1::2, 0] == value).sum()) for value in (4.5, 1.5, 6.0)]
        assert counted == [
            pytest.approx(1000 * share / 3, rel=0.3) for share in (1 / 6, 1 / 2, 1 / 3)
        ]
        one = endpoints(latents, labels, classes, 1)[1::2, 0]
        assert set(one.tolist()) == {0.0, 3.0, 9.0}

    def test_lines_and_noise(self):
        latents = torch.tensor([[0.0, 5], [2, 5], [0, 9], [2, 9]])
        labels = torch.tensor([0, 0, 1, 1])
        torch.manual_seed(0)
        still = line_points(latents, labels, 500, people=2, noise=0.0)
        assert set(still[:, 1].round(decimals=4).tolist()) == {5.0, 9.0}
        assert (still[:, 0] >= 0).all()
        assert (still[:, 0] <= 2).all()
        assert len(still[:, 0].unique()) > 200
        spread = float(latents.std(dim=0, correction=0).mean())
        noisy = line_points(latents, labels, 20_000, people=1, noise=0.5)
        away = torch.minimum((noisy[:, 1] - 5).abs(), (noisy[:, 1] - 9).abs())
        # Scales are uniform up to half the spread: their mean square is a third of its square.
        assert float(away.square().mean().sqrt()) == pytest.approx(0.5 * spread / 3**0.5, rel=0.05)


class TestRefusals:
    def test_labels_that_the_classifier_does_not_know(self, networks, real):
        for labels in (real[1] + 1, real[1] - 1):
            with pytest.raises(InputError, match="labels from 0 to 2"):
                train_surrogate(networks, real[0], labels, config=TINY)

    def test_functions(self, networks, real):
        generator, identity, classes = networks.modules()
        function = FunctionGenerator(generator.synthesize, latent_dim=4)
        with pytest.raises(LatentpathError, match="a generator with a state_dict"):
            train_surrogate(Networks(function, identity, classes), *real, config=TINY)
        with pytest.raises(LatentpathError, match="a classifier with a state_dict"):
            train_surrogate(Networks(generator, identity, lambda i: classes(i)), *real, config=TINY)

    def test_no_head(self, networks, real):
        headless = replace(networks, identity=nn.Sequential(networks.identity, nn.Tanh()))
        with pytest.raises(InputError, match="ends in a linear layer"):
            train_surrogate(headless, *real, config=TINY)

    def test_nothing_to_evaluate(self, networks, real):
        with pytest.raises(InputError, match="networks with a surrogate"):
            evaluate_surrogate(networks, *real, config=TINY)

    def test_no_gradient(self, networks, real):
        class Broken(Drawer):
            def synthesize(self, w):
                return super().synthesize(w.detach())

        with pytest.raises(InputError, match="gradients flow"):
            train_surrogate(replace(networks, generator=Broken().eval()), *real, config=TINY)

    @pytest.mark.parametrize(
        ("latents", "labels"),
        [
            (torch.zeros(4), torch.zeros(4, dtype=torch.int64)),
            (torch.zeros(1, 4), torch.zeros(1, dtype=torch.int64)),
            (torch.zeros(4, 4), torch.zeros(3, dtype=torch.int64)),
            (torch.zeros(4, 4), torch.zeros(4)),
            (torch.zeros(4, 4, dtype=torch.int64), torch.zeros(4, dtype=torch.int64)),
            (torch.full((4, 4), float("inf")), torch.zeros(4, dtype=torch.int64)),
        ],
    )
    def test_latents(self, networks, latents, labels):
        with pytest.raises(DataError):
            train_surrogate(networks, latents, labels, config=TINY)

    @pytest.mark.parametrize(
        "options",
        [
            {"points": 1},
            {"rounds": -1},
            {"walk_points": 0},
            {"walk_steps": 2},
            {"walk_passes": 0.0},
            {"people": 0},
            {"noise": -0.1},
            {"width": 0},
            {"depth": 0},
            {"steps": 0},
            {"batch": 0},
            {"lr": 0.0},
            {"lr": float("nan")},
            {"weight_decay": -1.0},
            {"gradient": -1.0},
            {"seed": -1},
        ],
    )
    def test_options(self, options):
        with pytest.raises(InputError, match=next(iter(options))):
            SurrogateConfig(**options)


def test_a_class_with_one_image(networks):
    """Its lines and walks go nowhere, and the others' are learnt all the same."""
    torch.manual_seed(2)
    latents, labels = torch.randn(5, 4), torch.tensor([0, 0, 1, 1, 2])
    made = train_surrogate(networks, latents, labels, config=replace(TINY, rounds=2))
    assert isinstance(made, Surrogate)
    assert torch.isfinite(made(latents)[1]).all()
