"""The `latentpath` command."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("monai")
pytest.importorskip("safetensors")
pytest.importorskip("PIL")

from PIL import Image

import latentpath
from latentpath.data import read_image_set, read_manifest
from latentpath.generators.weights import save_weights
from latentpath.models import Classifier
from support import tiny_models

OPEN = ["--gate-quantile", "0", "--gate-identity", "1", "--no-gate-class"]
QUICK = ["--quiet", "--k", "3", "--steps", "5", "--passes", "1", *OPEN]


class TestProduce:
    def test_a_set_from_an_image_folder(self, command, images, weights, tmp_path):
        out = tmp_path / "set"
        code, shown, err = command(
            "produce", "--data", images, "--weights", weights, "--out", out, *QUICK, "--count", 9
        )
        assert (code, err) == (0, [])
        assert shown.startswith(f"set: {out / 'set'}, 9 images; of 10 samples on ")
        line = next(n for n in shown.splitlines() if n.startswith("use it with latentpath: "))
        scope: dict = {}
        exec(line.partition(": ")[2], scope)
        assert 1 <= len(scope["rows"]) <= 9
        made = read_image_set(out / "set")
        assert made.class_counts() == {"left": 5, "middle": 4}
        assert read_manifest(out / "set")["config"]["count"] == 9
        with np.load(out / "set" / "medmnist.npz") as file:
            assert sum(len(file[f"{part}_images"]) for part in ("train", "val", "test")) == 9

    def test_names_of_files_and_places_are_not_written(self, command, images, weights, tmp_path):
        out = tmp_path / "set"
        command(
            "produce", "--data", images, "--weights", weights, "--out", out, *QUICK, "--count", 6
        )
        for path in out.rglob("*"):
            content = path.read_bytes() if path.is_file() else b""
            for canary in ("person0", str(tmp_path), tmp_path.name, "elsewhere"):
                assert canary.encode() not in content, path
                assert canary not in str(path.relative_to(out))

    def test_overwrite(self, command, refused, images, weights, tmp_path):
        out = tmp_path / "set"
        argv = ["produce", "--data", images, "--weights", weights, "--out", out, *QUICK]
        assert command(*argv, "--count", 6)[0] == 0
        assert "holds a run" in refused(*argv, "--count", 9)
        assert len(read_image_set(out / "set")) == 6
        assert command(*argv, "--count", 9, "--overwrite")[0] == 0
        assert len(read_image_set(out / "set")) == 9

    def test_dropped_classes(self, command, weights, tmp_path):
        small = tiny_models.private_set((23, 3))
        images = tiny_models.write_folder(tmp_path / "small", small)
        argv = ["produce", "--data", images, "--weights", weights, "--out", tmp_path / "set"]
        options = [*QUICK, "--k", "5", "--small-classes", "drop", "--count", "7"]
        code, _, err = command(*argv, *options)
        assert code == 0
        why = "class 'middle' is missing from the set: fewer than k = 5 people have it"
        assert err == [f"latentpath: warning: {why}"]
        assert read_manifest(tmp_path / "set/set")["certificate"]["dropped_classes"] == ["middle"]
        card = (tmp_path / "set/set/README.md").read_text()
        assert "**Class middle is missing:** fewer than k = 5 people have it." in card

    def test_shortage_is_a_warning(self, command, images, weights, tmp_path, private):
        bundle = tiny_models.bundle_for(private)
        with_bias = Classifier(**bundle.classifier.config)
        with_bias.head.weight.data.zero_()
        with_bias.head.bias.data.copy_(with_bias.head.bias.data.new_tensor([9.0, 0.0]))
        folder = tiny_models.save_bundle(tmp_path / "weights", bundle)
        save_weights(
            folder / "classifier.safetensors",
            with_bias,
            kind="classifier",
            config=with_bias.config,
        )
        code, _, err = command(
            "produce", "--data", images, "--weights", folder, "--out", tmp_path / "set",
            *QUICK, "--gate-class", "--count", 10,
        )  # fmt: skip
        assert code == 0
        assert len(err) == 1
        assert "class 'middle' is missing from the set: no sample of it passed the gate" in err[0]
        assert re.search(r"\(of (\d+) it turned away \1 not in its class\)", err[0])

    def test_an_odd_set_is_a_warning_on_one_line(self, command, images, weights, tmp_path):
        """Warnings are errors in tests, but not in what the command's user sees."""
        first = sorted((images / "left").iterdir())
        first[1].write_bytes(first[0].read_bytes())
        argv = ["--data", images, "--weights", weights, "--out", tmp_path / "set", *QUICK]
        argv.append("--one-image-per-person")  # without it the copy is refused
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            code, out, err = command("produce", *argv, "--count", "6", "--one-image-per-person")
        assert code == 0
        assert out.startswith("set: ")
        assert len(err) == 1
        assert err[0].startswith("latentpath: warning: 2 images are exact copies")


def in_a_process(*argv):
    root = Path(latentpath.__file__).parents[1]
    found = subprocess.run(
        [sys.executable, "-m", "latentpath", *map(str, argv)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    return found.returncode, found.stdout, found.stderr.splitlines()


class TestBadInput:
    @pytest.fixture
    def argv(self, images, weights, tmp_path):
        return ["produce", "--data", images, "--weights", weights, "--out", tmp_path / "set"]

    @pytest.fixture
    def produce(self, refused, argv, tmp_path):
        def run(*more):
            line = refused(*argv, *QUICK, *more)
            assert not (tmp_path / "set").exists()
            return line

        return run

    def test_unreadable_image(self, produce, images):
        victim = next((images / "left").iterdir())
        victim.write_bytes(b"no picture")
        assert "1 of 26 that are not, the first is file " in produce()

    def test_truncated_image(self, produce, images):
        victim = next((images / "left").iterdir())
        victim.write_bytes(victim.read_bytes()[:60])
        assert "1 of 26 that are not" in produce()

    def test_empty_image(self, produce, images):
        victim = next((images / "middle").iterdir())
        victim.write_bytes(b"")
        line = produce()
        assert "the file is empty" in line
        assert victim.name not in line

    def test_mixed_sizes(self, produce, images):
        Image.new("L", (17, 16)).save(images / "left" / "odd.png")
        line = produce()
        assert "17x16" in line
        assert "file 1 of 27" in line

    def test_mixed_channels(self, produce, images):
        Image.new("RGB", (16, 16)).save(images / "left" / "odd.png")
        assert "26 grey and 1 colour ones, the first of the rarer kind is file 1 of 27" in produce()

    def test_no_images(self, produce, tmp_path):
        (tmp_path / "empty").mkdir()
        produce("--data", tmp_path / "empty")

    def test_no_data(self, produce, tmp_path):
        assert "absent" in produce("--data", tmp_path / "nothing")

    def test_label_column(self, produce, images, tmp_path):
        table = tmp_path / "table.csv"
        with table.open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["image", "diagnosis"])
            writer.writerows([[p.relative_to(images), "x"] for p in images.rglob("*.png")])
        line = produce("--csv", table)
        assert "'label'" in line
        assert "got none of this name among its columns (2 of them)" in line
        line = produce("--csv", table, "--label-column", "Diagnose")
        assert "Diagnose" in line

    def test_table_of_absent_images(self, produce, tmp_path):
        table = tmp_path / "table.csv"
        table.write_text("image,label\nnobody.png,a\n")
        assert "1 of 1 absent, the first is in line 2" in produce("--csv", table)

    def test_identity_column_without_table(self, produce):
        assert "identities" in produce("--identity-column", "person")

    def test_too_few_people(self, produce):
        line = produce("--k", "13")
        assert "'middle' has 12" in line
        assert "--small-classes drop" in line

    def test_too_many_images(self, produce):
        line = produce("--count", "5000")
        assert "class 'left'" in line
        assert "at most" in line

    def test_other_people_than_the_weights_know(self, produce, images):
        next((images / "left").iterdir()).unlink()
        assert "26 people" in produce()

    def test_weights_of_the_wrong_shape(self, refused, argv, weights, tmp_path, private):
        broken = tiny_models.save_bundle(tmp_path / "w", tiny_models.bundle_for(private))
        other = Classifier(26, 1, 16, 3)
        config = {**other.config, "width": 2}
        save_weights(broken / "identity.safetensors", other, kind="identity", config=config)
        line = refused(*argv, "--weights", broken, *QUICK)
        assert "identity.safetensors" in line
        assert "instead of" in line

    def test_absent_and_damaged_weights(self, produce, weights, tmp_path, private):
        assert "generator.safetensors" in produce("--weights", tmp_path / "none")
        broken = tiny_models.save_bundle(tmp_path / "w", tiny_models.bundle_for(private))
        (broken / "encoder.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{broken}")
        assert "encoder.safetensors" in produce("--weights", broken)

    def test_output_folder_with_something_else(self, refused, argv, tmp_path):
        (tmp_path / "set").mkdir()
        (tmp_path / "set" / "thesis.txt").write_text("mine")
        for more in ([], ["--overwrite"]):
            refused(*argv, *QUICK, *more)
        assert (tmp_path / "set" / "thesis.txt").read_text() == "mine"

    def test_output_folder_is_a_file(self, refused, argv, tmp_path):
        (tmp_path / "set").write_text("mine")
        refused(*argv, *QUICK)

    def test_nans(self, produce, tmp_path):
        pixels = np.full((26, 16, 16), np.nan)
        np.savez(tmp_path / "x.npz", train_images=pixels, train_labels=np.zeros((26, 1)))
        produce("--data", tmp_path / "x.npz")

    @pytest.mark.parametrize(
        "options",
        [
            ["--steps", "2"],
            ["--k", "1"],
            ["--count", "-4"],
            ["--gate-quantile", "7"],
            ["--lr", "0"],
            ["--grouping", "nonsense"],
            ["--pairing", "nonsense"],
            ["--solver", "nonsense"],
            ["--split", "nonsense"],
            ["--threads", "-2"],
            ["--threads", "100000"],
            ["--micro-batch", "-1"],
            ["--test", "somewhere"],
        ],
    )
    def test_options(self, produce, options):
        produce(*options)

    @pytest.mark.parametrize(
        ("argv", "told"),
        [
            ("", "expected COMMAND, got a line without"),
            ("nonsense", "invalid choice: 'nonsense'"),
            ("produse", "did you mean produce?"),
            ("train generater", "did you mean generator?"),
            ("produce", "expected --data, --weights, --out, got a line without"),
            ("produce --stepz 4", "got --stepz: did you mean --steps?"),
            ("produce --conf=run.toml", "got --conf: did you mean --config?"),
            ("produce --config", "expected --config as `latentpath produce --help-all` explains"),
            ("train generator --batchh=4", "did you mean --batch?"),
            ("--hlep", "options that `latentpath` has, got --hlep: did you mean --help?"),
            ("status run more", "got more: see `latentpath status --help-all`"),
            ("produce --k many", "got no whole number: 'many'"),
            ("produce --lr fast", "got no number: 'fast'"),
            ("produce --k", "got no value"),
            ("audit --quick --skip x", "expected --skip"),
            ("audit --quick --skip x", "got both it and --quick"),
        ],
    )
    def test_usage(self, refused, argv, told):
        assert told in refused(*argv.split())

    def test_a_long_value_is_cut_short(self, refused):
        assert len(refused("produce", "--k", "9" * 5000)) < 500

    def test_without_quiet_the_last_line_is_the_error(self, command, argv):
        code, _, err = command(*argv, "--k", "13")
        assert code == 2
        assert err[-1].startswith("latentpath: error: ")


class TestTrain:
    def test_networks_in_the_wrong_order(self, refused, images, tmp_path):
        line = refused("train", "encoder", "--quiet", "--data", images, "--out", tmp_path / "w")
        assert "generator.safetensors" in line
        line = refused("train", "surrogate", "--quiet", "--data", images, "--out", tmp_path / "w")
        assert "generator.safetensors" in line

    def test_resolution(self, refused, images, weights, tmp_path):
        argv = ["--quiet", "--data", images]
        line = refused("train", "generator", *argv, "--out", tmp_path / "w", "--resolution", "24")
        assert "power of two" in line
        line = refused("train", "identity", *argv, "--out", weights, "--resolution", "32")
        assert "resolution 16" in line

    def test_checkpoint_of_another_run(self, command, refused, images, tmp_path):
        argv = ["train", "classifier", "--quiet", "--data", images, "--out", tmp_path / "w"]
        quick = ["--steps", "2", "--batch", "4", "--width", "2"]
        assert command(*argv, *quick)[0] == 0
        assert "(lr)" in refused(*argv, *quick, "--lr", "0.1")
        (tmp_path / "w" / "classifier.checkpoint").write_bytes(b"broken")
        assert "classifier.checkpoint" in refused(*argv, *quick)


def test_the_test_split_of_an_npz_is_what_tests(tmp_path):
    """Not its training split, which may well be the private set itself."""
    from latentpath.cli import make_parser
    from latentpath.cli.console import Bars
    from latentpath.cli.produce_command import read_test

    pixels = np.arange(3 * 4, dtype=np.uint8).reshape(3, 1, 2, 2)[:, 0]
    labels = np.array([[0], [1], [0]])
    file = tmp_path / "x.npz"
    np.savez(
        file,
        train_images=pixels,
        train_labels=labels,
        test_images=pixels[::-1] + 100,
        test_labels=labels,
    )
    argv = ["produce", "--data", "d", "--weights", "w", "--out", "o", "--test", str(file)]
    found = read_test(make_parser().parse_args(argv), Bars(quiet=True))
    assert np.array_equal(found.images[..., 0], pixels[::-1] + 100)


def test_interrupted(command, monkeypatch):
    def stop():
        raise KeyboardInterrupt

    monkeypatch.setattr("latentpath.production.info_lines", stop)
    code, _, err = command("info")
    assert code == 130
    assert len(err) == 1


def test_info(command):
    code, out, err = command("info")
    assert (code, err) == (0, [])
    assert out.startswith(f"latentpath {latentpath.__version__}")
    for word in ("torch", "monai", "cpu", "path_step", "bank_lse", "generator"):
        assert word in out


def test_version(command):
    assert command("--version")[:2] == (0, f"latentpath {latentpath.__version__}\n")


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["demo"],
        ["produce"],
        ["info"],
        ["train"],
        ["train", "generator"],
        ["train", "encoder"],
        ["train", "identity"],
        ["train", "classifier"],
        ["train", "surrogate"],
        ["train", "predictor"],
    ],
)
def test_help(command, words):
    code, out, err = command(*words, "--help")
    assert (code, err) == (0, [])
    assert out.startswith("usage: latentpath")
    assert "Traceback" not in out


def test_as_a_module_and_without_a_terminal():
    code, out, err = in_a_process("scan", "--data", "nowhere")
    assert (code, out, len(err)) == (2, "", 1)


@pytest.mark.filterwarnings("default::latentpath.core.LatentpathWarning")
def test_from_an_image_folder_to_a_set_and_its_report(command, tmp_path, few_paths):
    """All commands in their order, with very few steps."""
    data = tiny_models.private_set((12, 9), seed=4)
    images = tiny_models.write_folder(tmp_path / "images", data)
    test = tiny_models.write_folder(
        tmp_path / "test", tiny_models.private_set((6, 6), channels=3, seed=5)
    )
    weights, out = tmp_path / "weights", tmp_path / "set"
    common = ["--quiet", "--data", images, "--out", weights]
    small = ["--batch", "8", "--width", "2"]
    for network, options in [
        ("generator", ["--total-images", "32", "--batch", "8", "--channel-max", "8",
                       "--z-dim", "4", "--w-dim", "8", "--half"]),
        ("encoder", ["--steps", "2", *small]),
        ("identity", ["--steps", "3", *small]),
        ("classifier", ["--steps", "3", *small, "--augment-flip"]),
        ("surrogate", ["--points", "40", "--rounds", "1", "--walk-points", "30", "--walk-steps",
                       "5", "--walk-passes", "1", "--steps", "3", *small, "--half"]),
        # Over its checkpoint and weights: nothing is left to do.
        ("surrogate", ["--points", "40", "--rounds", "1", "--walk-points", "30", "--walk-steps",
                       "5", "--walk-passes", "1", "--steps", "3", *small, "--half"]),
        ("predictor", ["--points", "64", "--depth", "2", "--walk-steps", "5", *small, "--half"]),
    ]:  # fmt: skip
        code, shown, err = command("train", network, *common, *options)
        assert (code, err) == (0, [])
        assert shown.startswith(f"weights: {weights / network}")
        if network == "surrogate":
            ratio = float(re.search(r"walk energy ratio ([\d.e+-]+)", shown)[1])
            assert ratio == 1 or ("without this surrogate" in shown) == (ratio > 1)  # rounded
        if network == "predictor":
            ratio = float(re.search(r"predicted energy ratio ([\d.e+-]+)", shown)[1])
            assert ratio == 1 or ("straight lines have lower" in shown) == (ratio > 1)
    assert Image.open(weights / "generator.png").size[0] > 0

    code, shown, err = command(
        "produce", "--data", images, "--weights", weights, "--out", out, *QUICK, "--count", "12",
        "--report", tmp_path / "report.html", "--test", test, "--channels", "1",
        "--audit-steps", "2", "--audit-seeds", "1", "--anyway",
    )  # fmt: skip
    assert code == 0
    assert all(re.search("warning: not (ready|judged): ", line) for line in err)
    assert "not judged: generator: too few people" in err[-1]
    assert f"report: {tmp_path / 'report.html'}" in shown

    made = read_image_set(out / "set")
    assert made.images.shape == (12, 16, 16, 1)
    assert list(made.class_counts().values()) == [7, 5]
    certificate = read_manifest(out / "set")["certificate"]
    assert certificate["k"] == 3
    assert certificate["identities_used"] == 21
    page = (tmp_path / "report.html").read_text()
    assert "Straight lines" in page
    assert "<img" in page
    audit = json.loads((tmp_path / "audit.json").read_text())
    assert "walk" in json.dumps(audit)
    card = (out / "set" / "README.md").read_text()
    found = audit["sets"]["walk"]["nearest"]["mean_lpips_to_nearest_real"]
    assert f"| mean LPIPS to the nearest real image | {found:.4g} |" in card
    assert "| real test images |" in card
    seal = read_manifest(out / "set")["seal"]
    assert shown.splitlines()[-1].startswith(f"seal: {seal} ")
    code, shown, err = command("verify", out, "--seal", seal, "--quiet")
    assert (code, err) == (0, [])


def test_a_reader_of_the_output_that_leaves(images):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "latentpath", "scan", "--quiet", "--data", str(images)]
    ended = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (0, b"")
