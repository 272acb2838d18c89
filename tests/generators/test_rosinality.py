"""Generators in rosinality's form, alone, beside others, and in checkpoints of pSp and its kin."""

from __future__ import annotations

import argparse
import os

import pytest
import torch

import latentpath
from latentpath.core.errors import InputError, WeightsError
from latentpath.generators import StyleGAN2, convert_generator
from latentpath.training import load_pretrained
from support import pickle_assembler as assembler, rosinality_reference as reference

safetensors = pytest.importorskip("safetensors.torch")


@pytest.fixture(scope="module")
def state():
    return reference.state_dict()


@pytest.fixture
def opened(tmp_path):
    def open_(value, **choices):
        torch.save(value, tmp_path / "000123.pt", **choices)
        return latentpath.load_generator(tmp_path / "000123.pt")

    return open_


@pytest.fixture
def refused(opened):
    def refuse(value, kind=WeightsError):
        with pytest.raises(kind) as error:
            opened(value)
        assert "\n" not in str(error.value)
        assert "000123.pt" in str(error.value)
        return str(error.value)

    return refuse


def checkpoint(state):
    """What rosinality's train.py saves."""
    return {
        "g": {name: tensor + 1 for name, tensor in state.items()}, "d": {"x": torch.zeros(3)},
        "g_ema": state, "g_optim": {"state": {0: {"step": torch.zeros(())}}, "param_groups": [{}]},
        "args": argparse.Namespace(size=16, path="/data/x"), "ada_aug_p": 0.25,
    }  # fmt: skip


def psp(state, **more):
    """What pSp, e4e and ReStyle save."""
    parts = {f"decoder.{name}": tensor for name, tensor in state.items()}
    parts["encoder.input_layer.0.weight"] = torch.zeros(2, 3, 3, 3)
    return {"state_dict": parts, "opts": {"device": "cuda:0", "output_size": 16, "n": None}, **more}


FORMS = {
    "g_ema": lambda state: {"g_ema": state},
    "training": checkpoint,
    "alone": lambda state: state,
    "parallel": lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
    "psp": psp,
}


@pytest.mark.parametrize("form", FORMS)
def test_the_formulas(opened, state, form):
    generator = opened(FORMS[form](state)).double()
    z = torch.randn(3, 6, generator=torch.Generator().manual_seed(0)).double()
    w = generator.mapping.map(z)
    assert torch.allclose(w, reference.mapped(state, z), atol=1e-12)
    ws = torch.randn(3, generator.num_ws, 6, generator=torch.Generator().manual_seed(1)).double()
    expected = reference.images(state, ws)
    image = generator.synthesis(ws, noise_mode="const")
    # Theirs adds 1e-8 to the squares of scaled weights, ours to those of weights: 1e-7 or less.
    assert float((image - expected).abs().max()) <= 1e-6 * float(expected.abs().max())
    none = generator.synthesis(ws, noise_mode="none")
    assert not torch.allclose(none, expected, rtol=0.1)


def test_what_it_is_called(tmp_path, opened, state):
    opened(checkpoint(state))
    converted = convert_generator(tmp_path / "000123.pt", tmp_path / "generator.safetensors")
    text = "\n".join(converted.lines())
    assert "rosinality's StyleGAN2 (g_ema)" in text
    assert "16x16" in text
    again = latentpath.load_generator(tmp_path / "generator.safetensors")
    w = torch.zeros(1, 6)
    assert torch.equal(again.synthesize(w), opened(checkpoint(state)).synthesize(w))


def test_in_safetensors_and_in_the_old_format(tmp_path, opened, state):
    image = opened(state).synthesize(torch.zeros(1, 6))
    old = opened(checkpoint(state), _use_new_zipfile_serialization=False)
    assert torch.equal(old.synthesize(torch.zeros(1, 6)), image)
    safetensors.save_file(state, tmp_path / "g.safetensors")
    new = latentpath.load_generator(tmp_path / "g.safetensors")
    assert torch.equal(new.synthesize(torch.zeros(1, 6)), image)


@pytest.mark.parametrize("rows", [(), (1,), (6,)])
def test_the_average_beside_it(opened, state, rows):
    average = torch.arange(6.0)
    generator = opened(
        {"g_ema": state, "latent_avg": average.repeat(*rows, 1) if rows else average}
    )
    assert torch.equal(generator.mapping.w_avg, average)
    assert torch.equal(opened(psp(state, latent_avg=average)).mapping.w_avg, average)


def test_an_average_that_is_not_there(opened, state):
    average = opened({"g_ema": state}).mapping.w_avg
    z = torch.randn(20_000, 6, generator=torch.Generator().manual_seed(9))
    w = reference.mapped(state, z)
    assert ((average - w.mean(dim=0)) / w.std(dim=0)).abs().max() < 0.05
    assert torch.equal(opened({"g_ema": state}).mapping.w_avg, average)


@pytest.mark.parametrize(("channels", "base", "most"), [((8, 8, 4), 64, 8), ((8, 4, 2), 32, 8),
                                                        ((8, 8, 8), 128, 8)])  # fmt: skip
def test_sizes(opened, channels, base, most):
    generator = opened(reference.state_dict(channels=channels, layers=3, colours=1))
    options = generator.init_kwargs["synthesis_kwargs"]
    assert options == {"channel_base": base, "channel_max": most}
    assert generator.img_channels == 1
    assert generator.mapping.num_layers == 3


def test_another_filter(opened):
    state = reference.state_dict()
    taps = torch.tensor([1.0, 2.0, 1.0])
    for name in [name for name in state if name.endswith(".kernel")]:
        state[name] = taps.outer(taps) / 4
    generator = opened(state)
    assert generator.init_kwargs["synthesis_kwargs"]["resample_filter"] == [1.0, 2.0, 1.0]
    assert torch.equal(generator.synthesis.b8.resample_filter, taps.outer(taps) / 16)


def test_training_goes_on_from_it(tmp_path, opened, state):
    opened(checkpoint(state))
    with pytest.warns(latentpath.core.LatentpathWarning, match="afresh"):
        pretrained = load_pretrained(tmp_path / "000123.pt")
    assert isinstance(pretrained.generator, StyleGAN2)


class TestRefused:
    @pytest.mark.parametrize(
        "name", ["noises.noise_2", "convs.1.conv.modulation.bias", "style.2.bias", "to_rgb1.bias"]
    )
    def test_missing(self, refused, state, name):
        left = {key: tensor for key, tensor in state.items() if key != name}
        assert name in refused({"g_ema": left}) or name == "to_rgb1.bias"

    @pytest.mark.parametrize(
        ("name", "tensor"),
        [
            ("more", torch.zeros(2)),
            ("noises.noise_1", torch.zeros(1, 1, 4, 4)),
            ("conv1.conv.weight", torch.zeros(2, 8, 8, 3, 3)),
            ("convs.1.conv.weight", torch.zeros(1, 5, 8, 3, 3)),
            ("convs.3.conv.weight", torch.zeros(1, 8, 0, 3, 3)),
            ("style.1.weight", torch.zeros(6)),
            ("style.1.weight", torch.zeros(3_000_000, 1)),
            ("to_rgbs.99.bias", torch.zeros(1, 3, 1, 1)),
            ("convs.0.conv.blur.kernel", torch.zeros(4, 3)),
            ("convs.0.conv.blur.kernel", torch.eye(4)),
            ("input.input", torch.full((1, 8, 4, 4), torch.nan)),
        ],
    )
    def test_other_tensors(self, refused, state, name, tensor):
        refused({"g_ema": {**state, name: tensor}})

    @pytest.mark.parametrize("average", [
        torch.zeros(5), torch.zeros(()), torch.zeros(0, 6), torch.arange(12.0).view(2, 6), 3, "x",
        torch.zeros(1).expand(10**9, 6), torch.zeros(6, dtype=torch.int64),
    ])  # fmt: skip
    def test_averages(self, refused, state, average):
        refused({"g_ema": state, "latent_avg": average})

    def test_a_configuration(self, tmp_path, opened, state):
        opened(state)
        with pytest.raises(InputError, match="leave config= out"):
            latentpath.load_generator(tmp_path / "000123.pt", config={"z_dim": 6})

    def test_an_unknown_form_is_named(self, refused, state):
        """A g_ema of other names needs a configuration, which a plain state dict has."""
        assert "config=" in refused({"g_ema": {"a": torch.zeros(2)}})

    @pytest.mark.parametrize("zipped", [True, False])
    @pytest.mark.parametrize("place", ["args", "opts", "latent_avg", "g_ema", "d", "state_dict"])
    def test_code_is_not_run(self, tmp_path, state, zipped, place, monkeypatch):
        monkeypatch.chdir(tmp_path)
        trap = assembler.Calls(os.system, assembler.COMMAND)
        value = {**checkpoint(state), **psp(state), place: trap}
        if place == "args":
            value["args"] = argparse.Namespace(size=trap)
        path = tmp_path / "000123.pt"
        path.write_bytes(assembler.saved(value, zipped))
        with pytest.raises(WeightsError, match="system"):
            latentpath.load_generator(path)
        assert not (tmp_path / assembler.MARKER).exists()

    def test_a_namespace_with_a_reducer_of_its_own(self, refused, state):
        class Options(argparse.Namespace):
            pass

        Options.__module__, Options.__qualname__ = "__main__", "Options"
        import sys

        sys.modules["__main__"].Options = Options
        assert "Options" in refused({"g_ema": state, "args": Options(size=3)})
        del sys.modules["__main__"].Options
