"""What a weights file is, told without loading its weights."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import torch

import latentpath
from latentpath.core.errors import WeightsError
from latentpath.generators import inspect_weights, save_encoder, save_generator, save_weights
from latentpath.generators.autoencoder import AutoencoderEncoder, AutoencoderGenerator
from latentpath.models import Classifier
from support import (
    pickle_assembler as assembler,
    published_files as published,
    published_stylegan3,
    rosinality_reference,
    watching,
)

safetensors = pytest.importorskip("safetensors.torch")

SIZES = {"channels": 1, "latent_channels": 2, "block_out_channels": [8, 8], "norm_num_groups": 4,
         "sample_size": 16}  # fmt: skip


def text(path, **options):
    return "\n".join(inspect_weights(path, **options).report())


def pickled(network, path):
    path.write_bytes(published.pickled({"G_ema": network}))
    return path


@pytest.mark.parametrize("make", [published.small, published_stylegan3.generator])
def test_pickles(tmp_path, make):
    path = pickled(make(c_dim=3), tmp_path / "network-snapshot-000000.pkl")
    facts = inspect_weights(path)
    own = latentpath.load_generator(path)
    assert (facts.channels, facts.side, facts.classes) == (1, 16, 3)
    for words in ("16x16", "3 classes", f"{sum(p.numel() for p in own.parameters()):,}", "train"):
        assert words in text(path)
    assert ("StyleGAN3-T" in text(path)) == (make is published_stylegan3.generator)
    save_generator(tmp_path / "own.safetensors", own, notes={"source": "somewhere"})
    assert "source: somewhere" in text(tmp_path / "own.safetensors")
    assert inspect_weights(tmp_path / "own.safetensors").side == 16


def test_rosinality(tmp_path):
    state = rosinality_reference.state_dict()
    torch.save({"g_ema": state, "latent_avg": torch.zeros(6)}, tmp_path / "550000.pt")
    safetensors.save_file(state, tmp_path / "g.safetensors")
    parts = {f"decoder.{name}": tensor for name, tensor in state.items()}
    torch.save({"state_dict": {**parts, "encoder.x": torch.zeros(2)}, "opts": {}},
               tmp_path / "psp.pt")  # fmt: skip
    for name, words in (
        ("550000.pt", ["rosinality's StyleGAN2 (g_ema)", "in the file"]),
        ("g.safetensors", ["rosinality's StyleGAN2", "not in the file"]),
        ("psp.pt", ["pSp", "encoder: beside it", "--encoder"]),
    ):
        found = text(tmp_path / name)
        assert all(word in found for word in (*words, "16x16", "colour")), found


def test_autoencoders(tmp_path):
    config = {"_class_name": "AutoencoderKL", "block_out_channels": [8, 8], "latent_channels": 2,
              "norm_num_groups": 4, "sample_size": 32, "scaling_factor": 0.5}  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError):
        inspect_weights(tmp_path)
    (tmp_path / "diffusion_pytorch_model.safetensors").write_bytes(b"")
    for words in ("AutoencoderKL", "32x32", "2x16x16", "--encoder"):
        assert words in text(tmp_path)
    generator, encoder = AutoencoderGenerator(**SIZES), AutoencoderEncoder(**SIZES)
    save_generator(tmp_path / "own.safetensors", generator)
    save_encoder(tmp_path / "half.safetensors", encoder)
    assert "2x8x8" in text(tmp_path / "own.safetensors")
    facts = inspect_weights(tmp_path / "half.safetensors")
    assert (facts.channels, facts.side) == (1, 16)
    assert "generator" in facts.needs[0]


def test_state_dicts(tmp_path):
    stand_in = published.small()
    torch.save(stand_in.state_dict(), tmp_path / "g.pt")
    assert "needs: a configuration" in text(tmp_path / "g.pt")
    assert "tensors" in text(tmp_path / "g.pt")
    config = json.loads(json.dumps(stand_in._init_kwargs))
    assert "16x16" in text(tmp_path / "g.pt", config=config)
    (tmp_path / "g.json").write_text("{}")
    with pytest.raises(WeightsError):
        inspect_weights(tmp_path / "g.pt")


def test_own_networks_and_checkpoints(tmp_path):
    network = Classifier(3, 1, 16, 2)
    notes = {"class_names": ["a", "b", "c"], "images": 12, "result": {"accuracy": 0.5}}
    for kind in ("classifier", "identity"):
        path = tmp_path / f"{kind}.safetensors"
        save_weights(path, network, kind=kind, config=network.config, notes=notes)
        found = text(path)
        assert all(word in found for word in (kind, "num_classes 3", "12 images", "accuracy 0.5"))
    fits = {"channels": 1, "classes": ["a", "b", "c"], "people": 3}
    classifier = inspect_weights(tmp_path / "classifier.safetensors")
    assert classifier.misfits(**fits) == []
    assert "grey" in classifier.misfits(**{**fits, "channels": 3})[0]
    assert "3 classes" in classifier.misfits(**{**fits, "classes": ["a", "b"]})[0]
    assert "'a'" in classifier.misfits(**{**fits, "classes": ["b", "a", "c"]})[0]
    assert classifier.misfits(**{**fits, "people": 9}) == []
    identity = inspect_weights(tmp_path / "identity.safetensors")
    assert "3 people" in identity.misfits(**{**fits, "people": 9})[0]
    assert identity.misfits(**{**fits, "classes": ["x"]}) == []
    parts = {"format": 1, "config": {"kind": "GeneratorConfig"}, "data": "", "rng": 0, "state": {}}
    torch.save(parts, tmp_path / "generator.checkpoint")
    assert "checkpoint of a training" in text(tmp_path / "generator.checkpoint")


def test_weights_are_not_loaded(tmp_path):
    """Files of more numbers than may become resident, one of which is not even there."""
    big = 96 << 20
    path = tmp_path / "g.pt"
    torch.save(
        {"g_ema": rosinality_reference.state_dict(), "d": {"x": torch.zeros(big // 4)}}, path
    )
    header = {"a": {"dtype": "F32", "shape": [big // 4], "data_offsets": [0, big]}}
    content = json.dumps(header).encode()
    sparse = tmp_path / "g.safetensors"
    with sparse.open("wb") as file:
        file.write(len(content).to_bytes(8, "little") + content)
        file.truncate(8 + len(content) + big)
    for each in (path, sparse):
        inspect_weights(each)  # what it imports
        memory = watching.Memory()
        with watching.nothing_happens():
            inspect_weights(each)
        assert memory.growth() < big // 2


class TestRefused:
    @pytest.mark.parametrize(
        "content", [b"", b"PK\x03\x04", b"<html>", b"\x10\0\0\0\0\0\0\0{}", b"x"]
    )
    @pytest.mark.parametrize("name", ["g.pt", "g.pkl", "g.safetensors", "g"])
    def test_no_weights(self, tmp_path, name, content):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(WeightsError) as error:
            inspect_weights(tmp_path / name)
        assert "\n" not in str(error.value)

    def test_absent(self, tmp_path):
        for name in ("g.pt", "g.pkl", "g.safetensors", "g"):
            with pytest.raises(WeightsError):
                inspect_weights(tmp_path / name)

    def test_code_is_not_run(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        trap = assembler.Calls(os.system, assembler.COMMAND)
        (tmp_path / "g.pt").write_bytes(assembler.saved({"g_ema": trap}, True))
        (tmp_path / "g.pkl").write_bytes(assembler.within(assembler.call("os.system", "x")))
        for name in ("g.pt", "g.pkl"):
            with pytest.raises(WeightsError, match="system"):
                inspect_weights(tmp_path / name)
        assert not (tmp_path / assembler.MARKER).exists()

    def test_other_tensors(self, tmp_path):
        np.savez(tmp_path / "g.npz", a=np.zeros(2))
        with pytest.raises(WeightsError):
            inspect_weights(tmp_path / "g.npz")
        header = json.dumps({"kind": "classifier", "config": {}})
        safetensors.save_file({"a": torch.zeros(1)}, tmp_path / "c.safetensors",
                              metadata={"latentpath": header})  # fmt: skip
        assert "classifier" in text(tmp_path / "c.safetensors")
        header = json.dumps({"kind": "stylegan2", "config": {}})
        safetensors.save_file({"a": torch.zeros(1)}, tmp_path / "c.safetensors",
                              metadata={"latentpath": header})  # fmt: skip
        with pytest.raises(WeightsError):
            inspect_weights(tmp_path / "c.safetensors")
