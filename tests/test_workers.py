"""What `make test` makes of a crash in compiled code: one failed test, which is named."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("xdist")

MAKEFILE = Path(__file__).resolve().parents[1] / "Makefile"
CRASHING = """
import os

import pytest


@pytest.mark.parametrize("number", range(12))
def test_it(number):
    if number in (3, 8):
        os.abort()
"""


@pytest.mark.skipif(not MAKEFILE.exists(), reason="needs the Makefile of the repository")
def test_a_worker_that_dies_costs_the_test_it_ran_and_nothing_else(tmp_path):
    mode = re.search(r"--dist (\w+)", MAKEFILE.read_text()).group(1)
    (tmp_path / "test_first.py").write_text(CRASHING)
    (tmp_path / "test_second.py").write_text(CRASHING.replace("(3, 8)", "(5,)"))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "xdist", "-p", "no:cacheprovider"]
    ran = subprocess.run(
        [*command, "--numprocesses", "2", "--dist", mode, "."],
        cwd=tmp_path,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1, ran.stdout
    # Not by the lines of the summary: pytest-xdist before 3.6 gives no reasons there.
    crashed = r"^worker '\w+' crashed while running '(\S+)'"
    failed = sorted(re.findall(crashed, ran.stdout, re.MULTILINE))
    crashes = [
        "test_first.py::test_it[3]",
        "test_first.py::test_it[8]",
        "test_second.py::test_it[5]",
    ]
    assert failed == crashes
    assert "3 failed, 21 passed" in ran.stdout
    assert "INTERNALERROR" not in ran.stdout + ran.stderr
