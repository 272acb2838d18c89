"""`latentpath.walk`: its promises about batches, endpoints, models and bad input."""

from __future__ import annotations

import gc
from collections import Counter

import numpy as np
import pytest
import torch
from torch import nn

import latentpath
from latentpath.core.errors import InputError, ShapeError
from latentpath.energy import EnergyWeights, PathEnergy
from latentpath.generators import FunctionGenerator, StyleGAN2
from latentpath.models import Networks
from latentpath.walks import PublishedConfig, straight_line

D, PEOPLE, CLASSES = 10, 15, 3


class Setting:
    """A small smooth generator with two small classifiers, in float32."""

    def __init__(self, seed=0, channels=1):
        torch.manual_seed(seed)
        side = 4
        matrix = torch.randn(side * side, D) / 2
        self.generator = FunctionGenerator(
            lambda w: torch.tanh(w @ matrix.t()).reshape(-1, 1, side, side), latent_dim=D
        )
        self.identity = self.classifier_of(channels * side * side, PEOPLE, channels)
        self.classifier = self.classifier_of(channels * side * side, CLASSES, channels)
        self.start, self.end = torch.randn(5, D), torch.randn(5, D)
        self.labels = torch.tensor([0, 1, 2, 1, 0])

    @staticmethod
    def classifier_of(pixels, width, channels):
        model = nn.Sequential(nn.Flatten(), nn.Linear(pixels, 20), nn.Tanh(), nn.Linear(20, width))
        with torch.no_grad():
            model[3].weight.mul_(6)  # as sure of itself as a trained classifier
        model.img_channels = channels
        return model.eval()

    def walk(self, rows=slice(None), *, optim_steps=15, steps=9, lr=0.1, **options):
        options = {
            "config": PublishedConfig(optim_steps=optim_steps, lr=lr),
            "label": self.labels[rows],
            **options,
        }
        roles = ("generator", "identity", "classifier")
        networks = Networks(*(options.pop(role, getattr(self, role)) for role in roles))
        start, end = self.start[rows], self.end[rows]
        return latentpath.walk(
            options.pop("start", start),
            options.pop("end", end),
            options.pop("label"),
            networks,
            steps=steps,
            **options,
        )


@pytest.fixture
def setting():
    return Setting()


def assert_same_walk(first, second, tolerance=1e-4):
    assert first.latents.shape == second.latents.shape
    assert float((first.latents - second.latents).abs().max()) <= tolerance
    for name in first.after.names():
        for side in ("before", "after"):
            a, b = (getattr(getattr(r, side), name) for r in (first, second))
            assert torch.allclose(a, b, rtol=1e-3, atol=1e-5)


class TestShape:
    def test_endpoints_do_not_move_by_a_bit(self, setting):
        result = setting.walk()
        assert result.latents.shape == (5, 9, D)
        assert torch.equal(result.latents[:, 0], setting.start)
        assert torch.equal(result.latents[:, -1], setting.end)
        assert not torch.equal(result.latents, straight_line(setting.start, setting.end, 9))

    def test_one_path_keeps_its_axis(self, setting):
        assert setting.walk(slice(0, 1)).latents.shape == (1, 9, D)
        vector = setting.walk(start=setting.start[0], end=setting.end[0], label=0)
        assert vector.latents.shape == (1, 9, D)
        assert vector.after.total.shape == (1,)
        assert_same_walk(vector, setting.walk(slice(0, 1)))

    def test_three_points(self, setting):
        result = setting.walk(steps=3, optim_steps=40, lr=0.03)
        assert result.latents.shape == (5, 3, D)
        assert (result.after.total < result.before.total).all()

    def test_no_steps_give_the_straight_line(self, setting):
        result = setting.walk(optim_steps=0)
        t = torch.linspace(0, 1, 9, dtype=torch.float64)[None, :, None]
        line = setting.start[:, None].double() * (1 - t) + setting.end[:, None].double() * t
        assert torch.allclose(result.latents.double(), line, atol=1e-6)
        assert torch.equal(result.before.total, result.after.total)

    def test_inputs_are_left_alone(self, setting):
        start, end = setting.start.clone(), setting.end.clone()
        setting.walk()
        assert torch.equal(start, setting.start)
        assert torch.equal(end, setting.end)

    def test_identical_endpoints(self, setting):
        result = setting.walk(end=setting.start)
        assert torch.isfinite(result.latents).all()
        assert torch.equal(result.latents[:, 0], result.latents[:, -1])

    @pytest.mark.parametrize("steps", [3, 4, 50, 77])
    def test_straight_line_ends(self, steps):
        torch.manual_seed(1)
        start, end = torch.randn(4, D) * 1e3, torch.randn(4, D) * 1e-3
        line = straight_line(start, end, steps)
        assert torch.equal(line[:, 0], start)
        assert torch.equal(line[:, -1], end)
        # Equally spaced.
        gaps = line.double().diff(dim=1)
        assert torch.allclose(gaps, gaps.mean(dim=1, keepdim=True), atol=1e-3)


class TestBatches:
    def test_a_batch_is_its_paths_one_by_one(self, setting):
        together = setting.walk()
        for i in range(5):
            alone = setting.walk(slice(i, i + 1))
            assert float((alone.latents[0] - together.latents[i]).abs().max()) < 1e-4
            assert float(alone.after.total) == pytest.approx(
                float(together.after.total[i]), rel=1e-4
            )

    def test_order_of_paths_does_not_matter(self, setting):
        order = torch.tensor([3, 0, 4, 1, 2])
        plain, mixed = setting.walk(), setting.walk(order)
        assert float((mixed.latents - plain.latents[order]).abs().max()) < 1e-4
        assert torch.allclose(mixed.after.total, plain.after.total[order], rtol=1e-4)

    @pytest.mark.parametrize("micro_batch", [1, 8, 34])
    def test_micro_batches_change_nothing(self, setting, micro_batch):
        assert_same_walk(setting.walk(), setting.walk(micro_batch=micro_batch))

    def test_the_same_again(self, setting):
        assert torch.equal(setting.walk().latents, setting.walk().latents)

    def test_one_label_for_all(self, setting):
        assert_same_walk(setting.walk(label=1), setting.walk(label=torch.ones(5).long()))
        assert_same_walk(setting.walk(label=1), setting.walk(label=[1] * 5))
        assert not torch.allclose(
            setting.walk(label=1).latents, setting.walk(label=2).latents, atol=1e-3
        )

    def test_split_head(self, setting):
        results = [setting.walk(split_head=split) for split in (False, True, None)]
        assert_same_walk(results[0], results[1], tolerance=1e-3)
        assert_same_walk(results[0], results[2])


class TestEnergy:
    def test_it_falls_on_every_path(self, setting):
        result = setting.walk(optim_steps=60, lr=0.03)
        assert (result.after.total < result.before.total).all()
        weights = EnergyWeights(identity=3.0, classification=0.0)
        private = setting.walk(config=PublishedConfig(optim_steps=60, lr=0.03, weights=weights))
        assert (private.after.identity < private.before.identity).all()

    def test_more_steps_more_fall(self, setting):
        totals = [
            float(setting.walk(optim_steps=n, lr=0.03).after.total.sum()) for n in (0, 10, 60)
        ]
        assert totals[0] > totals[1] > totals[2]

    def test_smoothness_alone_keeps_the_straight_line(self, setting):
        weights = EnergyWeights(identity=0.0, classification=0.0)
        config = PublishedConfig(optim_steps=5, weights=weights, lr=1e-3)
        result = setting.walk(config=config)
        line = straight_line(setting.start, setting.end, 9)
        assert float((result.latents - line).abs().max()) < 1e-2

    def test_weights_steer(self, setting):
        def after(**weights):
            config = PublishedConfig(optim_steps=60, lr=0.03, weights=EnergyWeights(**weights))
            return setting.walk(config=config).after

        private, in_class = after(identity=3.0), after(classification=10.0)
        assert float(private.identity.sum()) < float(in_class.identity.sum())
        assert float(in_class.classification.sum()) < float(private.classification.sum())

    def test_passes_are_counted(self, setting):
        points = []
        plain = setting.generator.synthesize
        setting.generator.synthesize = lambda w: points.append(len(w)) or plain(w)
        result = setting.walk(optim_steps=7)
        assert sum(points) == result.generator_passes * 5 * 7  # 7 interior points, 5 paths

    def test_progress(self, setting):
        told = []
        setting.walk(optim_steps=3, progress=lambda *a: told.append(a))
        assert [(stage, done, total) for stage, done, total, _ in told] == [
            ("walk", 1, 3),
            ("walk", 2, 3),
            ("walk", 3, 3),
        ]


class TestModels:
    def test_parameters_get_no_gradient_and_do_not_move(self):
        torch.manual_seed(0)
        setting = Setting()
        setting.generator = StyleGAN2(
            4, 0, D, 4, 1, {"num_layers": 1}, {"channel_base": 32, "channel_max": 8}
        )
        models = {name: getattr(setting, name) for name in ("generator", "identity", "classifier")}
        before = {n: {k: v.clone() for k, v in m.state_dict().items()} for n, m in models.items()}
        for model in models.values():
            model.train()
        result = setting.walk(optim_steps=3)
        assert not result.latents.requires_grad
        for name, model in models.items():
            assert model.training
            assert all(p.grad is None for p in model.parameters())
            assert all(p.requires_grad for p in model.parameters())
            for key, value in model.state_dict().items():
                assert torch.equal(value, before[name][key])

    def test_train_mode_gives_the_walk_of_eval_mode(self):
        setting = Setting()
        dropout = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, PEOPLE))
        dropout.img_channels = 1
        results = []
        for mode in (False, True):
            dropout.train(mode)
            results.append(setting.walk(identity=dropout, optim_steps=3))
            assert dropout.training is mode
        assert torch.equal(results[0].latents, results[1].latents)

    def test_works_inside_no_grad(self, setting):
        plain = setting.walk()
        with torch.no_grad():
            assert torch.equal(setting.walk().latents, plain.latents)

    def test_endpoints_that_require_gradients(self, setting):
        plain = setting.walk()
        result = setting.walk(start=setting.start.clone().requires_grad_())
        assert torch.equal(result.latents, plain.latents)
        assert not result.latents.requires_grad

    def test_grey_images_for_colour_classifiers(self):
        grey, colour = Setting(channels=1), Setting(channels=3)
        for name in ("identity", "classifier"):
            first, second = getattr(grey, name)[1], getattr(colour, name)[1]
            with torch.no_grad():
                # The same answers: a third of the weight on each of three equal channels.
                second.weight.copy_(first.weight.repeat(1, 3) / 3)
                second.bias.copy_(first.bias)
                getattr(colour, name)[3].load_state_dict(getattr(grey, name)[3].state_dict())
        colour.generator, colour.start, colour.end = grey.generator, grey.start, grey.end
        assert_same_walk(grey.walk(optim_steps=5), colour.walk(optim_steps=5), tolerance=1e-3)


class TestBadInput:
    @pytest.mark.parametrize(
        ("changes", "error", "text"),
        [
            ({"start": torch.zeros(4, D)}, ShapeError, "start and end"),
            ({"start": torch.zeros(5, D - 1), "end": torch.zeros(5, D - 1)}, ShapeError, "10"),
            ({"start": torch.zeros(5, 1, D)}, ShapeError, "start"),
            ({"start": torch.zeros(0, D), "end": torch.zeros(0, D)}, ShapeError, "start"),
            ({"end": torch.zeros(5, D, dtype=torch.int64)}, ShapeError, "end"),
            ({"end": torch.full((5, D), float("nan"))}, InputError, "finite"),
            ({"start": torch.full((5, D), float("inf"))}, InputError, "finite"),
            ({"label": CLASSES}, InputError, "0 to 2"),
            ({"label": -1}, InputError, "0 to 2"),
            ({"label": [0, 1]}, ShapeError, "label"),
            ({"label": torch.zeros(5)}, ShapeError, "label"),
            ({"label": 1.0}, ShapeError, "label"),
            ({"label": None}, ShapeError, "label"),
            ({"label": 1.7}, ShapeError, "label"),
            ({"label": True}, ShapeError, "label"),
            ({"label": "1"}, ShapeError, "label"),
            ({"label": 2**70}, ShapeError, "label"),
            ({"label": [0, 1, 2, 1, None]}, ShapeError, "label"),
            ({"start": "x"}, ShapeError, "start"),
            ({"end": None}, ShapeError, "end"),
            ({"end": [[1.0, 2.0], [1.0]]}, ShapeError, "end"),
            ({"steps": 2}, InputError, "steps"),
            ({"steps": -5}, InputError, "steps"),
            ({"steps": 9.0}, InputError, "steps"),
            ({"steps": "9"}, InputError, "steps"),
            ({"steps": True}, InputError, "steps"),
            ({"steps": None}, InputError, "steps"),
            ({"solver": "quick"}, InputError, "solver"),
            ({"generator": object()}, InputError, "generator"),
            ({"micro_batch": -1}, InputError, "micro_batch"),
            ({"split_head": True, "identity": lambda x: x.flatten(1)}, InputError, "linear"),
        ],
    )
    def test_one_line_with_the_way_out(self, setting, changes, error, text):
        with pytest.raises(error) as raised:
            setting.walk(**changes)
        message = str(raised.value)
        assert "\n" not in message
        assert text in message
        assert message.startswith("expected ")

    @pytest.mark.parametrize(
        "options",
        [
            {"optim_steps": -1},
            {"optim_steps": 2.0},
            {"optim_steps": "5"},
            {"optim_steps": True},
            {"lr": 0.0},
            {"lr": -0.1},
            {"lr": float("nan")},
            {"lr": float("inf")},
            {"lr": "0.1"},
            {"lr": None},
            {"eps": float("nan")},
            {"chunk": 0},
            {"chunk": 4.0},
        ],
    )
    def test_published_config(self, options):
        with pytest.raises(InputError, match=f"expected {next(iter(options))}") as raised:
            PublishedConfig(**options)
        assert "\n" not in str(raised.value)

    def test_numpy_integers_are_whole_numbers(self, setting):
        plain = setting.walk(optim_steps=3, steps=5, label=1)
        numpy = setting.walk(
            config=PublishedConfig(optim_steps=np.int64(3)), steps=np.int32(5), label=np.int64(1)
        )
        assert torch.equal(plain.latents, numpy.latents)
        rows = setting.walk(optim_steps=3, steps=5, label=np.ones(5, dtype=np.int32))
        assert torch.equal(plain.latents, rows.latents)


class TestNotFinite:
    """A walk returns finite latents, or says why it cannot."""

    class Failing:
        """`plain` at first, and NaN once it has been called `good` times."""

        def __init__(self, plain, good):
            self.plain, self.left = plain, good

        def __call__(self, x):
            self.left -= 1
            return self.plain(x) * (1.0 if self.left >= 0 else float("nan"))

    @pytest.mark.parametrize("optim_steps", [0, 3])
    @pytest.mark.parametrize("which", ["generator", "identity", "classifier"])
    def test_on_the_straight_line(self, setting, which, optim_steps):
        if which == "generator":
            setting.generator.synthesize = self.Failing(setting.generator.synthesize, 0)
        else:
            failing = self.Failing(getattr(setting, which), 0)
            failing.img_channels = 1
            setattr(setting, which, failing)
        with pytest.raises(InputError, match=r"energy on the straight line.* 5 of 5 path") as error:
            setting.walk(optim_steps=optim_steps)
        assert "\n" not in str(error.value)

    @pytest.mark.parametrize("which", ["generator", "identity", "classifier"])
    def test_on_the_way(self, setting, which):
        # One good micro-batch before, two steps, and NaN from then on.
        if which == "generator":
            setting.generator.synthesize = self.Failing(setting.generator.synthesize, 3)
        else:
            failing = self.Failing(getattr(setting, which), 3)
            failing.img_channels = 1
            setattr(setting, which, failing)
        with pytest.raises(InputError, match=r"latents after 4 steps.* 5 of 5 path"):
            setting.walk(optim_steps=4, split_head=False)

    def test_a_single_path_is_enough(self, setting):
        plain = setting.generator.synthesize
        setting.generator.synthesize = lambda w: plain(w) + 0 * (5 - w[:, :1, None, None]).sqrt()
        setting.start[2, 0] = 9.0
        with pytest.raises(InputError, match="NaN or infinity on 1 of 5 path"):
            setting.walk()

    def test_a_step_that_is_too_long(self, setting):
        with pytest.raises(InputError, match="smaller lr"):
            setting.walk(lr=1e38, optim_steps=5)


class TestGradients:
    @pytest.mark.parametrize("which", ["generator", "identity", "classifier"])
    def test_a_network_that_passes_no_gradient(self, setting, which):
        if which == "generator":
            plain = setting.generator.synthesize
            setting.generator.synthesize = lambda w: plain(w).detach()
        else:
            inner = getattr(setting, which)
            setattr(setting, which, lambda images: inner(images[:, :1]).detach())
        with pytest.raises(InputError, match=f"{which}.* through which gradients flow"):
            setting.walk(optim_steps=1)

    def test_inference_mode(self, setting):
        with torch.inference_mode():
            with pytest.raises(InputError, match="inference_mode"):
                setting.walk(optim_steps=1)
            start = setting.start.clone()
        # A latent made there is as good as any other.
        assert torch.equal(setting.walk(start=start).latents, setting.walk().latents)


@pytest.mark.parametrize("solver", ["fast", "published"])
def test_nothing_waits_for_the_collector(solver):
    """What a walk prepared of its networks is freed with it: a run walks thousands of times."""
    setting = Setting()
    options = {"config": None} if solver == "fast" else {}
    setting.walk(solver=solver, **options)
    gc.collect()
    gc.disable()
    try:
        before = held()
        for _ in range(3):
            setting.walk(solver=solver, **options)
        assert held() == before
    finally:
        gc.enable()


def held():
    """Energies, networks and tensors that are alive."""
    kinds = (torch.Tensor, nn.Module, PathEnergy)
    return Counter(type(o).__name__ for o in gc.get_objects() if isinstance(o, kinds))
