"""What a GPU's check measured, in the repository's tables and pages."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "scripts" / "gpu_tables.py"
PAGES = ("docs/gpu.md", "docs/benchmarks.md", "benches/results/produce_plan.md")

pytestmark = pytest.mark.skipif(not SCRIPT.is_file(), reason="the scripts are not beside the tests")

ROW = {
    "card": "NVIDIA H200", "date": "2030-01-01", "commit": "abc", "torch": "2.13.0", "cuda": "13.0",
    "cudnn": "9", "triton": "3.6", "cuda kernels": "built", "op": "fir2d", "shape": "2x3x4x4",
    "dtype": "float32", "implementation": "fir2d", "rounds": "9", "median_ms": "1.5",
    "p20_ms": "1.4", "p80_ms": "1.7", "gb_per_s": "2000", "tflop_per_s": "",
}  # fmt: skip


@pytest.fixture
def copy(tmp_path):
    """The parts of the repository that are written to."""
    for name in (*PAGES, "benches/results/produce.csv"):
        target = tmp_path / "repository" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, target)
    (tmp_path / "out").mkdir()
    return tmp_path


def run(copy, *rows):
    with (copy / "out" / "times.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ROW)
        writer.writeheader()
        writer.writerows(rows)
    command = [sys.executable, SCRIPT, copy / "out", "--root", copy / "repository"]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    return {name: (copy / "repository" / name).read_text() for name in PAGES}


def test_without_rows_of_a_gpu_pages_stay_as_they_are(copy):
    pages = run(copy, ROW | {"card": "cpu (dry run)"})
    assert pages == {name: (ROOT / name).read_text() for name in PAGES}
    assert not (copy / "repository/benches/results/gpu.csv").exists()


def test_rows_are_appended_once_and_the_newest_is_shown(copy):
    pytest.importorskip("matplotlib")
    run(copy, ROW)
    newer = ROW | {"median_ms": "1.25", "commit": "def"}
    page = run(copy, ROW, newer)["docs/gpu.md"]
    with (copy / "repository/benches/results/gpu.csv").open() as file:
        assert list(csv.DictReader(file)) == [ROW, newer]
    assert "| NVIDIA H200 | fir2d | 2x3x4x4 | float32 | fir2d | 1.25 | 1.4 to 1.7 | 2000 |" in page
    assert "1.5 |" not in page
    assert "(gpu.svg)" in page
    assert (copy / "repository/docs/gpu.svg").is_file()
    assert run(copy, ROW, newer)["docs/gpu.md"] == page


def test_a_projection_is_made_from_a_run_at_its_resolution(copy):
    path = copy / "repository/benches/results/produce.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    run_row = next(row for row in rows if row["walk"])
    rows.append(run_row | {"size": "256", "device": "NVIDIA H200"})
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    pages = run(copy)
    for page in ("docs/benchmarks.md", "benches/results/produce_plan.md"):
        (row,) = [line for line in pages[page].splitlines() if line.startswith("| 1 |")]
        assert "not measured" not in row
