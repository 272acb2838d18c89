"""`latentpath info FILE`: what it is, and whether it fits."""

from __future__ import annotations

import numpy as np
import pytest

from latentpath.cli import main
from latentpath.production import FILES
from latentpath.production.judgement import note_figures
from support import published_files as published, tiny_models

pytest.importorskip("safetensors")
pytest.importorskip("PIL")


@pytest.fixture
def command(capsys):
    def run(*words):
        capsys.readouterr()
        code = main(["info", *map(str, words), "--quiet"])
        found = capsys.readouterr()
        return code, found.out, found.err

    return run


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Three classes of small grey images."""
    folder = tmp_path_factory.mktemp("images") / "set"
    tiny_models.write_folder(folder, tiny_models.private_set())
    return folder


@pytest.mark.parametrize(
    ("choices", "fits"),
    [({}, True), ({"c_dim": 3}, True), ({"c_dim": 2}, False), ({"img_channels": 3}, False)],
)
def test_a_file_beside_data(command, tmp_path, images, choices, fits):
    path = tmp_path / "network.pkl"
    path.write_bytes(published.pickled(published.snapshot(published.small(**choices))))
    code, out, err = command(path)
    assert (code, err) == (0, "")
    assert "StyleGAN2-ADA" in out
    assert "needs:" in out
    code, out, err = command(path, "--data", images)
    assert code == (0 if fits else 2)
    assert ("fits: 44 people in 3 classes" in out) == fits
    assert ("--channels 3" in err) == ("img_channels" in choices)


def test_a_weights_folder(command, tmp_path, images):
    tiny_models.save_bundle(tmp_path, tiny_models.bundle_for(tiny_models.private_set()))
    code, out, _ = command(tmp_path, "--data", images)
    assert code == 0
    assert out.count("what:") == 4
    assert "fits: 44 people" in out
    assert "needs:" not in out, "what each needs lies beside it"
    weights = tmp_path / FILES["classifier"]
    note_figures(tmp_path, "classifier", weights, [], {}, "too_few_people")
    (tmp_path / FILES["encoder"]).unlink()
    code, out, _ = command(tmp_path)
    assert code == 0
    assert "\nneeds: encoder: `latentpath train`" in out
    assert "\nnot judged: classifier: too few people could be held out of its training" in out
    assert "\nnot judged: generator: its weights are not those that a training judged" in out


def test_the_splits_of_arrays_are_named(command, tmp_path):
    tiny_models.save_bundle(tmp_path, tiny_models.bundle_for(tiny_models.private_set()))
    data = tiny_models.private_set()
    split = np.arange(len(data)) % 2
    path = tmp_path / "x.npz"
    np.savez(path, images=data.images[..., 0], labels=data.labels, split=split)
    code, _, err = command(tmp_path / FILES["generator"], "--data", path)
    assert code == 2
    assert "the splits are 0 (22 images), 1 (22 images)" in err
    assert "choose one of them with --split, or all of them with --split all" in err
    assert command(tmp_path / FILES["generator"], "--data", path, "--split", "all")[0] == 0


def test_what_belongs_to_a_file(command, tmp_path, images):
    code, _, err = command("--data", images)
    assert code == 2
    assert "weights file" in err
    code, out, err = command(tmp_path / "none.pkl")
    assert (code, out) == (2, "")
    assert "no such file" in err
