"""The suite with every version that pyproject.toml promises, and the wheel where nothing else is.

    nox -s versions                 each combination below whose interpreter is here
    nox -s "versions(oldest)"       one of them
    nox -s "versions(oldest)" -- tests/ops      a part of the suite; nothing is recorded
    nox -s wheel                    sdist, wheel, and an install without a compiler

A whole run of `versions` puts its row into docs/versions.md. Each environment takes 3 to 7 GB and
is removed when its row is written, so the disk needs room for one.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

import nox

ROOT = Path(__file__).parent
PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")["project"]
EXTRAS = PROJECT["optional-dependencies"]

nox.needs_version = ">=2024.4"
nox.options.sessions = ["wheel"]
nox.options.error_on_missing_interpreters = False


def lower_bounds() -> list[str]:
    """Every requirement of pyproject.toml at the lowest version it allows."""
    asked = [*PROJECT["dependencies"], *(line for name in EXTRAS for line in EXTRAS[name])]
    return [line.replace(">=", "==") for line in asked if re.match(r"[\w-]+>=", line)]


# name: Python, and what is pinned; all else is the newest that pip finds for that Python.
COMBINATIONS = {
    "oldest": ("3.10", lower_bounds()),
    "newest-3.10": ("3.10", ["torch==2.14.*"]),
    "usual": ("3.11", ["torch==2.13.0"]),
    "old-torch": ("3.12", ["torch==2.6.0", "numpy>=2"]),
    "old-numpy": ("3.12", ["torch==2.14.*", "numpy==1.26.*"]),
    "newest": ("3.13", ["torch==2.14.*"]),
}


@nox.session
@nox.parametrize(
    ("python", "name"),
    [(python, name) for name, (python, _) in COMBINATIONS.items()],
    ids=list(COMBINATIONS),
)
def versions(session: nox.Session, name: str) -> None:
    """Run the suite with one combination of versions."""
    temporary = Path(session.create_tmp())
    pins = temporary / f"{name}.txt"
    pins.write_text("\n".join(COMBINATIONS[name][1]) + "\n")
    session.install("--editable", ".[test,triton]", "--constraint", str(pins))
    results = temporary / "results.xml"
    results.unlink(missing_ok=True)
    # As `make unit` does.
    workers = ["--numprocesses=logical", "--maxprocesses=8", "--dist=worksteal"]
    what = session.posargs or [*workers, f"--junit-xml={results}"]
    passed = (0,) if session.posargs else (0, 1)
    # Not the environment's own folder for temporary files, which Ray refuses.
    variables = {"OMP_NUM_THREADS": "1", "TMPDIR": tempfile.gettempdir()}
    session.run("pytest", "-q", *what, env=variables, success_codes=passed)
    if session.posargs:
        return
    session.run("python", "scripts/record_versions.py", name, str(results))
    if results.exists():  # not where --install-only was asked for
        shutil.rmtree(session.virtualenv.location)  # stays where a test failed


@nox.session
def wheel(session: nox.Session) -> None:
    """Build the sdist, the wheel from the sdist, and try the wheel where there is no compiler.

    TORCH, in the environment, is the release to install beside the wheel, as for the Makefile.
    """
    session.install("build")
    dist = Path(session.create_tmp()).resolve() / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    session.run("python", "-m", "build", "--outdir", str(dist))
    (built,) = dist.glob("*.whl")
    empty = dist.parent / "empty"
    session.run("python", "-m", "venv", "--clear", str(empty))
    python, alone = empty / "bin" / "python", {"PATH": str(empty / "bin"), "CXX": ""}
    install = [str(python), "-m", "pip", "install", "-qq", "--only-binary=:all:"]
    torch = os.environ.get("TORCH", "torch==2.13.0")
    session.run(*install, torch, str(built), env=alone, external=True)
    session.run(str(python), "tests/installed.py", env=alone, external=True)
    shutil.rmtree(empty)
