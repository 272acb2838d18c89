"""Autoencoders that diffusers saved: opened without it, equal to it, and their near misses."""

from __future__ import annotations

import json
import os
import shutil

import pytest
import torch

import latentpath
from latentpath.core.errors import InputError, ShapeError, WeightsError
from latentpath.generators import (
    AutoencoderEncoder,
    AutoencoderGenerator,
    convert_generator,
    load_encoder,
    read_weights,
)
from latentpath.training import load_pretrained
from support import pickle_assembler as assembler

diffusers = pytest.importorskip("diffusers")
pytest.importorskip("safetensors")

SIZES = {
    "in_channels": 1, "out_channels": 1, "block_out_channels": [8, 12],
    "down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2,
    "latent_channels": 2, "norm_num_groups": 4, "sample_size": 16,
}  # fmt: skip
FORMS = {
    "plain": {},
    "deep": {"layers_per_block": 2, "block_out_channels": [8, 8, 4], "in_channels": 3,
             "out_channels": 3, "down_block_types": ["DownEncoderBlock2D"] * 3,
             "up_block_types": ["UpDecoderBlock2D"] * 3, "scaling_factor": 0.3},
    "shifted": {"shift_factor": 0.6, "use_quant_conv": False, "use_post_quant_conv": False,
                "mid_block_add_attention": False},
    "normalised": {"latents_mean": [0.5, -1.0], "latents_std": [2.0, 0.25]},
}  # fmt: skip


def made(**options):
    torch.manual_seed(0)
    model = diffusers.AutoencoderKL(**{**SIZES, **options})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A small autoencoder, saved once."""
    folder = tmp_path_factory.mktemp("vae")
    model = made()
    model.save_pretrained(folder)
    return model, folder


@pytest.fixture
def copy(saved, tmp_path):
    shutil.copytree(saved[1], tmp_path / "vae")
    return tmp_path / "vae"


def change(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return folder


@pytest.mark.parametrize("form", FORMS)
@torch.no_grad()
def test_equal_to_diffusers(tmp_path, form):
    model = made(**FORMS[form])
    model.save_pretrained(tmp_path)
    generator, encoder = latentpath.load_generator(tmp_path), load_encoder(tmp_path)
    model, generator, encoder = (part.double() for part in (model, generator, encoder))
    draw = torch.Generator().manual_seed(0)
    w = torch.randn(2, generator.latent_dim, generator=draw, dtype=torch.float64)
    own = w.view(2, *generator.latent_shape) / model.config.scaling_factor
    if model.config.latents_std:
        own = own * torch.tensor(model.config.latents_std).double()[:, None, None]
        own = own + torch.tensor(model.config.latents_mean).double()[:, None, None]
    own = own + (model.config.shift_factor or 0)
    expected = model.decode(own).sample
    image = generator.synthesize(w)
    assert image.shape == expected.shape == (2, generator.img_channels, 16, 16)
    assert float((image - expected).abs().max()) <= 1e-6 * float(expected.abs().max())
    # The encoder's answer comes back: mode of the latents in the same units.
    means = model.encode(image).latent_dist.mode()
    seen = generator.synthesize(encoder(image))
    assert torch.allclose(seen, model.decode(means).sample, rtol=1e-5, atol=1e-5)


def test_gradients(saved):
    """A walk differentiates images by latents."""
    generator = latentpath.load_generator(saved[1])
    w = torch.randn(2, generator.latent_dim).requires_grad_()
    (gradient,) = torch.autograd.grad(generator.synthesize(w).square().sum(), w)
    assert gradient.abs().sum() > 0


def test_places(saved, tmp_path):
    model, folder = saved
    w = torch.randn(1, 128)
    image = latentpath.load_generator(folder).synthesize(w)
    shutil.copytree(folder, tmp_path / "pipeline" / "vae")
    (tmp_path / "pipeline" / "model_index.json").write_text("{}")
    file = folder / "diffusion_pytorch_model.safetensors"
    for place in (tmp_path / "pipeline", file, str(folder)):
        assert torch.equal(latentpath.load_generator(place).synthesize(w), image)
    old = tmp_path / "old"
    shutil.copytree(folder, old)
    (old / file.name).unlink()
    torch.save(model.state_dict(), old / "diffusion_pytorch_model.bin")
    assert torch.equal(latentpath.load_generator(old).synthesize(w), image)


def test_names_of_old_versions(saved, tmp_path, copy):
    model, folder = saved
    state = {}
    for name, tensor in model.state_dict().items():
        for new, was in (("to_q", "query"), ("to_k", "key"), ("to_v", "value")):
            name = name.replace(f".{new}.", f".{was}.")
        state[name.replace("to_out.0", "proj_attn")] = tensor
    (copy / "diffusion_pytorch_model.safetensors").unlink()
    torch.save(state, copy / "diffusion_pytorch_model.bin")
    w = torch.randn(1, 128)
    image = latentpath.load_generator(folder).synthesize(w)
    assert torch.equal(latentpath.load_generator(copy).synthesize(w), image)


def test_another_resolution(saved):
    generator = latentpath.load_generator(saved[1], config={"sample_size": 24})
    assert (generator.img_resolution, generator.latent_shape) == (24, (2, 12, 12))
    w = torch.randn(1, 288)
    expected = saved[0].decode(w.view(1, 2, 12, 12) / 0.18215).sample
    assert torch.allclose(generator.synthesize(w), expected, atol=1e-4)


def test_convert(saved, tmp_path):
    target, second = tmp_path / "generator.safetensors", tmp_path / "encoder.safetensors"
    converted = convert_generator(saved[1], target, encoder=second)
    text = "\n".join(converted.lines())
    for words in ("AutoencoderKL", "16x16", "grey", "2x8x8", "0.18215", str(second)):
        assert words in text
    assert read_weights(target).kind == "autoencoder"
    generator, encoder = latentpath.load_generator(target), load_encoder(second)
    assert isinstance(generator, AutoencoderGenerator)
    assert isinstance(encoder, AutoencoderEncoder)
    w = torch.randn(2, 128)
    image = latentpath.load_generator(saved[1]).synthesize(w)
    assert torch.equal(generator.synthesize(w), image)
    assert torch.equal(encoder(image), load_encoder(saved[1])(image))


def test_scaling_is_part_of_what_they_are(saved):
    """Equal weights under another scaling factor are another generator, to surrogates, too."""
    states = [
        latentpath.load_generator(saved[1], config={"scaling_factor": factor}).state_dict()
        for factor in (0.5, 0.25)
    ]
    assert not torch.equal(states[0]["spread"], states[1]["spread"])


def test_it_is_not_trained(saved, tmp_path):
    convert_generator(saved[1], tmp_path / "generator.safetensors")
    for place in (tmp_path / "generator.safetensors", saved[1]):
        with pytest.raises(InputError, match="AutoencoderGenerator"):
            load_pretrained(place)


class TestRefused:
    def error(self, path, kind=WeightsError, **options):
        with pytest.raises(kind) as error:
            latentpath.load_generator(path, **options)
        assert "\n" not in str(error.value)
        return str(error.value)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"_class_name": "VQModel"}, "DecoderGenerator"),
            ({"_class_name": ["AutoencoderKL"]}, "list"),
            ({"block_out_channels": [8, 1 << 30]}, "block_out_channels"),
            ({"block_out_channels": [8] * 40}, "block_out_channels"),
            ({"block_out_channels": []}, "block_out_channels"),
            ({"block_out_channels": 8}, "block_out_channels"),
            ({"block_out_channels": [8, "x"]}, "block_out_channels"),
            ({"block_out_channels": [8, 16]}, "instead of"),
            ({"layers_per_block": 10**6}, "layers_per_block"),
            ({"layers_per_block": 2}, "instead of"),
            ({"norm_num_groups": 5}, "norm_num_groups"),
            ({"norm_num_groups": 0}, "norm_num_groups"),
            ({"sample_size": 15}, "sample_size"),
            ({"sample_size": [16, 32]}, "sample_size"),
            ({"sample_size": 1 << 20}, "sample_size"),
            ({"scaling_factor": 0}, "scaling_factor"),
            ({"scaling_factor": "1"}, "scaling_factor"),
            ({"latents_mean": [0.0]}, "latents"),
            ({"latent_channels": 1 << 20}, "latent_channels"),
            ({"act_fn": "gelu"}, "gelu"),
            ({"up_block_types": ["AttnUpDecoderBlock2D"]}, "up_block_types"),
            ({"out_channels": 3}, "two ends"),
            ({"in_channels": 2, "out_channels": 2}, "1 or 3"),
            ({"use_quant_conv": False}, "1x1"),
            ({"mid_block_add_attention": "no"}, "mid_block_add_attention"),
        ],
    )
    def test_configurations(self, copy, changes, words):
        assert words in self.error(change(copy, **changes))

    def test_a_weights_folder_of_ours(self, tmp_path):
        (tmp_path / "generator.safetensors").write_bytes(b"")
        assert "generator.safetensors" in self.error(tmp_path)

    @pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100_000, "\x00", "null"])
    def test_no_configuration(self, copy, content):
        (copy / "config.json").write_text(content)
        self.error(copy)

    def test_what_is_missing(self, copy, tmp_path):
        (copy / "diffusion_pytorch_model.safetensors").unlink()
        assert "diffusion_pytorch_model" in self.error(copy)
        (copy / "config.json").unlink()
        assert "config.json" in self.error(copy)
        assert "config.json" in self.error(tmp_path)

    def test_code_is_not_run(self, copy, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        (copy / "diffusion_pytorch_model.safetensors").unlink()
        trap = assembler.Calls(os.system, assembler.COMMAND)
        data = assembler.saved({"decoder.conv_in.weight": trap}, True)
        (copy / "diffusion_pytorch_model.bin").write_bytes(data)
        assert "system" in self.error(copy)
        # A class of the file's own, which diffusers would import with trust_remote_code.
        assert "hub" in self.error(change(copy, _class_name="hub.Model"))
        (copy / "hub.py").write_text("raise SystemExit")
        assert not (tmp_path / assembler.MARKER).exists()

    def test_no_encoder(self, tmp_path):
        torch.save({"a": torch.zeros(1)}, tmp_path / "g.pt")
        with pytest.raises(WeightsError, match="train encoder"):
            load_encoder(tmp_path / "g.pt")

    def test_shapes(self, saved):
        with pytest.raises(ShapeError):
            latentpath.load_generator(saved[1]).synthesize(torch.zeros(2, 3))
        with pytest.raises(ShapeError):
            load_encoder(saved[1])(torch.zeros(2, 1, 8, 8))
