"""The script for the first ten minutes on a GPU, run small on the processor."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "scripts" / "gpu_check.py"

pytestmark = pytest.mark.skipif(not SCRIPT.is_file(), reason="the scripts are not beside the tests")


def run(*arguments):
    environment = os.environ | {"TRITON_INTERPRET": "0"}
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        capture_output=True, text=True, env=environment, check=False,
    )  # fmt: skip


def rows(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_dry_run(tmp_path):
    pytest.importorskip("monai")
    ran = run("--dry", "--out", str(tmp_path))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    checks, times = rows(tmp_path / "checks.csv"), rows(tmp_path / "times.csv")
    assert all(row["ok"] == "True" for row in checks)
    assert {row["card"] for row in checks + times} == {"cpu (dry run)"}
    for op in ("kl_uniform", "bank_lse", "path_step", "path_smooth", "modulated_act", "fir2d"):
        assert any(row["name"].startswith(op) for row in checks), op
        assert any(row["op"] == op and float(row["median_ms"]) > 0 for row in times), op
    assert {row["name"] for row in checks} >= {"walk", "conv2d, TF32 off", "fir2d recorded"}
    assert "synthesis" in {row["op"] for row in times}


def test_what_lacks_a_package_is_left_out_and_nothing_wrong(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['monai'] = None\n")
    environment = os.environ | {"PYTHONPATH": str(tmp_path), "TRITON_INTERPRET": "0"}
    command = [sys.executable, str(SCRIPT), "--dry", "--only", "walks", "--out", str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (row,) = rows(tmp_path / "checks.csv")
    assert row["detail"] == "left out: monai not installed"


def test_dry_run_for_hopper(tmp_path):
    script = SCRIPT.with_name("gpu_check_hopper.py")
    command = [sys.executable, str(script), "--dry", "--out", str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    names = [row["name"] for row in rows(tmp_path / "checks.csv") if row["ok"] == "True"]
    assert "bank_lse for Hopper recorded" in names
    assert any(name.startswith("bank_lse for Hopper 64x128 torch.float16") for name in names)
    assert len(rows(tmp_path / "times.csv")) == 1


def test_errors_are_shown_where_they_are(monkeypatch):
    import torch

    monkeypatch.syspath_prepend(SCRIPT.parent)
    import gpu_check_hopper

    exact = torch.zeros(20), torch.zeros(20, 512)
    lse, mean = exact[0].clone(), exact[1].clone()
    lse[3], mean[17, 70] = 0.5, torch.nan
    _, first, second = gpu_check_hopper.map_of_errors(lse, mean, *exact).split("\n")
    assert first == "5.0e-01 | " + " ".join(["0.0e+00"] * 8)
    assert second.split() == ["0.0e+00", "|", "0.0e+00", "inf", *["0.0e+00"] * 6]


@pytest.mark.parametrize(
    ("code", "fault"),
    [("", ""), ("exit(3)", "exit code 3"), ("import time; time.sleep(60)", "no end within 1 sec")],
)
def test_a_process_that_hangs_costs_its_limit_and_no_more(tmp_path, monkeypatch, code, fault):
    monkeypatch.syspath_prepend(SCRIPT.parent)
    import gpu_check

    found = gpu_check.fault_of(
        [sys.executable, "-c", code], 1.0 if fault[:2] == "no" else 30.0, tmp_path / "log"
    )
    assert found.startswith(fault)
    assert bool(found) == bool(fault)


def test_without_a_gpu_it_says_so(tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    ran = run("--out", str(tmp_path))
    assert ran.returncode == 2
    assert "PyTorch sees no GPU here; --dry runs small on the processor" in ran.stderr
