"""Plain state dicts: with a configuration they open, without one the message says so."""

from __future__ import annotations

import json
import os

import pytest
import torch

import latentpath
from latentpath.core.errors import InputError, WeightsError
from latentpath.generators import save_generator
from support import pickle_assembler as assembler, published_files as published

safetensors = pytest.importorskip("safetensors.torch")

SUFFIXES = ["pt", "pth", "bin", "safetensors", "weights"]


@pytest.fixture
def stand_in():
    return published.small(c_dim=2)


@pytest.fixture
def config(stand_in):
    return json.loads(json.dumps(stand_in._init_kwargs))


def write(path, state):
    if path.suffix in (".safetensors", ".weights"):
        safetensors.save_file(dict(state), path)
    else:
        torch.save(state, path)
    return path


def assert_same(generator, state):
    assert generator.state_dict().keys() == state.keys()
    for name, tensor in generator.state_dict().items():
        assert torch.equal(tensor, state[name].float()), name


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("how", ["dict", "file", "beside"])
def test_with_its_configuration(tmp_path, stand_in, config, suffix, how):
    path = write(tmp_path / f"g.{suffix}", stand_in.state_dict())
    file = tmp_path / ("g.json" if how == "beside" else "other.json")
    file.write_text(json.dumps(config))
    given = {"dict": config, "file": str(file), "beside": None}[how]
    generator = latentpath.load_generator(path, config=given)
    assert_same(generator, stand_in.state_dict())
    assert not generator.training
    assert generator.init_kwargs["mapping_kwargs"] == config["mapping_kwargs"]


def test_in_the_old_format(tmp_path, stand_in, config):
    path = tmp_path / "g.pt"
    torch.save(stand_in.state_dict(), path, _use_new_zipfile_serialization=False)
    assert_same(latentpath.load_generator(path, config=config), stand_in.state_dict())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions(tmp_path, stand_in, config, dtype):
    path = write(tmp_path / "g.pt", stand_in.to(dtype).state_dict())
    assert_same(latentpath.load_generator(path, config=config), stand_in.state_dict())


def test_among_others(tmp_path, stand_in, config):
    other = published.small(seed=3, c_dim=2)
    states = {"G": other.state_dict(), "D": {"x": torch.zeros(1)}, "G_ema": stand_in.state_dict()}
    path = write(tmp_path / "g.pt", states)
    assert_same(latentpath.load_generator(path, config=config), stand_in.state_dict())
    del states["G_ema"]
    path = write(tmp_path / "g.pt", states)
    assert_same(latentpath.load_generator(path, config=config), other.state_dict())


class TestRefused:
    def error(self, path, config=None, kind=WeightsError):
        with pytest.raises(kind) as error:
            latentpath.load_generator(path, config=config)
        text = str(error.value)
        assert "\n" not in text
        return text

    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_without_a_configuration(self, tmp_path, stand_in, suffix):
        path = write(tmp_path / f"g.{suffix}", stand_in.state_dict())
        text = self.error(path)
        assert "g.json" in text
        assert "config=" in text

    @pytest.mark.parametrize(
        "content", ["", "[]", "3", "null", "{", '{"z_dim": 6}', "x" * 10, "[" * 100_000, "\x00"]
    )
    def test_configuration_files(self, tmp_path, stand_in, content):
        path = write(tmp_path / "g.pt", stand_in.state_dict())
        (tmp_path / "g.json").write_text(content)
        assert "g.json" in self.error(path)

    def test_absent_configuration_file(self, tmp_path, stand_in):
        path = write(tmp_path / "g.pt", stand_in.state_dict())
        assert "no.json" in self.error(path, tmp_path / "no.json")

    @pytest.mark.parametrize(
        "change",
        [
            {"z_dim": None},
            {"z_dim": "6"},
            {"w_dim": 1 << 40},
            {"img_resolution": 9},
            {"img_resolution": 32},
            {"more": 1},
            {"mapping_kwargs": 3},
            {"mapping_kwargs": {"num_layers": 10**9}},
            {"synthesis_kwargs": {"nonsense": 1}},
            {"synthesis_kwargs": {"channel_max": 4}},
        ],
    )
    def test_configurations(self, tmp_path, stand_in, config, change):
        path = write(tmp_path / "g.pt", stand_in.state_dict())
        self.error(path, {**config, **change})

    def test_another_type(self, tmp_path, stand_in):
        path = write(tmp_path / "g.pt", stand_in.state_dict())
        self.error(path, 3, InputError)

    def test_a_file_with_its_own_configuration(self, tmp_path, stand_in, config):
        path = tmp_path / "g.pkl"
        path.write_bytes(published.pickled(stand_in))
        assert "leave config= out" in self.error(path, config, InputError)
        own = latentpath.load_generator(path)
        save_generator(tmp_path / "own.safetensors", own)
        self.error(tmp_path / "own.safetensors", config, InputError)

    @pytest.mark.parametrize(
        "value",
        [
            torch.zeros(2),
            [torch.zeros(2)],
            {},
            3,
            {"a": 1},
            {1: torch.zeros(2)},
            {"a": torch.zeros(2, dtype=torch.int64)},
            {"a": torch.zeros(2, dtype=torch.complex64)},
            {"a": torch.zeros(1).expand(10**12)},
            {"a": torch.eye(2).to_sparse()},
            {"a": torch.zeros(2, device="meta")},
            {"G_ema": torch.zeros(2)},
        ],
    )
    def test_what_is_no_state_dict(self, tmp_path, config, value):
        path = tmp_path / "g.pt"
        torch.save(value, path)
        assert "g.pt" in self.error(path, config)

    def test_missing_and_unknown_tensors(self, tmp_path, stand_in, config):
        state = dict(stand_in.state_dict())
        bias = state.pop("mapping.fc0.bias")
        assert "mapping.fc0.bias" in self.error(write(tmp_path / "g.pt", state), config)
        state = {**state, "mapping.fc0.bias": bias, "more": bias}
        assert "more" in self.error(write(tmp_path / "g.pt", state), config)

    @pytest.mark.parametrize("zipped", [True, False])
    def test_code_is_not_run(self, tmp_path, config, zipped, monkeypatch):
        monkeypatch.chdir(tmp_path)
        trap = assembler.Calls(os.system, assembler.COMMAND)
        path = tmp_path / "g.pt"
        path.write_bytes(assembler.saved({"a": trap}, zipped))
        text = self.error(path, config)
        assert "system" in text
        assert "weights_only" not in text
        assert not (tmp_path / assembler.MARKER).exists()

    @pytest.mark.parametrize("suffix", ["pt", "safetensors", "weights"])
    @pytest.mark.parametrize("zipped", [True, False])
    def test_cut_off(self, tmp_path, stand_in, config, suffix, zipped):
        path = tmp_path / f"g.{suffix}"
        if suffix == "pt":
            state = stand_in.state_dict()
            torch.save(state, path, _use_new_zipfile_serialization=zipped)
        else:
            write(path, stand_in.state_dict())
        data = path.read_bytes()
        for length in range(1, len(data), len(data) // 30):
            path.write_bytes(data[:length])
            self.error(path, config, (WeightsError, InputError))

    def test_a_published_pickle_under_another_name(self, tmp_path, stand_in):
        """Opens all the same: the content tells."""
        path = tmp_path / "network"
        path.write_bytes(published.pickled(stand_in))
        assert_same(latentpath.load_generator(path), stand_in.state_dict())

    def test_own_weights_under_another_name(self, tmp_path, stand_in):
        (tmp_path / "g.pkl").write_bytes(published.pickled(stand_in))
        save_generator(tmp_path / "own.weights", latentpath.load_generator(tmp_path / "g.pkl"))
        assert_same(latentpath.load_generator(tmp_path / "own.weights"), stand_in.state_dict())

    @pytest.mark.parametrize("name", ["no.pt", "no.safetensors", "no.pkl", "no", "."])
    def test_absent(self, tmp_path, name):
        self.error(tmp_path / name)

    def test_hostile_configuration_in_own_weights(self, tmp_path):
        path = tmp_path / "g.safetensors"
        config = {"z_dim": 4, "c_dim": 0, "w_dim": 4, "img_resolution": 8, "img_channels": 1,
                  "mapping_kwargs": {"num_layers": 10**9}}  # fmt: skip
        header = json.dumps({"kind": "stylegan2", "config": config})
        safetensors.save_file({"a": torch.zeros(1)}, path, metadata={"latentpath": header})
        assert "num_layers" in self.error(path)
