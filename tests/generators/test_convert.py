"""`latentpath convert` and what it calls."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import latentpath
from latentpath.cli import main
from latentpath.core.errors import OutputExistsError, WeightsError
from latentpath.generators.load import convert_generator
from latentpath.generators.weights import read_weights
from support import pickle_assembler as assembler, published_files as published

pytest.importorskip("safetensors")


@pytest.fixture
def stand_in():
    return published.small(c_dim=3, img_channels=3, synthesis_kwargs={"channel_max": 8})


@pytest.fixture
def pickled(tmp_path, stand_in):
    path = tmp_path / "network-snapshot-000123.pkl"
    path.write_bytes(published.pickled(published.snapshot(stand_in)))
    return path


@pytest.fixture
def command(capsys):
    """Run `latentpath convert`; returns exit code, output and lines of error."""

    def run(*words):
        capsys.readouterr()
        code = main(["convert", *map(str, words)])
        found = capsys.readouterr()
        return code, found.out, found.err.splitlines()

    return run


def same_images(first, second, tolerance=0.0):
    z, c = torch.randn(2, first.z_dim), torch.eye(max(first.c_dim, 2))[:2, : first.c_dim]
    with torch.no_grad():
        difference = first(z, c, noise_mode="const") - second(z, c, noise_mode="const")
    return float(difference.abs().max()) <= tolerance


def test_a_published_pickle(command, pickled, stand_in, tmp_path):
    target = tmp_path / "deep" / "generator.safetensors"
    code, out, err = command(pickled, target)
    assert (code, err) == (0, [])
    parameters = sum(p.numel() for p in stand_in.parameters())
    for words in (str(target), "StyleGAN2-ADA", "16x16", "colour", "3 classes", "8, 8, 8",
                  f"{parameters:,} parameters", "z 6", "w 5", "skip"):  # fmt: skip
        assert words in out
    again = latentpath.load_generator(target)
    assert same_images(again, latentpath.load_generator(pickled))
    weights = read_weights(target, kind="stylegan2")
    assert weights.notes == {"source": "published StyleGAN2-ADA pickle", "network": "G_ema"}
    json.dumps(weights.config)
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_nothing_of_the_file_but_numbers_is_written(command, pickled, tmp_path):
    target = tmp_path / "generator.safetensors"
    command(pickled, target)
    content = target.read_bytes()
    for words in (b"raise SystemExit", b"/data/x.zip", b"module_src", tmp_path.name.encode()):
        assert words not in content


def test_help(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["convert", "--help"])
    assert stop.value.code == 0
    assert "--overwrite" in capsys.readouterr().out


def test_half(command, pickled, tmp_path):
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    assert command(pickled, whole)[0] == 0
    assert command(pickled, half, "--half")[0] == 0
    assert half.stat().st_size < 0.7 * whole.stat().st_size
    first, second = latentpath.load_generator(whole), latentpath.load_generator(half)
    assert same_images(first, second, tolerance=0.05)
    assert not same_images(first, second)


def test_a_state_dict(command, stand_in, tmp_path):
    torch.save(stand_in.state_dict(), tmp_path / "g.pt")
    target = tmp_path / "g.safetensors"
    code, _, err = command(tmp_path / "g.pt", target)
    assert (code, len(err)) == (2, 1)
    assert "configuration" in err[0]
    config = tmp_path / "kwargs.json"
    config.write_text(json.dumps(stand_in._init_kwargs))
    code, out, err = command(tmp_path / "g.pt", target, "--config", config)
    assert (code, err) == (0, [])
    assert "state dict" in out
    assert latentpath.load_generator(target).init_kwargs["c_dim"] == 3


class TestRefused:
    def test_what_is_there_already(self, command, pickled, tmp_path):
        target = tmp_path / "generator.safetensors"
        target.write_text("precious")
        code, out, err = command(pickled, target)
        assert (code, out, len(err)) == (2, "", 1)
        assert "exists" in err[0]
        assert target.read_text() == "precious"
        assert command(pickled, target, "--overwrite")[0] == 0
        latentpath.load_generator(target)

    def test_a_folder(self, pickled, tmp_path):
        (tmp_path / "x.safetensors").mkdir()
        with pytest.raises(OutputExistsError):
            convert_generator(pickled, tmp_path / "x.safetensors", overwrite=True)

    def test_another_suffix(self, command, pickled, tmp_path):
        code, _, err = command(pickled, tmp_path / "generator.pt")
        assert (code, len(err)) == (2, 1)
        assert ".safetensors" in err[0]

    def test_itself(self, command, pickled, tmp_path):
        target = tmp_path / "generator.safetensors"
        command(pickled, target)
        before = target.read_bytes()
        code, _, err = command(target, target, "--overwrite")
        assert (code, len(err)) == (2, 1)
        assert target.read_bytes() == before

    def test_a_hostile_file(self, command, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        path = tmp_path / "hostile.pkl"
        path.write_bytes(assembler.within(assembler.call("os.system", assembler.COMMAND)))
        target = tmp_path / "generator.safetensors"
        target.write_text("precious")
        code, out, err = command(path, target, "--overwrite")
        assert (code, out, len(err)) == (2, "", 1)
        assert "os.system" in err[0]
        assert target.read_text() == "precious"
        assert not Path(assembler.MARKER).exists()
        assert {p.name for p in tmp_path.iterdir()} == {"hostile.pkl", "generator.safetensors"}

    def test_absent(self, command, tmp_path):
        code, _, err = command(tmp_path / "no.pkl", tmp_path / "generator.safetensors")
        assert (code, len(err)) == (2, 1)
        assert "no such file" in err[0]

    def test_a_place_that_cannot_be(self, command, pickled, tmp_path):
        (tmp_path / "file").write_text("")
        code, _, err = command(pickled, tmp_path / "file" / "generator.safetensors")
        assert (code, len(err)) == (2, 1)

    def test_a_full_disk_leaves_nothing(self, pickled, tmp_path, monkeypatch):
        import safetensors
        import safetensors.torch

        def broken(state, file, metadata):
            file.write_bytes(b"half")
            raise safetensors.SafetensorError("No space left on device")

        monkeypatch.setattr(safetensors.torch, "save_file", broken)
        with pytest.raises(WeightsError, match="No space left"):
            convert_generator(pickled, tmp_path / "generator.safetensors")
        assert [p.name for p in tmp_path.iterdir()] == [pickled.name]
