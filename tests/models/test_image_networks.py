"""Classifiers, the encoder, and projection."""

from __future__ import annotations

import pytest
import torch

from latentpath.core.errors import InputError, ShapeError
from latentpath.generators import FunctionGenerator
from latentpath.models import Classifier, Encoder, ProjectionConfig, project

pytest.importorskip("monai")


@pytest.mark.parametrize(("channels", "side"), [(1, 16), (3, 28), (1, 32), (3, 64), (1, 128)])
@torch.no_grad()
def test_shapes(channels, side):
    model = Classifier(7, channels, side, width=2).eval()
    images = torch.zeros(2, channels, side, side)
    assert model(images).shape == (2, 7)
    assert model.features(images).shape == (2, 16)


@torch.no_grad()
def test_logits_are_the_head_of_the_features():
    torch.manual_seed(0)
    model = Classifier(5, 1, 16, width=3).eval()
    images = torch.randn(4, 1, 16, 16)
    assert torch.allclose(model(images), model.head(model.features(images)))
    assert model.head.in_features == 24


@torch.no_grad()
def test_one_image_is_judged_as_in_a_batch():
    torch.manual_seed(0)
    model = Classifier(5, 1, 16, width=3).eval()
    images = torch.randn(4, 1, 16, 16)
    alone = torch.cat([model(image[None]) for image in images])
    assert torch.allclose(model(images), alone, atol=1e-5)


@torch.no_grad()
def test_small_images_keep_their_detail():
    """Below 64 pixels the stem does not halve the resolution: one pixel more changes features."""
    torch.manual_seed(0)
    for side, stride in [(32, 1), (64, 2), (128, 2)]:
        model = Classifier(2, 1, side, width=2)
        assert model.trunk.conv1.stride == (stride, stride)


def test_configuration_builds_the_same_network():
    torch.manual_seed(0)
    model = Classifier(5, 3, 16, width=3)
    again = Classifier(**model.config)
    again.load_state_dict(model.state_dict())
    assert (again.num_classes, again.img_channels) == (5, 3)


def test_gradients_reach_the_image():
    model = Classifier(5, 1, 16, width=2).eval()
    images = torch.randn(2, 1, 16, 16, requires_grad=True)
    model(images).square().sum().backward()
    assert images.grad.abs().sum(dim=[1, 2, 3]).min() > 0


@pytest.mark.parametrize("shape", [(2, 3, 16, 16), (1, 16, 16), (2, 16)])
def test_images_of_other_channels(shape):
    with pytest.raises(ShapeError, match="images"):
        Classifier(5, 1, 16, width=2)(torch.zeros(shape))


@pytest.mark.parametrize("options", [{"num_classes": 0}, {"num_classes": 3, "width": 0}])
def test_impossible_sizes(options):
    with pytest.raises(InputError):
        Classifier(**options)


pytest.importorskip("monai")


@torch.no_grad()
def test_shapes_and_configuration():
    torch.manual_seed(0)
    encoder = Encoder(9, 3, 16, width=2).eval()
    images = torch.randn(4, 3, 16, 16)
    assert encoder(images).shape == (4, 9)
    again = Encoder(**encoder.config).eval()
    again.load_state_dict(encoder.state_dict())
    assert torch.equal(again(images), encoder(images))


@torch.no_grad()
def test_output_is_in_the_latents_units():
    torch.manual_seed(0)
    encoder = Encoder(4, 1, 16, width=2).eval()
    images = torch.randn(3, 1, 16, 16)
    plain = encoder(images)
    centre, scale = torch.randn(4), torch.rand(4) + 1
    encoder.centre.copy_(centre)
    encoder.scale.copy_(scale)
    assert torch.allclose(encoder(images), centre + scale * plain, atol=1e-5)
    encoder.scale.zero_()
    assert torch.equal(encoder(images), centre.expand(3, -1))


@torch.no_grad()
def test_centre_and_scale_are_saved():
    assert {"centre", "scale"} <= Encoder(4, 1, 16, width=2).state_dict().keys()


@pytest.mark.parametrize("shape", [(2, 3, 16, 16), (1, 16, 16)])
def test_images_of_other_channels_for_the_encoder(shape):
    with pytest.raises(ShapeError, match="images"):
        Encoder(4, 1, 16, width=2)(torch.zeros(shape))


D = 6


@pytest.fixture
def generator():
    torch.manual_seed(0)
    matrix = torch.randn(16, D) / 3
    return FunctionGenerator(
        lambda w: torch.tanh(w @ matrix.t()).reshape(-1, 1, 4, 4), latent_dim=D
    )


def error(generator, w, images):
    return (generator.synthesize(w).clamp(-1, 1) - images).square().mean(dim=[1, 2, 3])


@pytest.fixture
def task(generator):
    torch.manual_seed(1)
    truth = torch.randn(7, D)
    return generator.synthesize(truth), truth + 0.7 * torch.randn(7, D), truth


def test_latents_of_generated_images_are_found(generator, task):
    images, start, truth = task
    config = ProjectionConfig(steps=200, prior=0.0, lr=0.1)
    w = project(images, start, generator, config=config)
    assert w.shape == (7, D)
    assert not w.requires_grad
    assert float(error(generator, w, images).max()) < 1e-3 * float(
        error(generator, start, images).mean()
    )
    assert float((w - truth).abs().max()) < 0.1


def test_no_latent_gets_worse(generator, task):
    images, start, _ = task
    # Far too large a rate: most steps overshoot.
    config = ProjectionConfig(steps=5, prior=0.0, lr=20.0)
    w = project(images, start, generator, config=config)
    assert (error(generator, w, images) <= error(generator, start, images) + 1e-7).all()


def test_no_steps_keep_the_start(generator, task):
    images, start, _ = task
    w = project(images, start, generator, config=ProjectionConfig(steps=0))
    assert torch.equal(w, start)
    w.add_(1)  # a copy
    assert not torch.equal(w, start)


def test_the_prior_holds_back(generator, task):
    images, start, _ = task
    moved = [
        float((project(images, start, generator, config=config) - start).square().mean())
        for config in (ProjectionConfig(prior=0.0), ProjectionConfig(prior=10.0))
    ]
    assert moved[1] < 0.1 * moved[0]


def test_batches_change_nothing(generator, task):
    images, start, _ = task
    told = []
    whole = project(images, start, generator, config=ProjectionConfig(steps=10))
    parts = project(
        images,
        start,
        generator,
        config=ProjectionConfig(steps=10, batch=3),
        progress=lambda *a: told.append(a[:3]),
    )
    assert torch.allclose(whole, parts, atol=1e-4)
    assert told == [("projection", n, 7) for n in (3, 6, 7)]


def test_scale_is_the_unit_of_the_rate(generator, task):
    images, start, _ = task
    scale = torch.ones(D)
    scale[2:] = 0.0
    w = project(images, start, generator, scale=scale, config=ProjectionConfig(steps=10))
    assert torch.equal(w[:, 2:], start[:, 2:])
    assert not torch.allclose(w[:, :2], start[:, :2])


def test_a_perceptual_distance_counts(generator, task):
    images, start, _ = task

    def dark(shown, wanted):
        assert shown.shape == wanted.shape
        return 100 * (shown + 1).square().mean(dim=[1, 2, 3])

    config = ProjectionConfig(steps=60, prior=0.0)
    plain = project(images, start, generator, config=config)
    darker = project(images, start, generator, distance=dark, config=config)
    assert float(generator.synthesize(darker).mean()) < float(generator.synthesize(plain).mean())


@pytest.mark.parametrize("shape", [(6, D), (7,), (7, 1, D)])
def test_one_latent_per_image(generator, task, shape):
    with pytest.raises(ShapeError, match="start"):
        project(task[0], torch.zeros(shape), generator)
