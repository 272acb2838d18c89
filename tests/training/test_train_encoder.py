"""Training the encoder."""

from __future__ import annotations

import pytest
import torch

from latentpath.core.errors import DataError, ShapeError, WeightsError
from latentpath.generators import StyleGAN2
from latentpath.models import encode
from latentpath.training import EncoderConfig, train_encoder
from latentpath.training.checkpoint import Checkpointer

pytest.importorskip("monai")


@pytest.fixture(scope="module")
def generator():
    torch.manual_seed(0)
    g = StyleGAN2(3, 0, 4, 8, 1, {"num_layers": 1}, {"channel_base": 64, "channel_max": 8})
    return g.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def images(generator):
    torch.manual_seed(1)
    return generator.synthesize(generator.sample(48)).clamp(-1, 1)


TINY = EncoderConfig(steps=6, batch=8, width=2, perceptual=0.0)


class StopError(Exception):
    pass


def error(generator, encoder, images):
    shown = generator.synthesize(encode(encoder, images)).clamp(-1, 1)
    return float((shown - images).square().mean())


def assert_same_weights(first, second):
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name


def test_reconstruction_gets_better(generator, images):
    short = train_encoder(images, generator, config=EncoderConfig(1, 8, 4, perceptual=0.0))
    config = EncoderConfig(steps=150, batch=16, width=4, perceptual=0.0, lr=1e-2)
    told = []
    long = train_encoder(images, generator, config=config, progress=lambda *a: told.append(a))
    assert error(generator, long, images) < 0.5 * error(generator, short, images)
    assert [a[1] for a in told] == list(range(1, 151))
    assert told[-1][3]["mse"] < told[0][3]["mse"]
    assert not long.training
    assert not any(p.requires_grad for p in long.parameters())


def test_centre_and_scale_are_the_generators(generator, images):
    encoder = train_encoder(images, generator, config=TINY)
    w = generator.sample(20_000)
    assert torch.allclose(encoder.centre, w.mean(dim=0), atol=0.1)
    assert torch.allclose(encoder.scale, w.std(dim=0), rtol=0.1)


def test_the_generator_stays_as_it_is(generator, images):
    before = {n: t.clone() for n, t in generator.state_dict().items()}
    state = torch.get_rng_state()
    train_encoder(images, generator, config=TINY)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[n], t) for n, t in generator.state_dict().items())
    assert all(p.grad is None for p in generator.parameters())


def test_the_perceptual_distance_is_asked(generator, images):
    asked = []

    def distance(shown, real):
        asked.append(shown.shape == real.shape)
        return (shown - real).abs().mean(dim=[1, 2, 3])

    config = EncoderConfig(steps=3, batch=8, width=2, perceptual=2.0)
    train_encoder(images, generator, config=config, perceptual=distance)
    assert asked == [True] * 3


def test_lpips_that_ships_by_default():
    pytest.importorskip("safetensors")
    torch.manual_seed(0)
    generator = StyleGAN2(3, 0, 4, 16, 1, {"num_layers": 1}, {"channel_max": 4})
    generator = generator.eval().requires_grad_(False)
    images = generator.synthesize(generator.sample(4)).clamp(-1, 1)
    config = EncoderConfig(steps=1, batch=2, width=2)
    assert encode(train_encoder(images, generator, config=config), images).shape == (4, 4)


def test_encode_in_batches(generator, images):
    encoder = train_encoder(images, generator, config=TINY)
    latents = encode(encoder, images, batch=7)
    assert not latents.requires_grad
    assert torch.allclose(latents, encoder(images), atol=1e-5)


class TestResume:
    @pytest.fixture(autouse=True)
    def every_step(self, monkeypatch):
        monkeypatch.setattr(Checkpointer, "due", lambda self: self.path is not None)

    def test_interrupted_run_ends_as_the_undisturbed_one(self, tmp_path, generator, images):
        path = tmp_path / "run.checkpoint"

        def stop(stage, done, total, figures):
            if done == 4:
                raise StopError

        with pytest.raises(StopError):
            train_encoder(images, generator, config=TINY, checkpoint=path, progress=stop)
        resumed = train_encoder(images, generator, config=TINY, checkpoint=path)
        assert_same_weights(resumed, train_encoder(images, generator, config=TINY))

    def test_another_generator_or_data(self, tmp_path, generator, images):
        path = tmp_path / "run.checkpoint"
        train_encoder(images, generator, config=TINY, checkpoint=path)
        torch.manual_seed(9)
        other = StyleGAN2(**generator.init_kwargs).eval().requires_grad_(False)
        with pytest.raises(WeightsError, match="other training data"):
            train_encoder(images, other, config=TINY, checkpoint=path)
        with pytest.raises(WeightsError, match="other training data"):
            train_encoder(-images, generator, config=TINY, checkpoint=path)


class TestBadInput:
    @pytest.mark.parametrize("shape", [(4, 1, 16, 16), (4, 3, 8, 8), (4, 1, 8, 4)])
    def test_images_of_another_size(self, generator, shape):
        with pytest.raises(ShapeError, match=r"\[1, 8, 8\]"):
            train_encoder(torch.zeros(shape), generator, config=TINY)

    def test_nans(self, generator):
        with pytest.raises(DataError, match="finite"):
            train_encoder(torch.full((4, 1, 8, 8), float("nan")), generator, config=TINY)
