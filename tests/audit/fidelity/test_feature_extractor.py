"""Features of images: the extractor that ships, and anybody's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from latentpath.audit.fidelity.feature_extractor import (
    AlexNetFeatures,
    extract_features,
    extractor_name,
)
from latentpath.core.errors import DataError, InputError, ShapeError


def grey(images: torch.Tensor) -> torch.Tensor:
    """Two features that can be computed by hand."""
    return torch.stack([images.mean((1, 2, 3)), images.amax((1, 2, 3))], 1)


def test_a_function_serves_and_sees_images_from_minus_one_to_one():
    images = np.zeros((3, 4, 4, 1), np.uint8)
    images[1] = 255
    images[2, 0] = 255
    features = extract_features(images, grey)
    assert features.dtype == torch.float64
    assert features.tolist() == [[-1, -1], [1, 1], [-0.5, 1]]
    assert extractor_name(grey) == "grey"


@pytest.mark.parametrize("channels", [1, 3])
def test_the_one_that_ships(people, lpips, channels):
    images = people(7, channels=channels).images
    extractor = AlexNetFeatures(lpips)
    told = []
    features = extract_features(
        images, extractor, batch=3, progress=lambda *event: told.append(event[:3])
    )
    assert features.shape == (7, 256)
    assert told[-1] == ("features", 7, 7)
    assert "AlexNet" in extractor_name(extractor)
    # Batches change nothing, and equal images have equal features.
    assert torch.allclose(features, extract_features(images, extractor), atol=1e-4)
    twice = extract_features(images[[2, 2]], extractor)
    assert torch.equal(twice[0], twice[1])


def test_the_one_that_ships_is_the_last_convolution(people, lpips):
    seen = []
    handle = lpips.convs[4].register_forward_hook(lambda *event: seen.append(event[2]))
    try:
        found = extract_features(people(3).images, AlexNetFeatures(lpips))
    finally:
        handle.remove()
    assert torch.allclose(found, seen[0].relu().mean((2, 3)).double())


def test_maps_are_averaged():
    maps = nn.Conv2d(1, 5, 3).eval()
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1)).astype(np.uint8)
    assert extract_features(images, maps).shape == (4, 5)
    assert extractor_name(maps) == "Conv2d"


def test_what_is_no_extractor_is_refused():
    images = np.zeros((4, 8, 8, 1), np.uint8)
    with pytest.raises(InputError, match="eval mode"):
        extract_features(images, nn.Flatten())
    with pytest.raises(ShapeError, match="one row of features per image"):
        extract_features(images, lambda batch: batch.mean())
    with pytest.raises(ShapeError):
        extract_features(images, lambda batch: batch.flatten(1).numpy())
    with pytest.raises(DataError, match="finite"):
        extract_features(images, lambda batch: batch.flatten(1) / 0)
    with pytest.raises(DataError, match="at least one image"):
        extract_features(images[:0], grey)
