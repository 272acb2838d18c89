"""Image classifiers on MONAI's networks."""

from __future__ import annotations

import pytest
import torch

from latentpath.core.errors import InputError, ShapeError
from latentpath.models import Classifier

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
