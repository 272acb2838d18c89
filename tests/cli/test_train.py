"""`latentpath train`: from a generator that there is, and what an interruption leaves."""

from __future__ import annotations

import signal

import pytest

from latentpath.cli.console import Bars
from latentpath.core import hash_file
from latentpath.generators import load_generator, read_weights, save_generator

SMALL = {
    "generator": ["--total-images", "12", "--batch", "4", "--channel-max", "4", "--no-conditional"],
    "classifier": ["--steps", "3", "--batch", "4", "--width", "2"],
}
ALIKE = ["--channel-base", "64", "--z-dim", "4", "--w-dim", "8", "--mapping-layers", "1"]


@pytest.fixture
def train(command, images):
    """Run `latentpath train`; returns what the command does."""
    return lambda network, *more: command(
        "train", network, "--data", images, *SMALL[network], *more
    )


@pytest.mark.filterwarnings("default::latentpath.core.LatentpathWarning")
def test_a_generator_grows_out_of_another(train, weights, tmp_path):
    parent = tmp_path / "parent" / "generator.safetensors"
    notes = {"result": {"images seen": 50.0}}
    save_generator(parent, load_generator(weights / "generator.safetensors"), notes=notes)
    argv = ("generator", "--quiet", "--resolution", "32", "--from")
    code, out, errors = train(*argv, parent.parent, "--out", tmp_path / "w")
    assert code == 0, errors
    assert len(errors) == 1
    assert errors[0].endswith("the discriminator starts afresh")
    made = tmp_path / "w" / "generator.safetensors"
    assert str(made) in out
    assert load_generator(made).img_resolution == 32
    expected = {
        "sha256": hash_file(parent),
        "resolution": 16,
        "images seen": 50,
        "discriminator": "fresh",
    }
    assert read_weights(made).notes["initial"] == expected
    # What was grown may grow again, with its discriminator.
    code, _, errors = train(*argv, made, "--out", tmp_path / "again")
    assert (code, errors) == (0, [])
    initial = read_weights(tmp_path / "again" / "generator.safetensors").notes["initial"]
    assert (initial["images seen"], initial["discriminator"]) == (62, "taken over")


def test_what_cannot_be_started_from(refused, images, weights, tmp_path):
    argv = ["train", "generator", "--quiet", "--data", images, "--from"]
    assert "no such file" in refused(*argv, tmp_path / "none", "--out", tmp_path / "w")
    encoder = weights / "encoder.safetensors"
    assert "kind 'encoder'" in refused(*argv, encoder, "--out", tmp_path / "w")
    assert "choose another --out" in refused(*argv, weights, "--out", weights)
    assert not (tmp_path / "w").exists()


def test_only_a_generator_starts_from_one(refused, images, weights):
    argv = ["train", "encoder", "--data", images, "--out", weights, "--from", weights]
    assert "--from" in refused(*argv)


@pytest.mark.parametrize("network", ["generator", "classifier"])
def test_asked_to_stop_it_saves_and_goes_on(network, train, tmp_path, monkeypatch):
    def stop(self, stage, done, total, figures):
        if stage == network and done * 3 > total:
            signal.raise_signal(signal.SIGTERM)

    place = {"generator": "8 images", "classifier": "step 2"}[network]
    argv = (network, *(ALIKE if network == "generator" else ()), "--out", tmp_path / "w")
    with monkeypatch.context() as patch:
        patch.setattr(Bars, "__call__", stop)
        code, _, errors = train(*argv)
    assert code == 143
    assert errors[-1].startswith(f"latentpath: stopped at {place}, saved in ")
    assert errors[-1].endswith(", as asked: the same command goes on from there")
    code, _, errors = train(*argv)
    assert code == 0
    assert any(f"latentpath: training goes on at {place}" in line for line in errors)


def test_a_generator_that_saw_more_than_is_asked_for_is_kept_and_said_to_be(train, tmp_path):
    argv = ("generator", *ALIKE, "--out", tmp_path / "w")
    assert train(*argv)[0] == 0
    code, out, errors = train(*argv)
    assert (code, [e for e in errors if "goes on at" in e or "kept" in e]) == (0, [])
    code, out, errors = train(*argv, "--total-images", "4")
    told = "\n".join(errors)
    assert code == 0
    assert "generator: kept as it is, trained on 12 images, more than the 4 that" in told
    assert "goes on at" not in told, "nothing is trained"
    assert "images seen 12" in out
    assert read_weights(tmp_path / "w" / "generator.safetensors").notes["result"] == {
        "images seen": 12.0
    }


@pytest.mark.parametrize(
    ("command_words", "option", "value"),
    [
        (("train", "classifier"), "--resolution", "24"),
        (("train", "classifier"), "--validation", "0.5"),
        (("run",), "--resolution", "24"),
    ],
)
def test_what_no_network_can_be_is_told_before_images_are_read(
    refused, monkeypatch, tmp_path, command_words, option, value
):
    def read(*arguments, **options):
        raise AssertionError("images were read")

    for name in ("train_command", "run_command"):
        monkeypatch.setattr(f"latentpath.cli.{name}.read_data", read)
    words = [*command_words, "--data", tmp_path / "d", "--out", tmp_path / "w", option, value]
    assert f"{option}" in refused(*words)
