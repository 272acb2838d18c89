"""Every test of this folder on the pretended GPU, a process for each file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FILES = sorted(
    path.name for path in Path(__file__).parent.glob("test_*.py") if path != Path(__file__)
)


@pytest.mark.parametrize("name", FILES)
def test_on_a_pretended_gpu(name):
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"tests/gpu/{name}"],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PRETENDED_GPU": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout[-6000:]
