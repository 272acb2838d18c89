"""The encoder network."""

from __future__ import annotations

import pytest
import torch

from latentpath.core.errors import ShapeError
from latentpath.models import Encoder

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
def test_images_of_other_channels(shape):
    with pytest.raises(ShapeError, match="images"):
        Encoder(4, 1, 16, width=2)(torch.zeros(shape))
