"""Where the command line writes, and what it refuses to write where."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("monai")
pytest.importorskip("safetensors")
pytest.importorskip("PIL")

from PIL import Image

from latentpath.cli import main
from support import tiny_models

OPEN = ["--gate-quantile", "0", "--gate-identity", "1", "--no-gate-class"]
QUICK = ["--quiet", "--k", "3", "--steps", "5", "--passes", "1", "--count", "6", *OPEN]
AUDIT = ["--audit-steps", "2", "--audit-seeds", "1"]


@pytest.fixture
def produce(command, images, weights, tmp_path):
    """Run `produce` into tmp_path/set; returns the exit code and the lines of standard error."""

    def run(*options, data=images, out=tmp_path / "set"):
        argv = ["produce", "--data", data, "--weights", weights, "--out", out, *QUICK, *options]
        code, _, lines = command(*argv)
        return code, lines

    return run


def test_a_report_inside_the_set_is_refused(produce, tmp_path):
    code, lines = produce("--report", tmp_path / "set" / "set" / "report.html")
    assert code == 2
    assert "real images" in lines[-1]
    assert not (tmp_path / "set").exists()


def test_an_earlier_report_is_kept(produce, tmp_path):
    report = tmp_path / "report.html"
    report.write_text("mine")
    code, lines = produce("--report", report)
    assert code == 2
    assert "--overwrite" in lines[-1]
    assert report.read_text() == "mine"
    assert not (tmp_path / "set").exists()


def test_nothing_is_written_into_the_data(produce, images, tmp_path):
    before = sorted(images.rglob("*"))
    for options, out in [
        ([], images / "set"),
        (["--report", images / "report.html"], tmp_path / "set"),
    ]:
        code, lines = produce(*options, out=out)
        assert code == 2, options
        assert "inside it" in lines[-1]
    train = ["train", "classifier", "--data", images, "--out", images / "w", "--quiet"]
    assert main([str(word) for word in train]) == 2
    assert sorted(images.rglob("*")) == before


def test_impossible_audit_options_are_found_before_any_work(produce, tmp_path):
    code, lines = produce("--report", tmp_path / "r.html", "--audit-steps", "0")
    assert code == 2
    assert "audit_steps" in lines[-1]
    assert not (tmp_path / "set").exists()


def test_test_images_that_are_all_private_are_refused_before_any_work(produce, images, tmp_path):
    code, lines = produce("--report", tmp_path / "r.html", "--test", images, *AUDIT)
    assert code == 2
    assert "26 of 26" in lines[-1]
    assert "nobody else" in lines[-1]
    assert not (tmp_path / "set").exists()


@pytest.mark.filterwarnings("default::latentpath.core.errors.LatentpathWarning")
def test_a_report_is_for_its_owner_alone_and_leaves_out_private_test_images(
    produce, images, tmp_path
):
    others = tiny_models.write_folder(tmp_path / "others", tiny_models.private_set((5, 4), seed=7))
    private = next((images / "left").iterdir())
    (others / "left" / "again.png").write_bytes(private.read_bytes())
    code, lines = produce("--report", tmp_path / "r.html", "--test", others, *AUDIT)
    assert code == 0
    assert any("1 of 10 test images are also in the real set" in line for line in lines)
    utility = json.loads((tmp_path / "audit.json").read_text())["sets"]["walk"]["utility"]
    assert utility["test_images"] == 9
    for name in ("r.html", "audit.json"):
        assert (tmp_path / name).stat().st_mode & 0o077 == 0


def test_images_of_different_sizes_take_a_resolution(produce, images):
    path = images / "left" / "odd.png"
    first = next(iter((images / "left").glob("*.png")))
    Image.open(first).resize((19, 16)).save(path)
    first.unlink()  # as many people as the weights know
    code, lines = produce()
    assert code == 2
    assert "sizes" in lines[-1]
    code, lines = produce("--resolution", tiny_models.SIDE)
    assert (code, lines) == (0, [])


def test_a_weights_folder_that_cannot_be_made(images, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        argv = ["train", "classifier", "--data", images, "--out", out, "--quiet"]
        assert main([str(word) for word in argv]) == 2
        assert "a folder for weights" in capsys.readouterr().err
