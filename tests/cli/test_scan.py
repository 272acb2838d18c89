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
