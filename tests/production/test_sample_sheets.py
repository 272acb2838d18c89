"""Sheets of samples while a generator is trained."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from latentpath.core import InputError
from latentpath.generators import StyleGAN2
from latentpath.production import train_network
from latentpath.production.sample_sheets import SampleSheets
from latentpath.training import GeneratorConfig, train_generator
from support import tiny_models

CONFIG = GeneratorConfig(
    total_images=12, batch=4, z_dim=4, w_dim=5, mapping_layers=1, channel_base=32, channel_max=4
)


def test_training_draws_the_same_numbers_with_and_without(tmp_path):
    torch.manual_seed(0)
    images, labels = torch.rand(8, 1, 8, 8) * 2 - 1, torch.arange(8) % 2
    told = []

    class Watched(SampleSheets):
        def __call__(self, generator, images_seen, keep):
            told.append((images_seen, keep))
            super().__call__(generator, images_seen, keep)

    first, second = (
        train_generator(images, labels, num_classes=2, config=CONFIG, snapshot=snapshot)
        for snapshot in (None, Watched(tmp_path, 2, seed=3, every=8))
    )
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name
    assert told == [(8, True), (12, False)]  # at 12 because training ends there
    assert {path.name for path in tmp_path.iterdir()} == {"generator.png", "fakes000000.png"}


@pytest.mark.parametrize("c_dim", [0, 3])
def test_the_latents_are_the_same_each_time_and_classes_are_rows(tmp_path, c_dim):
    torch.manual_seed(1)
    generator = StyleGAN2(4, c_dim, 5, 8, 1, {"num_layers": 1}, {"channel_max": 4})
    generator.eval().requires_grad_(False)
    state = torch.get_rng_state()
    sheets = SampleSheets(tmp_path, 3, seed=0, every=20_000)
    sheets(generator, 20_032, keep=True)
    sheets(generator, 20_064, keep=False)
    assert torch.equal(torch.get_rng_state(), state)
    kept, present = (
        np.asarray(Image.open(tmp_path / name)) for name in ("fakes000020.png", "generator.png")
    )
    assert np.array_equal(kept, present)
    assert kept.shape == (3 * (64 + 2) + 2, 10 * (64 + 2) + 2)
    with torch.no_grad():  # brighter, so another picture
        generator.synthesis.b8.torgb.bias += 0.5
    sheets(generator, 40_000, keep=False)
    assert np.asarray(Image.open(tmp_path / "generator.png")).mean() > kept.mean() + 10


def test_names_count_thousands(tmp_path):
    with pytest.raises(InputError, match="sheet_images"):
        train_network(
            "generator", tiny_models.private_set((4, 4)), tmp_path, config=CONFIG, sheet_images=999
        )
