"""`latentpath run`: from published X-rays to a report, with the smallest settings."""

from __future__ import annotations

import json
import re
import shlex

import pytest
from PIL import Image

from latentpath.data import read_image_set

TABLE = ["--csv=people.csv", "--image-column=file", "--identity-column=patient", "--channels=1"]
SMALL = shlex.split("""
--train-generator-total-images 32 --train-generator-batch 16 --train-generator-channel-max 4
--train-generator-z-dim 4 --train-generator-w-dim 8 --train-encoder-steps 2 --train-encoder-batch 8
--train-encoder-width 2 --train-identity-steps 2 --train-identity-batch 16
--train-identity-width 2 --train-classifier-steps 2 --train-classifier-batch 16
--train-classifier-width 2 --count 12 --k 3 --passes 1 --gate-quantile 0 --gate-identity 1
--no-gate-class --audit-seeds 0 --audit-classifier-steps 2 --audit-classifier-width 2
--audit-witness-steps 2 --audit-witness-width 2 --audit-membership-shadows 2
--audit-membership-targets 1 --audit-membership-training-steps 2
""")


@pytest.fixture
def small_originals(originals):
    """The same at a fraction of their pixels: every run reads all of them."""
    for path in originals.rglob("*.jpeg"):
        with Image.open(path) as image:
            image.thumbnail((160, 160))
            image.save(path, quality=95)
    return originals


@pytest.mark.filterwarnings("default::latentpath.core.LatentpathWarning")
def test_from_published_xrays_to_a_report(command, small_originals, tmp_path):
    out = tmp_path / "project"
    words = ["run", "--quiet", "--data", small_originals, "--out", out, *TABLE, *SMALL]
    code, shown, errors = command(*words, "--resolution=16")
    assert code == 2
    assert "networks that are ready to make a set with" in errors[-1]
    assert "go on with --anyway" in errors[-1]
    lines = shown.splitlines()
    assert "people: 53 behind the set, 13 held out for the audit" in lines
    assert "resolution: 16x16 pixels, 53 people behind the set" in lines
    assert any(line.startswith("all together: about ") for line in lines)
    code, shown, errors = command(*words, "--resolution=16", "--anyway")
    assert code == 0
    assert errors
    assert all(re.search("warning: (weak|not (ready|judged)): ", line) for line in errors)
    assert any("not judged: generator: too few people" in line for line in errors)
    lines = shown.splitlines()
    assert lines[-1].startswith("seal: ")
    made = read_image_set(out / "run" / "set")
    assert (len(made), made.class_names) == (12, ("normal", "pneumonia"))
    assert (out / "report" / "report.html").is_file()
    numbers = json.loads((out / "report" / "audit.json").read_text())
    assert len(numbers["questions"]) >= 6
    code, told, errors = command("verify", "--quiet", out / "run")
    assert (code, errors) == (0, []), told

    assert numbers["certificate"]["k"] == 3
    assert numbers["seal"] in lines[-1]
    report = out / "report" / "report.html"
    assert numbers["seal"] in report.read_text()
    code, told, _ = command("verify", "--quiet", out / "run" / "set", "--report", report)
    assert code == 0
    first, *said = told.splitlines()
    assert "the report is about this very set" in first
    assert said == [
        "the report says:",
        *(f"{v['colour']:<6} {about}: {v['answer']}" for about, v in numbers["verdicts"].items()),
    ]
    other = tmp_path / "audit.json"
    other.write_text(json.dumps({**numbers, "seal": "0" * 64}))
    code, told, errors = command("verify", "--quiet", out / "run" / "set", "--report", other)
    assert code == 2
    assert "seal" in told
    other.write_text(json.dumps({**numbers, "seal": ""}))
    code, _, errors = command("verify", "--quiet", out / "run" / "set", "--report", other)
    assert code == 2
    assert "audit the set again" in errors[-1]

    seal = lines[-1]
    code, shown, errors = command(*words, "--resolution=16")
    assert (code, errors) == (0, [])
    assert shown.splitlines()[-1] == seal
    assert "about" not in shown, "nothing is left to do"


@pytest.mark.filterwarnings("default::latentpath.core.LatentpathWarning")
def test_from_xrays_of_64_pixels_to_a_report(command, shared_data, tmp_path):
    """Of their own size, with several images to some people, and a split to choose."""
    data, out = shared_data / "chest_xray_64.npz", tmp_path / "project"
    if not data.is_file():
        pytest.skip("needs chest_xray_64.npz in the folder ../shared/data, which is absent")
    words = ["run", "--quiet", "--data", data, "--out", out, *SMALL, "--anyway"]
    code, shown, errors = command(*words)
    assert (code, shown) == (2, "")
    assert "got 'train', which is meant where none is named; the splits are" in errors[-1]
    assert "0 (3,535 images), 1 (846 images), 2 (568 images)" in errors[-1]
    words += ["--split=2", "--identity-column=patients"]
    code, shown, _ = command(*words)
    assert code == 0
    lines = shown.splitlines()
    assert "people: 337 behind the set, 85 held out for the audit" in lines
    assert "resolution: 64x64 pixels, 337 people behind the set" in lines
    assert read_image_set(out / "run" / "set").images.shape == (12, 64, 64, 1)
    numbers = json.loads((out / "report" / "audit.json").read_text())
    assert numbers["seal"] in lines[-1]
    report = out / "report" / "report.html"
    assert command("verify", "--quiet", out / "run" / "set", "--report", report)[0] == 0


def test_errors_come_before_any_work(refused, originals, tmp_path):
    words = ["run", "--quiet", "--data", originals, "--out", tmp_path / "p", *TABLE]
    assert "hold_out from 0.05 to 0.5" in refused(*words, "--hold-out", "0.9")
    assert "hours" in refused(*words, "--hours", "0")
    assert not (tmp_path / "p").exists()
