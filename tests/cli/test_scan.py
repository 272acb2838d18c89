"""`latentpath scan`, `--verbose`, and what the command says of errors that nobody expected."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("PIL")

from PIL import Image

from latentpath.cli import main
from support import search_path


@pytest.fixture
def folder(tmp_path):
    for seed, name in enumerate(["a/1.png", "a/2.png", "b/1.png", "b/2.png"]):
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 256, (6, 5), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
    return tmp_path / "set"


@pytest.fixture
def scan(capsys, folder):
    def run(*words, data=folder):
        code = main(["scan", "--quiet", "--data", str(data), *map(str, words)])
        found = capsys.readouterr()
        return code, found.out, found.err.splitlines()

    return run


def test_a_report(scan):
    code, report, errors = scan()
    assert (code, errors) == (0, [])
    assert report.splitlines() == [
        "format: folder",
        "images: 4 of 4 readable",
        "class 'a': 2 images of 2 people",
        "class 'b': 2 images of 2 people",
        "people: 4, with 1 to 1 images each, median 1",
        "people counted: each image is one person, as nothing told otherwise",
        "size: 5x6 grey, 4 images",
        "no squares: 4 images, which --resize pads (else crops or stretches)",
        "exact copies: 0 images, 0 across people, 0 across classes",
        *(
            f"class {name!r}: 2 people at most, too few for averages over k = 5, as `latentpath "
            "run` and `produce` make them without --k"
            for name in "ab"
        ),
    ]


def test_it_waits_for_no_pytorch(folder):
    """Importing it takes seconds, and most of what is scanned is refused at first."""
    code = (
        "import sys; sys.modules['torch'] = None; from latentpath.cli import main; sys.exit(main())"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, "scan", "--data", str(folder)],
        env=os.environ | {"PYTHONPATH": search_path()}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout[:15]) == (0, "format: folder\n"), ended.stderr


def test_json(scan):
    code, report, _ = scan("--json")
    assert code == 0
    found = json.loads(report)
    assert found["people"] == 4
    assert found["sizes"] == [{"width": 5, "height": 6, "channels": 1, "images": 4}]


def test_a_set_that_would_be_refused(scan, folder):
    (folder / "b" / "2.png").write_bytes(b"")
    code, report, errors = scan()
    assert code == 2
    assert "unreadable: file 4 of 4: the file is empty" in report.splitlines()
    assert len(errors) == 1
    assert "expected 4 readable images, got 1 of 4" in errors[0]
    assert scan("--max-unreadable", "0.25")[::2] == (0, [])


@pytest.fixture
def mixed(tmp_path):
    """Grey and colour files of several sizes, whose names say that people have several images."""

    def made(colour):
        rng = np.random.default_rng(0)
        for number in range(12):
            path = tmp_path / "mixed" / "ab"[number % 2] / f"person{number // 4}_{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 256, (20 + number, 30), dtype=np.uint8)
            if number == 7:
                pixels = np.stack([pixels, pixels, pixels], 2)
                if colour == "all":
                    pixels[..., 0] += 90
                elif colour == "a dot":
                    pixels[1, 1] = 255, 0, 0
            Image.fromarray(pixels).save(path)
        return tmp_path / "mixed"

    return made


def test_all_that_is_to_be_settled_is_told_at_once(scan, mixed):
    data = mixed(colour=None)
    code, report, errors = scan(data=data)
    assert code == 2
    assert [error.split(", got ")[0] for error in errors] == [
        "latentpath: error: expected every image to show another person, as nothing says who is "
        "who",
        "latentpath: error: expected images that are all grey or all colour",
        "latentpath: error: expected images of one size",
    ]
    assert "to settle all of it" not in report, "who is who is for people to say"
    people = ("--identity-pattern", "person([0-9]+)_")
    code, report, errors = scan(*people, data=data)
    assert (code, len(errors)) == (2, 2)
    (line,) = [line for line in report.splitlines() if line.startswith("to settle all of it")]
    options = line.removeprefix("to settle all of it, add ").split()
    assert options == ["--channels", "1", "--resolution", "64"]
    assert scan(*people, *options, data=data)[::2] == (0, [])


@pytest.mark.parametrize("colour", ["all", "a dot"])
def test_colour_is_a_choice_of_whoever_knows_the_images(scan, mixed, colour):
    people = ("--identity-pattern", "person([0-9]+)_")
    _, report, errors = scan(*people, data=mixed(colour))
    assert "or --channels 3 for colour" in errors[0]
    assert "to settle all of it" not in report


@pytest.mark.parametrize("said", [[], ["--resolution", "64"]])
def test_what_reads_a_set_says_all_of_it_in_one_line(mixed, tmp_path, capsys, said):
    data, out = str(mixed(colour=None)), str(tmp_path / "p")
    assert main(["run", "--quiet", "--data", data, "--out", out, "--dry-run", *said]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert "expected (1) every image to show another person" in error
    assert "(2) say --channels 1" in error


def test_what_the_folders_mean_is_no_reason_to_keep_the_rest_for_later(scan, mixed):
    """Splits in the place of classes, people with several images, several sizes."""
    data = mixed(colour=None)
    (data / "a").rename(data / "train")
    (data / "b").rename(data / "test")
    code, report, errors = scan("--channels", "1", data=data)
    assert code == 2
    assert [error.split(", got ")[0].removeprefix("latentpath: error: ") for error in errors] == [
        "expected one folder per class",
        "expected every image to show another person, as nothing says who is who",
        "expected images of one size",
    ]
    assert "classes: 2, if they are classes" in report
    assert "too few for averages" not in report


def test_a_table_of_several_labels_and_splits_is_one_thing_to_settle(scan, folder):
    table = folder / "t.csv"
    cells = [("a/1.png", "x|y", "one"), ("a/2.png", "x", "one"), ("b/1.png", "y", "two"),
             ("b/2.png", "x", "two")]  # fmt: skip
    table.write_text("image,label,fold\n" + "\n".join(map(",".join, cells)))
    code, _, errors = scan("--csv", table, "--split-column", "fold")
    assert code == 2
    assert len(errors) == 2
    assert "--findings NAME" in errors[0]
    assert "choose one of them with --split" in errors[1]
    settled = ["--csv", table, "--split-column", "fold", "--split", "one", "--findings", "y"]
    assert scan(*settled)[::2] == (0, [])


@pytest.mark.parametrize("column", ["label", "LABEL", "site"])
def test_classes_are_no_people(scan, folder, column):
    for number in range(20):
        pixels = np.random.default_rng(9 + number).integers(0, 256, (6, 5), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "ab"[number % 2] / f"more{number}.png")
    table = folder / "people.csv"
    rows = [f"{path.relative_to(folder)},{path.parent.name},{path.parent.name}x"
            for path in sorted(folder.rglob("*.png"))]  # fmt: skip
    table.write_text("\n".join(["image,label,site", *rows]))
    code, _, errors = scan("--csv", table, "--identity-column", column)
    assert code == 2
    reason = "one person in each of 2 classes" if column == "site" else "each class would be one"
    assert reason in errors[-1]


def test_every_column_that_is_absent_is_told_at_once(scan, folder):
    table = folder / "people.csv"
    table.write_text("file,finding\na/1.png,a\n")
    code, _, errors = scan("--csv", table, "--identity-column", "who")
    assert code == 2
    for name in ("(1) one column 'image'", "(2) one column 'label'", "(3) one column 'who'"):
        assert name in errors[0]


def test_names_on_request(scan, folder):
    (folder / "b" / "2.png").write_bytes(b"")
    code, report, errors = scan("--verbose")
    assert code == 2
    assert "unreadable: 'b/2.png': the file is empty" in report.splitlines()
    assert "'b/2.png'" in errors[0]


@pytest.fixture
def slices(tmp_path):
    """CT slices as signed 16-bit TIFF, in Hounsfield units."""
    tifffile = pytest.importorskip("tifffile")
    for row in range(4):
        path = tmp_path / "slices" / "ab"[row % 2] / f"{row}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(row).integers(-1000, 1500, (40, 30))
        tifffile.imwrite(path, values.astype(np.int16))
    return tmp_path / "slices"


@pytest.mark.parametrize("words", ["lung", "-600 1500", "percentiles", "40.5 400"])
def test_a_window_in_words_of_the_command_line(scan, slices, words):
    code, _, errors = scan(data=slices)
    assert code == 2
    assert "signed 16-bit values" in errors[0]
    assert "--window CENTRE WIDTH, lung, bone" in errors[0]
    code, report, errors = scan("--window", *words.split(), data=slices)
    assert (code, errors) == (0, [])
    assert "note" not in report


def test_windows_are_ignored_on_request(scan, slices):
    code, ignored, errors = scan("--ignore-windows", data=slices)
    assert (code, errors) == (0, [])
    assert "4 of 4 images, the first is file 1 of 4, keep few of the 256 grey levels" in ignored
    assert scan("--window", "full", data=slices)[1] == ignored


@pytest.mark.filterwarnings("default::latentpath.core.errors.LatentpathWarning")
def test_no_more_copies_than_there_are(scan, folder):
    (folder / "b" / "2.png").write_bytes((folder / "a" / "1.png").read_bytes())
    _, report, _ = scan()
    assert "exact copies: 2 images, 2 across people, 2 across classes" in report


@pytest.mark.parametrize(
    "words",
    [
        ["--format", "medmnist"],
        ["--csv", "nowhere.csv"],
        ["--identities", "nowhere.csv"],
        ["--window", "0"],
        ["--window", "liver"],
        ["--window", "40", "0"],
        ["--window", "40", "400", "2"],
        ["--split", "nonsense"],
        ["--max-unreadable", "nan"],
        ["--max-unreadable", "1"],
        ["--resolution", "-1"],
    ],
)
def test_bad_options(scan, words):
    code, report, errors = scan(*words)
    assert (code, report, len(errors)) == (2, "", 1)
    assert errors[0].startswith("latentpath: error: expected ")


def test_an_unexpected_error_is_one_line(scan, monkeypatch):
    def broken(*_):
        raise RuntimeError("the secret")

    surveyor = "latentpath.data.sources.image_set_reader.Surveyor"
    monkeypatch.setattr(surveyor, broken)
    code, _, errors = scan()
    assert code == 1
    assert len(errors) == 1
    assert errors[0].startswith(
        "latentpath: unexpected error: RuntimeError in latentpath/data/sources/image_set_reader"
    )
    assert "secret" not in errors[0]
    code, _, errors = scan("--verbose")
    assert code == 1
    assert errors[0].startswith("Traceback")
    assert "RuntimeError: the secret" in errors


def test_an_error_of_the_system_names_no_path(scan, monkeypatch, folder):
    surveyor = "latentpath.data.sources.image_set_reader.Surveyor"
    monkeypatch.setattr(surveyor, lambda _: open(folder / "x"))  # noqa: SIM115
    code, _, errors = scan()
    assert code == 2
    (error,) = errors
    assert error.startswith("latentpath: error: expected files and folders")
    assert "'no such file or directory'" in error
    assert str(folder) not in error
    _, _, errors = scan("--verbose")
    assert str(folder) in "".join(errors)
