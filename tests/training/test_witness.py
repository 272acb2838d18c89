"""The independent witness recognises people in changed pictures, and leaves no traces."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from latentpath.core.errors import DataError, InputError, ShapeError
from latentpath.models.classifiers import Witness
from latentpath.training.augmentation import AugmentConfig
from latentpath.training.classifier_training import WitnessConfig, train_witness

QUICK = WitnessConfig(steps=120, batch=24, width=4, embedding=16, augment=AugmentConfig())


def faces(people: int, channels: int = 1, side: int = 16) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    small = torch.rand(people, channels, 4, 4, generator=generator) * 2 - 1
    return torch.nn.functional.interpolate(small, size=side, mode="bilinear")


def test_people_are_recognised_in_changed_pictures():
    images = faces(24)
    model = train_witness(images, torch.arange(24), num_people=24, config=QUICK)
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    changed = (images.roll(1, 3) * 0.9 + 0.05 * noise).clamp(-1, 1)
    assert (model(images).argmax(1) == torch.arange(24)).float().mean() > 0.9
    assert (model(changed).argmax(1) == torch.arange(24)).float().mean() > 0.7
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_seeds_decide_and_the_callers_random_numbers_stay():
    images, quick = faces(6), replace(QUICK, steps=3)

    def answers(seed: int) -> torch.Tensor:
        config = replace(quick, seed=seed)
        return train_witness(images, torch.arange(6), num_people=6, config=config)(images)

    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    first = answers(1)
    assert torch.equal(torch.rand(2), expected)
    assert torch.equal(answers(1), first)
    assert not torch.allclose(answers(2), first)


def test_training_goes_on_where_it_stopped(tmp_path):
    images, quick = faces(6), replace(QUICK, steps=4)
    saved = tmp_path / "witness.pt"
    whole = train_witness(images, torch.arange(6), num_people=6, config=quick, checkpoint=saved)
    told: list[int] = []
    again = train_witness(
        images,
        torch.arange(6),
        num_people=6,
        config=quick,
        checkpoint=saved,
        progress=lambda stage, done, *_: told.append(done),
    )
    assert told == []
    assert torch.equal(again(images), whole(images))


@pytest.mark.parametrize(("channels", "height", "width"), [(1, 28, 28), (3, 40, 17), (1, 130, 90)])
def test_embeddings_have_length_one_at_any_size(channels, height, width):
    model = Witness(11, channels, width=2, embedding=8).eval()
    images = torch.rand(5, channels, height, width)
    features = model.features(images)
    torch.testing.assert_close(features.norm(dim=1), torch.ones(5))
    logits = model(images)
    assert logits.shape == (5, 11)
    assert logits.abs().max() <= model.scale + 1e-4


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="at least 1"):
        Witness(0)
    with pytest.raises(ShapeError, match=r"images \[M, 1, H, W\]"):
        Witness(3)(torch.zeros(2, 3, 8, 8))
    with pytest.raises(DataError, match="labels from 0 to 2"):
        train_witness(faces(4), torch.arange(4), num_people=3, config=QUICK)
