"""Many classifiers at once are what each would be alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from latentpath.core.errors import DataError, InputError, ShapeError
from latentpath.models.image_networks import reduced
from latentpath.training.shadow import (
    ShadowConfig,
    _train_shadow_reference,
    rows_in_order,
    stream,
    train_shadows,
)

QUICK = ShadowConfig(steps=6, batch=5, width=2, side=16, at_once=3, weight_decay=0.01)


def people(n: int = 23, channels: int = 1, height: int = 16, width: int = 16):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(n, channels, height, width, generator=generator, dtype=torch.float64)
    return images * 2 - 1, torch.arange(n) % 3


def halves(models: int, n: int) -> torch.Tensor:
    return torch.rand(models, n, generator=torch.Generator().manual_seed(1)) < 0.5


@pytest.mark.parametrize(
    ("channels", "height", "width", "models"), [(1, 16, 16, 4), (3, 13, 18, 5), (1, 9, 40, 2)]
)
def test_equal_to_training_one_by_one(channels, height, width, models):
    images, labels = people(channels=channels, height=height, width=width)
    inside = halves(models, len(images))
    inside[0] = False
    inside[0, 7] = True  # one image alone, fewer than a batch
    inside[1] = True
    together = train_shadows(images, labels, inside, num_classes=3, config=QUICK)
    answers = together.logits(images, batch=10)
    assert answers.shape == (models, len(images), 3)
    for number in range(models):
        alone = _train_shadow_reference(
            images, labels, inside[number], number, num_classes=3, config=QUICK
        )
        # AdamW divides by the gradient's size, which for the smallest is mostly rounding.
        torch.testing.assert_close(answers[number], alone(images), atol=1e-8, rtol=1e-8)
        torch.testing.assert_close(together.module(number)(images), answers[number])


def test_models_do_not_depend_on_their_company():
    images, labels = people()
    inside = halves(5, len(images))
    whole = train_shadows(images, labels, inside, num_classes=3, config=QUICK).logits(images)
    for at_once in (1, 4, 100):
        config = replace(QUICK, at_once=at_once)
        found = train_shadows(images, labels, inside, num_classes=3, config=config)
        torch.testing.assert_close(found.logits(images), whole, atol=1e-8, rtol=1e-8)


def test_seeds_decide():
    images, labels = people()
    inside = torch.ones(2, len(images), dtype=torch.bool)

    def answers(seed: int) -> torch.Tensor:
        config = replace(QUICK, seed=seed)
        return train_shadows(images, labels, inside, num_classes=3, config=config).logits(images)

    assert torch.equal(answers(0), answers(0))
    assert not torch.allclose(answers(0), answers(1), atol=1e-3)
    assert not torch.allclose(*answers(0), atol=1e-3)


def test_training_leaves_the_callers_random_numbers_alone():
    images, labels = people()
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    train_shadows(images, labels, halves(2, len(images)), num_classes=3, config=QUICK)
    assert torch.equal(torch.rand(3), expected)


def test_it_learns_what_it_is_shown_and_nothing_else():
    """Random labels can only be learnt by heart."""
    images, labels = people(40)
    inside = halves(3, 40)
    config = ShadowConfig(steps=150, batch=16, width=4, side=16)
    models = train_shadows(images.float(), labels, inside, num_classes=3, config=config)
    loss = torch.stack(
        [F.cross_entropy(row, labels, reduction="none") for row in models.logits(images.float())]
    )
    assert loss[inside].mean() < 0.1
    assert loss[~inside].mean() > 0.8


def test_batches_show_every_row_before_any_again():
    order = rows_in_order(torch.tensor([4, 7, 9]), 2, stream(0, 0))
    seen = torch.cat([next(order) for _ in range(6)])
    for start in range(0, 12, 3):
        assert sorted(seen[start : start + 3].tolist()) == [4, 7, 9]


def test_large_images_are_reduced():
    images = torch.arange(64.0 * 32).reshape(1, 1, 64, 32)
    small = reduced(images, 16)
    assert small.shape == (1, 1, 16, 8)
    assert small[0, 0, 0, 0] == images[0, 0, :4, :4].mean()
    assert reduced(images, 64) is images


def test_progress_counts_the_steps_of_all_models():
    images, labels = people()
    told = []
    config = replace(QUICK, steps=25, at_once=2)
    train_shadows(
        images,
        labels,
        halves(3, len(images)),
        num_classes=3,
        config=config,
        progress=lambda *args: told.append(args[:3]),
    )
    assert told == [("shadow models", done, 75) for done in (40, 50, 70, 75)]


def test_what_does_not_fit_is_refused():
    images, labels = people()
    inside = halves(2, len(images))
    with pytest.raises(ShapeError, match="inside"):
        train_shadows(images, labels, inside[:, 1:], num_classes=3)
    with pytest.raises(ShapeError, match="bool"):
        train_shadows(images, labels, inside.int(), num_classes=3)
    with pytest.raises(DataError, match="without images"):
        train_shadows(images, labels, inside & False, num_classes=3)
    with pytest.raises(DataError, match="labels from 0 to 1"):
        train_shadows(images, labels, inside, num_classes=2)
    with pytest.raises(InputError, match="steps of at least 1"):
        ShadowConfig(steps=0)
