"""Projection: latents refined towards their images."""

from __future__ import annotations

import pytest
import torch

from latentpath.core.errors import ShapeError
from latentpath.generators import FunctionGenerator
from latentpath.models import ProjectionConfig, project

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
