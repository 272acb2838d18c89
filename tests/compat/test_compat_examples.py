"""The examples of drop-ins run as they stand."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SAYS = {
    "compat_ksalsa": "people in the smallest group: 10",
    "compat_lpips": "all pairs: [4, 6]",
    "compat_metrics": "closer to training people: 100%",
    "compat_monai": "kept: 3 of 5",
}


@pytest.mark.parametrize("name", SAYS)
def test_runs(name, capsys):
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert SAYS[name] in capsys.readouterr().out


def test_all_are_run():
    assert {path.stem for path in EXAMPLES.glob("compat_*.py")} == set(SAYS)
