"""Weights on disk: they come back as they were, and anything else is refused."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

import latentpath
from latentpath.core.errors import WeightsError
from latentpath.generators import StyleGAN2, load_generator, save_generator
from latentpath.generators.weights import build, read_weights, save_weights

safetensors = pytest.importorskip("safetensors.torch")


class Small(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.register_buffer("count", torch.tensor(7))


CONFIG = {"inputs": 3, "outputs": 2}


@pytest.fixture
def module():
    torch.manual_seed(0)
    return Small(**CONFIG)


@pytest.fixture
def path(tmp_path, module):
    file = tmp_path / "deep" / "small.safetensors"
    save_weights(file, module, kind="small", config=CONFIG, notes={"seed": 3})
    return file


def refused(path, kind="small"):
    with pytest.raises(WeightsError) as error:
        build(read_weights(path, kind=kind), Small, source=path)
    text = str(error.value)
    assert "\n" not in text
    assert path.name in text
    return text


class TestRoundTrip:
    def test_everything_comes_back(self, path, module):
        weights = read_weights(path, kind="small")
        assert (weights.kind, weights.config, weights.notes) == ("small", CONFIG, {"seed": 3})
        again = build(weights, Small, source=path)
        for name, tensor in module.state_dict().items():
            assert torch.equal(again.state_dict()[name], tensor)
        assert not again.training
        assert not any(p.requires_grad for p in again.parameters())

    def test_half_precision(self, tmp_path, module):
        whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
        big = nn.Linear(100, 100)
        save_weights(whole, big, kind="small", config={})
        save_weights(half, big, kind="small", config={}, half=True)
        assert half.stat().st_size < 0.6 * whole.stat().st_size
        state = read_weights(half).state
        assert state["weight"].dtype == torch.float32
        assert torch.equal(state["weight"], big.weight.detach().half().float())

    def test_integers_stay_integers(self, tmp_path, module):
        file = tmp_path / "small.safetensors"
        save_weights(file, module, kind="small", config=CONFIG, half=True)
        count = read_weights(file).state["count"]
        assert count.dtype == torch.int64
        assert count == 7

    def test_channels_last_and_shared_tensors(self, tmp_path):
        first = nn.Conv2d(4, 4, 3).to(memory_format=torch.channels_last)
        both = nn.Sequential(first, first)
        file = tmp_path / "shared.safetensors"
        save_weights(file, both, kind="pair", config={})
        state = read_weights(file).state
        assert torch.equal(state["0.weight"], first.weight)
        assert torch.equal(state["1.weight"], first.weight)

    def test_writing_again_replaces_and_leaves_nothing_beside_it(self, path, module):
        nn.init.zeros_(module.linear.weight)
        save_weights(path, module, kind="small", config=CONFIG)
        assert not read_weights(path).state["linear.weight"].any()
        assert [file.name for file in path.parent.iterdir()] == [path.name]

    def test_a_failed_write_keeps_the_old_file(self, path, module, monkeypatch):
        before = path.read_bytes()

        def broken(state, file, metadata):
            file.write_bytes(b"half")
            raise OSError("disk full")

        monkeypatch.setattr(safetensors, "save_file", broken)
        with pytest.raises(OSError, match="disk full"):
            save_weights(path, module, kind="small", config=CONFIG)
        assert path.read_bytes() == before


class TestRefused:
    def test_absent(self, tmp_path):
        assert "no such file" in refused(tmp_path / "nothing.safetensors")

    def test_a_folder(self, tmp_path):
        refused(tmp_path)

    @pytest.mark.parametrize("keep", [0, 5, 60, -1])
    def test_cut_off(self, path, keep):
        path.write_bytes(path.read_bytes()[:keep])
        refused(path)

    def test_a_pickle(self, tmp_path):
        file = tmp_path / "model.pt"
        torch.save({"a": torch.zeros(2)}, file)
        refused(file)

    def test_foreign_safetensors(self, tmp_path):
        file = tmp_path / "foreign.safetensors"
        safetensors.save_file({"a": torch.zeros(2)}, file)
        assert "without our metadata" in refused(file)

    @pytest.mark.parametrize(
        "header", ["not json", "[]", '"text"', '{"kind": "small"}', '{"config": {}}']
    )
    def test_foreign_header(self, tmp_path, header):
        file = tmp_path / "foreign.safetensors"
        safetensors.save_file({"a": torch.zeros(2)}, file, metadata={"latentpath": header})
        refused(file)

    def test_another_kind(self, path):
        text = refused(path, kind="encoder")
        assert "'encoder'" in text
        assert "'small'" in text

    @pytest.mark.parametrize(
        "config",
        [
            {"inputs": 3, "outputs": 5},
            {"inputs": 3},
            {"inputs": 3, "outputs": 2, "depth": 4},
            {"inputs": "3", "outputs": 2},
            {"inputs": -3, "outputs": 2},
            [3, 2],
        ],
    )
    def test_configuration_that_does_not_fit(self, tmp_path, module, config):
        file = tmp_path / "small.safetensors"
        header = json.dumps({"kind": "small", "config": config})
        state = dict(module.state_dict())
        safetensors.save_file(state, file, metadata={"latentpath": header})
        refused(file)

    @pytest.mark.parametrize("change", ["missing", "unknown", "shape"])
    def test_tensors_that_do_not_fit(self, tmp_path, module, change):
        state = dict(module.state_dict())
        if change == "missing":
            del state["linear.bias"]
        elif change == "unknown":
            state["linear.more"] = torch.zeros(2)
        else:
            state["linear.bias"] = torch.zeros(4)
        file = tmp_path / "small.safetensors"
        header = json.dumps({"kind": "small", "config": CONFIG})
        safetensors.save_file(state, file, metadata={"latentpath": header})
        named = {"missing": "linear.bias", "unknown": "linear.more", "shape": "[4]"}
        assert named[change] in refused(file)


class TestLoadGenerator:
    def test_round_trip(self, tmp_path):
        torch.manual_seed(1)
        g = StyleGAN2(4, 2, 5, 8, 3, {"num_layers": 1}, {"channel_max": 4, "conv_clamp": 9})
        g.eval().requires_grad_(False)  # frozen weights take a path that rounds differently
        file = tmp_path / "generator.safetensors"
        save_generator(file, g, notes={"seed": 1})
        again = latentpath.load_generator(file)
        w = torch.randn(3, 5)
        assert torch.equal(again.synthesize(w), g.synthesize(w))
        assert again.init_kwargs == g.init_kwargs
        assert not again.training

    def test_another_network(self, path):
        with pytest.raises(WeightsError, match="stylegan2"):
            load_generator(path)

    def test_impossible_configuration(self, tmp_path):
        file = tmp_path / "generator.safetensors"
        config = {"z_dim": 4, "c_dim": 0, "w_dim": 4, "img_resolution": 9, "img_channels": 1}
        header = json.dumps({"kind": "stylegan2", "config": config})
        safetensors.save_file({"a": torch.zeros(1)}, file, metadata={"latentpath": header})
        with pytest.raises(WeightsError, match="stylegan2 network"):
            load_generator(file)
