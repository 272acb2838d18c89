"""No training of ours runs a layer that must not run channels-last, however narrow it is."""

from __future__ import annotations

import pytest
import torch

from latentpath.core import ConvolutionWatch, faulty_layers
from latentpath.generators import StyleGAN2
from latentpath.training import (
    ClassifierConfig,
    EncoderConfig,
    GeneratorConfig,
    WitnessConfig,
    train_classifier,
    train_encoder,
    train_generator,
)
from latentpath.training.classifier_training import train_witness
from latentpath.training.shadow import ShadowConfig, train_shadows

SIDE = 8
LABELS = torch.arange(6) % 2


def images(channels):
    return torch.rand(6, channels, SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 2 - 1


def classifier(width):
    config = ClassifierConfig(steps=1, batch=4, width=width)
    return train_classifier(images(1), LABELS, num_classes=2, config=config)


def encoder(width):
    torch.manual_seed(0)
    generator = StyleGAN2(
        z_dim=4, c_dim=0, w_dim=4, img_resolution=SIDE, img_channels=3,
        synthesis_kwargs={"channel_base": 64, "channel_max": 8},
    )  # fmt: skip
    config = EncoderConfig(steps=1, batch=4, width=width, perceptual=0)
    return train_encoder(images(3), generator, config=config)


def witness(width):
    config = WitnessConfig(steps=1, batch=4, width=width, embedding=4)
    return train_witness(images(1), LABELS, num_people=2, config=config)


def shadow(width):
    inside = torch.tensor([[True, False] * 3])
    config = ShadowConfig(steps=1, batch=2, width=width, side=16, at_once=1)
    train_shadows(images(3), LABELS, inside, num_classes=2, config=config)
    return torch.nn.Identity()


def generator(width):
    config = GeneratorConfig(
        total_images=4, batch=4, z_dim=4, w_dim=4, mapping_layers=1, channel_base=max(width, SIDE),
        channel_max=width,
    )  # fmt: skip
    return train_generator(images(1), LABELS, num_classes=2, config=config)


@pytest.mark.parametrize("width", [1, 2, 4, 7, 8, 9, 15, 16, 17])
@pytest.mark.parametrize("train", [classifier, encoder, witness, shadow, generator])
def test_training_runs_no_faulty_layer(train, width):
    with ConvolutionWatch() as seen:
        network = train(width)
    assert not seen.faulty
    assert faulty_layers(network) == []
    if width > 1 and train is not shadow:
        layout = torch.channels_last
        wide = [weight for weight in network.parameters() if weight.ndim == 4]
        assert all(weight.is_contiguous(memory_format=layout) for weight in wide)
