"""Weights folders: networks that belong together, and all others refused."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import torch

from latentpath.core.errors import WeightsError
from latentpath.generators import (
    AutoencoderEncoder,
    AutoencoderGenerator,
    StyleGAN3,
    save_encoder,
    save_generator,
    save_weights,
)
from latentpath.models import Classifier, Encoder, Surrogate, save_surrogate
from latentpath.production import Bundle, load_bundle, produce_set
from support import tiny_models


@pytest.fixture(scope="module")
def folder(tmp_path_factory, bundle):
    return tiny_models.save_bundle(tmp_path_factory.mktemp("weights"), bundle)


@pytest.fixture
def copy(tmp_path, folder):
    shutil.copytree(folder, tmp_path / "copy")
    return tmp_path / "copy"


def refused(folder):
    with pytest.raises(WeightsError) as error:
        load_bundle(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


@torch.no_grad()
def test_round_trip(folder, bundle, data):
    again = load_bundle(folder)
    w = torch.randn(2, 8)
    images = bundle.generator.synthesize(w)
    assert torch.allclose(again.generator.synthesize(w), images, atol=1e-5)
    for name in ("encoder", "identity", "classifier"):
        network = getattr(again, name)
        assert torch.allclose(network(images), getattr(bundle, name)(images), atol=1e-5)
        assert not network.training
        assert not any(p.requires_grad for p in network.parameters())
    again.check(data)


@pytest.mark.parametrize("kind", ["generator", "encoder", "identity", "classifier"])
def test_a_missing_file_is_named(copy, kind):
    (copy / f"{kind}.safetensors").unlink()
    text = refused(copy)
    assert f"{kind}.safetensors" in text
    assert "no such file" in text


def test_no_folder(tmp_path):
    assert "no such file" in refused(tmp_path / "none")


def test_swapped_files(copy):
    shutil.copy(copy / "identity.safetensors", copy / "classifier.safetensors")
    assert "'classifier'" in refused(copy)


def test_a_damaged_file(copy):
    path = copy / "encoder.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert "encoder.safetensors" in refused(copy)


@pytest.mark.parametrize(
    ("kind", "network", "text"),
    [
        ("encoder", lambda: Encoder(9, 1, 16, 2), "latent width"),
        ("encoder", lambda: Encoder(8, 3, 16, 2), "encoder's image channels"),
        ("identity", lambda: Classifier(44, 3, 16, 2), "identity classifier's image channels"),
        ("classifier", lambda: Classifier(3, 3, 16, 2), "class classifier's image channels"),
    ],
)
def test_networks_that_do_not_fit_each_other(copy, kind, network, text):
    made = network()
    save_weights(copy / f"{kind}.safetensors", made, kind=kind, config=made.config)
    assert text in refused(copy)


@pytest.mark.parametrize(
    ("other", "text"),
    [
        (tiny_models.private_set((20, 14, 11)), "44 people"),
        (tiny_models.private_set((30, 14)), "3 classes"),
        (tiny_models.private_set(channels=3), "made for grey images, the data are colour"),
    ],
)
def test_a_set_that_the_networks_were_not_made_for(bundle, other, text):
    with pytest.raises(WeightsError) as error:
        produce_set(other, bundle, tiny_models.quick_config())
    assert text in str(error.value)
    assert isinstance(bundle, Bundle)


class TestSurrogate:
    def test_absent(self, folder):
        assert load_bundle(folder).surrogate is None

    @pytest.fixture
    def with_one(self, copy, bundle):
        surrogate = Surrogate(8, 16, 3, 5, 2)
        surrogate.trained_for = bundle.networks.fingerprint()
        save_surrogate(copy / "surrogate.safetensors", surrogate, half=True)
        return copy

    def test_opened_with_its_networks(self, with_one, bundle):
        surrogate = load_bundle(with_one).surrogate
        replace(bundle.networks, surrogate=surrogate).check_trained_for()
        assert surrogate.config["width"] == 5
        assert load_bundle(with_one, without=("surrogate",)).surrogate is None

    @pytest.mark.parametrize("kind", ["generator", "identity", "classifier"])
    def test_stale(self, with_one, data, kind):
        other = tiny_models.bundle_for(data, seed=1)
        tiny_models.save_bundle(with_one / "others", other)
        shutil.copy(with_one / "others" / f"{kind}.safetensors", with_one)
        assert "run `latentpath train surrogate` again" in refused(with_one)
        assert load_bundle(with_one, without=("surrogate",)).surrogate is None

    def test_another_encoder_does_not_matter(self, with_one):
        made = Encoder(8, 1, 16, 2)
        save_weights(with_one / "encoder.safetensors", made, kind="encoder", config=made.config)
        assert load_bundle(with_one).surrogate is not None


def test_a_generator_of_another_kind(copy, data):
    """A set is produced with a StyleGAN3 that somebody put into the weights folder."""
    torch.manual_seed(0)
    options = {"channel_base": 64, "channel_max": 4, "num_layers": 3, "num_critical": 1}
    generator = StyleGAN3(8, 0, 8, tiny_models.SIDE, 1, synthesis_kwargs=options)
    save_generator(copy / "generator.safetensors", generator)
    (copy / "surrogate.safetensors").unlink(missing_ok=True)
    bundle = load_bundle(copy)
    assert isinstance(bundle.generator, StyleGAN3)
    made = produce_set(data, bundle, tiny_models.quick_config(count=3))
    assert len(made.samples) == 3


def test_an_autoencoder_with_its_own_encoder(copy, data):
    """Both halves of a diffusion model's autoencoder, put into the weights folder."""
    torch.manual_seed(0)
    sizes = {"channels": 1, "latent_channels": 2, "block_out_channels": [4, 4],
             "norm_num_groups": 2, "sample_size": tiny_models.SIDE}  # fmt: skip
    save_generator(copy / "generator.safetensors", AutoencoderGenerator(**sizes))
    save_encoder(copy / "encoder.safetensors", AutoencoderEncoder(**sizes))
    (copy / "surrogate.safetensors").unlink(missing_ok=True)
    bundle = load_bundle(copy)
    assert bundle.generator.latent_dim == bundle.encoder.latent_dim == 128
    made = produce_set(data, bundle, tiny_models.quick_config(count=3))
    assert len(made.samples) == 3
