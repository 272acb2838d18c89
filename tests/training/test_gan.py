"""Training the generator."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch

from latentpath.core.errors import DataError, InputError, WeightsError
from latentpath.training import AugmentConfig, GeneratorConfig, train_generator
from latentpath.training.checkpoint import Checkpointer
from latentpath.training.gan import _Gan

TINY = GeneratorConfig(
    total_images=40,
    batch=8,
    z_dim=4,
    w_dim=5,
    mapping_layers=1,
    channel_base=32,
    channel_max=4,
    r1_interval=2,
)


def spots(n=24):
    """Class 0 is bright at the left, class 1 at the right."""
    torch.manual_seed(0)
    labels = torch.arange(n) % 2
    images = -torch.ones(n, 1, 8, 8) + 0.1 * torch.rand(n, 1, 8, 8)
    images[labels == 0, :, :, :4] += 1.8
    images[labels == 1, :, :, 4:] += 1.8
    return images, labels


def weights(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def moved(before, module):
    return sorted(n for n, t in module.state_dict().items() if not torch.equal(before[n], t))


def assert_same_weights(first, second):
    for (name, a), (other, b) in zip(
        first.state_dict().items(), second.state_dict().items(), strict=True
    ):
        assert name == other
        assert torch.equal(a, b), name


class StopError(Exception):
    pass


def stop_at(images_seen):
    def progress(stage, done, total, figures):
        if done == images_seen:
            raise StopError

    return progress


def train(config=TINY, **options):
    images, labels = spots()
    return train_generator(images, labels, num_classes=2, config=config, **options)


def test_it_runs_and_tells():
    told = []
    images, labels = spots()
    state = torch.get_rng_state()
    generator = train_generator(
        images, labels, num_classes=2, config=TINY, progress=lambda *a: told.append(a)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert [a[:3] for a in told] == [("generator", n, 40) for n in (8, 16, 24, 32, 40)]
    for *_, figures in told:
        assert all(math.isfinite(value) for value in figures.values())
        assert 0 <= figures["augment"] <= 1
    assert not generator.training
    assert not any(p.requires_grad for p in generator.parameters())
    assert (generator.c_dim, generator.img_resolution, generator.latent_dim) == (2, 8, 5)
    assert torch.isfinite(generator.synthesize(generator.sample(3))).all()


def test_it_learns_where_each_class_is_bright():
    config = replace(
        TINY,
        total_images=2400,
        batch=16,
        channel_max=16,
        channel_base=128,
        lr=0.01,
        ema_images=400,
        augment=AugmentConfig(shift=0.0, rotate=0.0, scale=0.0),
    )
    generator = train(config)
    torch.manual_seed(1)
    labels = torch.arange(60) % 2
    with torch.no_grad():
        images = generator.synthesize(generator.sample(60, labels))
    lead = images[..., :4].mean(dim=[1, 2, 3]) - images[..., 4:].mean(dim=[1, 2, 3])
    right = ((lead > 0) == (labels == 0)).float().mean()
    assert float(right) > 0.9


def test_seed_decides():
    assert_same_weights(train(), train())
    other = train(replace(TINY, seed=1))
    assert not torch.equal(other.mapping.fc0.weight, train().mapping.fc0.weight)


def test_unconditional():
    generator = train(replace(TINY, conditional=False))
    assert generator.c_dim == 0
    assert generator.sample(3).shape == (3, 5)


class TestSteps:
    @pytest.fixture
    def gan(self):
        torch.manual_seed(3)
        images, _ = spots()
        return _Gan(images, 2, TINY)

    def test_the_discriminator_moves_alone(self, gan):
        images, labels = spots()
        parts = {n: weights(p) for n, p in gan.parts().items() if not n.startswith("optim")}
        loss = gan.step_discriminator(images[:8], labels[:8], labels[8:16])
        assert math.isfinite(loss)
        assert moved(parts["discriminator"], gan.discriminator)
        # The running mean of w is the one thing that a pass through the generator moves.
        assert moved(parts["generator"], gan.generator) == ["mapping.w_avg"]
        assert moved(parts["ema"], gan.ema) == []
        assert all(p.grad is None for p in gan.generator.parameters())

    def test_the_generator_moves_alone_and_its_average_follows(self, gan):
        labels = spots()[1]
        parts = {n: weights(p) for n, p in gan.parts().items() if not n.startswith("optim")}
        loss = gan.step_generator(labels[:8])
        assert math.isfinite(loss)
        assert moved(parts["discriminator"], gan.discriminator) == []
        assert all(p.requires_grad for p in gan.discriminator.parameters())
        changed = moved(parts["generator"], gan.generator)
        assert {"mapping.fc0.weight", "synthesis.b4.const"} <= set(changed)
        assert moved(parts["ema"], gan.ema)

    def test_average_lies_between_old_and_new(self, gan):
        gan.counters["seen"] = 10_000
        old = copy.deepcopy(gan.ema).state_dict()
        gan.step_generator(spots()[1][:8])
        half_life = 0.05 * 10_000 + 1
        share = 1 - 0.5 ** (8 / half_life)
        for name, parameter in gan.ema.named_parameters():
            new = dict(gan.generator.named_parameters())[name]
            wanted = old[name].double() * (1 - share) + new.detach().double() * share
            assert torch.allclose(parameter.double(), wanted, atol=1e-6)
        for name, buffer in gan.ema.named_buffers():
            assert torch.equal(buffer, dict(gan.generator.named_buffers())[name])

    def test_r1_is_due_on_its_interval(self, gan):
        """A huge penalty changes the step on which it is due, and no other."""
        images, labels = spots()

        def step(number, gamma):
            torch.manual_seed(5)
            again = _Gan(images, 2, replace(TINY, r1_gamma=gamma))
            again.counters["step"] = number
            torch.manual_seed(6)
            again.step_discriminator(images[:8], labels[:8], labels[:8])
            return again.discriminator.fromrgb.weight.detach().clone()

        assert not torch.equal(step(0, 0.0), step(0, 1000.0))
        assert torch.equal(step(1, 0.0), step(1, 1000.0))

    def test_augmentation_grows_while_the_discriminator_is_sure(self, gan):
        def adapted(sign, batch):
            gan.sign = torch.tensor(sign, dtype=torch.float64)
            gan._adapt(torch.tensor(sign), batch)
            return gan.state()["p"]

        assert adapted(1.0, 100) == pytest.approx(100 / TINY.ada_images)
        assert adapted(-1.0, 10_000_000) == 0.0
        assert adapted(1.0, 10_000_000) <= 1.0


class TestResume:
    @pytest.fixture(autouse=True)
    def every_step(self, monkeypatch):
        monkeypatch.setattr(Checkpointer, "due", lambda self: self.path is not None)

    @pytest.mark.parametrize("seen", [8, 24, 40])
    def test_interrupted_run_ends_as_the_undisturbed_one(self, tmp_path, seen):
        path = tmp_path / "run.checkpoint"
        with pytest.raises(StopError):
            train(checkpoint=path, progress=stop_at(seen))
        told = []
        resumed = train(checkpoint=path, progress=lambda *a: told.append(a[1]))
        assert told == list(range(seen, 41, 8))
        assert_same_weights(resumed, train())

    def test_lengthening_continues(self, tmp_path):
        path = tmp_path / "run.checkpoint"
        train(replace(TINY, total_images=24), checkpoint=path)
        told = []
        longer = train(checkpoint=path, progress=lambda *a: told.append(a[1]))
        assert told == [32, 40]
        assert_same_weights(longer, train())

    def test_a_finished_run_is_not_trained_again(self, tmp_path):
        path, told = tmp_path / "run.checkpoint", []
        first = train(checkpoint=path)
        assert_same_weights(first, train(checkpoint=path, progress=lambda *a: told.append(a)))
        assert told == []

    def test_other_data_or_options(self, tmp_path):
        path = tmp_path / "run.checkpoint"
        train(checkpoint=path)
        with pytest.raises(WeightsError, match="lr"):
            train(replace(TINY, lr=0.1), checkpoint=path)
        with pytest.raises(WeightsError, match="augment"):
            train(replace(TINY, augment=AugmentConfig(shift=0.5)), checkpoint=path)
        images, labels = spots()
        with pytest.raises(WeightsError, match="other training data"):
            train_generator(-images, labels, num_classes=2, config=TINY, checkpoint=path)
        path.write_bytes(path.read_bytes()[:1000])
        with pytest.raises(WeightsError, match="delete the file"):
            train(checkpoint=path)


class TestBadInput:
    @pytest.mark.parametrize("shape", [(4, 1, 8, 16), (4, 1, 12, 12), (4, 2, 8, 8), (4, 8, 8)])
    def test_images(self, shape):
        with pytest.raises(DataError):
            train_generator(torch.zeros(shape), torch.zeros(4).long(), num_classes=1, config=TINY)

    @pytest.mark.parametrize("changes", [{"batch": 1}, {"total_images": 7}, {"lr": 0.0}])
    def test_schedule(self, changes):
        with pytest.raises(InputError, match=next(iter(changes))):
            train(replace(TINY, **changes))
