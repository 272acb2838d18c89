"""Random augmentation."""

from __future__ import annotations

import pytest
import torch

from latentpath.training import AugmentConfig, augment

NOTHING = AugmentConfig(shift=0, rotate=0, scale=0, contrast=0, brightness=0)
EVERYTHING = AugmentConfig(shear=0.1, flip=True, cutout=0.3, noise=0.1)


def only(**options):
    return AugmentConfig(
        **{"shift": 0, "rotate": 0, "scale": 0, "contrast": 0, "brightness": 0, **options}
    )


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def images():
    return torch.rand(16, 3, 10, 10) * 2 - 1


@pytest.mark.parametrize("shape", [(5, 1, 8, 8), (3, 3, 7, 12), (1, 1, 28, 28)])
def test_shape_and_dtype_stay(shape):
    images = torch.rand(shape)
    changed = augment(images, EVERYTHING)
    assert changed.shape == images.shape
    assert changed.dtype == images.dtype
    assert torch.isfinite(changed).all()


def test_probability_zero_is_the_identity(images):
    assert torch.equal(augment(images, EVERYTHING, 0.0), images)


def test_all_switched_off_is_the_identity(images):
    assert torch.allclose(augment(images, NOTHING), images, atol=1e-5)


def test_the_seed_decides(images):
    def draw(seed):
        torch.manual_seed(seed)
        return augment(images, EVERYTHING)

    assert torch.equal(draw(3), draw(3))
    assert not torch.equal(draw(3), draw(4))


def test_inputs_are_left_alone(images):
    before = images.clone()
    augment(images, EVERYTHING)
    assert torch.equal(images, before)


def test_gradients_flow(images):
    images.requires_grad_()
    augment(images, EVERYTHING).square().sum().backward()
    assert torch.isfinite(images.grad).all()
    assert (images.grad.abs().sum(dim=[1, 2, 3]) > 0).all()


def test_each_change_happens_with_its_probability():
    images = torch.rand(2000, 1, 4, 4)
    changed = augment(images, only(brightness=0.5), 0.3)
    share = float(((changed - images).abs().amax(dim=[1, 2, 3]) > 1e-5).float().mean())
    assert share == pytest.approx(0.3, abs=0.05)


def test_brightness_shifts_within_its_bound(images):
    shift = augment(images, only(brightness=0.2)) - images
    per_image = shift.mean(dim=[1, 2, 3], keepdim=True)
    assert torch.allclose(shift, per_image.expand_as(shift), atol=1e-5)
    assert float(per_image.abs().max()) <= 0.2 + 1e-5
    assert len(torch.unique(per_image)) == len(images)


def test_contrast_keeps_the_mean(images):
    changed = augment(images, only(contrast=0.4))
    mean = images.mean(dim=[1, 2, 3])
    assert torch.allclose(changed.mean(dim=[1, 2, 3]), mean, atol=1e-5)
    ratio = changed.std(dim=[1, 2, 3]) / images.std(dim=[1, 2, 3])
    assert float((ratio - 1).abs().max()) <= 0.4 + 1e-4
    assert float(ratio.std()) > 0.05


def test_flip_mirrors_about_half(images):
    images = images.repeat(20, 1, 1, 1)
    changed = augment(images, only(flip=True))
    kept = (changed - images).abs().amax(dim=[1, 2, 3]) < 1e-4
    mirrored = (changed - images.flip(3)).abs().amax(dim=[1, 2, 3]) < 1e-4
    assert (kept | mirrored).all()
    assert 0.35 < float(mirrored.float().mean()) < 0.65


def test_shift_moves_by_at_most_its_share():
    images = torch.full((200, 1, 20, 20), -1.0)
    images[:, :, 9:11, 9:11] = 1.0
    changed = augment(images, only(shift=0.2))
    weight = changed + 1
    positions = torch.arange(20) + 0.5
    for dim in (2, 3):
        other = 5 - dim
        profile = weight.sum(dim=[1, other])
        centre = (profile * positions).sum(dim=1) / profile.sum(dim=1)
        moved = (centre - 10).abs()
        assert 3.0 < float(moved.max()) <= 4.0 + 0.05  # a fifth of 20 pixels


def test_cutout_blanks_a_square():
    images = torch.ones(50, 2, 20, 20)
    changed = augment(images, only(cutout=0.25))
    assert set(changed.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(changed[:, 0], changed[:, 1])
    blank = (changed[:, 0] == 0).sum(dim=[1, 2])
    assert int(blank.max()) <= 36
    assert int(blank.min()) >= 4
    for hole in changed[:, 0] == 0:
        rows, columns = int(hole.any(dim=1).sum()), int(hole.any(dim=0).sum())
        assert int(hole.sum()) == rows * columns


def test_noise_has_its_strength():
    images = torch.zeros(64, 1, 32, 32)
    deviation = augment(images, only(noise=0.2)).std(dim=[1, 2, 3])
    assert float(deviation.max()) <= 0.22
    assert 0.07 < float(deviation.mean()) < 0.13  # uniform strengths up to 0.2


def test_flat_images_stay_flat_under_geometry():
    images = torch.full((20, 1, 9, 9), 0.37)
    changed = augment(images, only(shift=0.3, rotate=45.0, scale=0.3, shear=0.3, flip=True))
    assert torch.allclose(changed, images, atol=1e-5)
