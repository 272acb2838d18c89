"""What surrounds a walk, on a GPU: training, endpoints, the making of a set, and its audit."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("monai")
pytest.importorskip("safetensors")

from latentpath.audit import AuditConfig, audit_set
from latentpath.ksame import aggregate, group_methods, k_same
from latentpath.models import ProjectionConfig, project
from latentpath.production import produce_set
from latentpath.production.style import StyleConfig, align_style
from latentpath.similarity import LPIPS
from latentpath.training import (
    ClassifierConfig,
    EncoderConfig,
    GeneratorConfig,
    ShadowConfig,
    SurrogateConfig,
    train_classifier,
    train_encoder,
    train_generator,
    train_shadows,
    train_surrogate,
)
from support import tiny_models
from support.tiny_models import quick_config


@pytest.fixture(scope="module")
def data():
    return tiny_models.private_set((10, 8))


@pytest.fixture
def bundle(gpu, data):
    """Random networks on the GPU."""
    made = tiny_models.bundle_for(data, lpips=LPIPS.load(), monai=False)
    moved = {
        field.name: part.to(gpu.device)
        for field in fields(made)
        if isinstance(part := getattr(made, field.name), nn.Module)
    }
    return replace(made, **moved)


def images_of(gpu, data):
    images = torch.from_numpy(data.images).permute(0, 3, 1, 2).float() / 127.5 - 1
    return images.to(gpu.device), torch.from_numpy(data.labels).to(gpu.device)


@pytest.mark.parametrize("endpoints", ["centroids", "safe"])
def test_a_set_is_made(gpu, data, bundle, endpoints):
    options = {"endpoints": endpoints, "gate_identity": 0.999}
    result = produce_set(data, bundle, quick_config(count=12, **options))
    assert len(result.samples) == 12
    assert result.samples.images.dtype == np.uint8


def test_style_alignment_and_projection(gpu, data, bundle):
    images, _ = images_of(gpu, data)
    latents = bundle.encoder(images).detach()
    grouping = k_same(latents.cpu(), data.identities, data.labels, 4)
    centroids = aggregate(latents.cpu(), grouping, data.identities).to(gpu.device)
    aligned = align_style(
        centroids, data, grouping, bundle.generator, bundle.lpips, StyleConfig(steps=2)
    )
    assert aligned.latents.device == gpu.device
    better = project(
        images[:3], latents[:3], bundle.generator, distance=bundle.lpips,
        config=ProjectionConfig(steps=3),
    )  # fmt: skip
    assert better.device == gpu.device


@pytest.mark.parametrize("method", ["farthest", "mdav", "auto"])
def test_groups_are_the_processor_s_for_one_wait_a_group(gpu, monkeypatch, method):
    """Also where points are copies of each other, and where lists of neighbours are made."""
    monkeypatch.setattr(group_methods, "EXACT_BELOW", 100 if method == "auto" else 8192)
    rng = np.random.default_rng(0)
    latents = torch.from_numpy(rng.standard_normal((520, 24), dtype=np.float32))
    latents[::4] = latents[1]
    people, labels = np.arange(520) // 2, np.arange(520) // 2 % 2
    expected = k_same(latents, people, labels, 4, method)
    gpu.forget()
    found = k_same(latents.to(gpu.device), people, labels, 4, method)
    assert np.array_equal(found.assignment, expected.assignment)
    in_groups = {place: n for place, n in gpu.waits.items() if "take_around" in place}
    assert sum(in_groups.values()) <= found.num_groups


TINY = GeneratorConfig(
    total_images=24, batch=8, z_dim=4, w_dim=5, mapping_layers=1, channel_base=32, channel_max=4,
    r1_interval=2,
)  # fmt: skip


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_a_generator_is_trained(gpu, data, precision):
    config = replace(TINY, precision=precision)
    images, labels = images_of(gpu, data)
    trained = train_generator(images, labels, num_classes=2, config=config)
    assert next(trained.parameters()).device == gpu.device
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in trained.parameters())


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_a_classifier_is_trained(gpu, data, precision):
    images, labels = images_of(gpu, data)
    config = ClassifierConfig(steps=4, batch=8, width=2, precision=precision)
    trained = train_classifier(images, labels, num_classes=2, config=config)
    assert all(p.dtype == torch.float32 and p.isfinite().all() for p in trained.parameters())


@pytest.mark.parametrize("what", ["generator", "classifier", "encoder"])
def test_no_step_of_a_training_waits_unless_its_figures_are_looked_at(gpu, data, bundle, what):
    images, labels = images_of(gpu, data)
    looked = []

    def train(steps, progress):
        gpu.forget()
        if what == "generator":
            config = replace(TINY, total_images=8 * steps)
            train_generator(images, labels, num_classes=2, config=config, progress=progress)
        elif what == "classifier":
            config = ClassifierConfig(steps=steps, batch=8, width=2)
            train_classifier(images, labels, num_classes=2, config=config, progress=progress)
        else:
            config = EncoderConfig(steps=steps, batch=4, width=2)
            train_encoder(images, bundle.generator, config=config, progress=progress)
        return sum(gpu.waits.values())

    train(1, lambda *_: None)  # what is looked at once in a process
    few = train(2, lambda *_: None)
    assert train(4, lambda *_: None) == few
    waits = train(4, lambda stage, done, total, figures: looked.append(dict(figures)))
    assert all(np.isfinite(list(figures.values())).all() for figures in looked)
    if gpu.pretended:
        assert waits == few + len(looked)


def test_classifiers_an_encoder_and_a_surrogate_are_trained(gpu, data, bundle):
    images, labels = images_of(gpu, data)
    config = ClassifierConfig(steps=4, batch=8, width=2)
    train_classifier(images, labels, num_classes=2, config=config)
    train_encoder(images, bundle.generator, config=EncoderConfig(steps=3, batch=4, width=2))
    surrogate = train_surrogate(
        bundle.networks,
        bundle.encoder(images).detach(),
        labels,
        config=SurrogateConfig(
            points=32,
            rounds=1,
            walk_points=16,
            walk_steps=5,
            walk_passes=1.0,
            width=8,
            depth=1,
            steps=3,
            batch=16,
        ),
    )
    assert next(surrogate.parameters()).device == gpu.device


def test_shadow_models_are_trained(gpu, data):
    images, labels = images_of(gpu, data)
    inside = torch.arange(len(images)) % 2 == torch.tensor([[0], [1]])
    models = train_shadows(
        images, labels, inside.to(gpu.device), num_classes=2,
        config=ShadowConfig(steps=3, batch=4),
    )  # fmt: skip
    assert models is not None


@pytest.mark.filterwarnings("ignore:without real images of other people")
def test_an_audit(gpu, data, bundle):
    found = audit_set(
        tiny_models.private_set((6, 6), seed=3),
        real=data,
        test=tiny_models.private_set((5, 5), seed=4),
        lpips=bundle.lpips,
        identity=bundle.identity,
        config=AuditConfig(
            seeds=(0,), classifier=ClassifierConfig(steps=3, batch=8, width=2), use_witness=False
        ),
        measures=("nearest", "reidentification", "utility"),
        device=gpu.device,
    )
    assert np.isfinite(found.nearest.mean)
