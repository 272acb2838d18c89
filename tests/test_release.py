"""What a release says of itself agrees, and its archive holds what it takes to build it."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

import latentpath
from latentpath.cli import main

ROOT = Path(__file__).resolve().parents[1]


def test_one_version_and_one_day():
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    released = re.findall(r"^## (\d+\.\d+\.\d+) - (\d{4}-\d\d-\d\d)$", changes, re.MULTILINE)
    assert released[0][0] == latentpath.__version__
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"\nversion: {released[0][0]}\n" in citation
    assert f'\ndate-released: "{released[0][1]}"\n' in citation
    assert sorted(released, reverse=True) == released


def test_the_command_tells_its_version(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"latentpath {latentpath.__version__}\n"


def test_the_citation_can_be_read():
    yaml = pytest.importorskip("yaml")
    content = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= content.keys()
    (paper,) = content["references"]
    assert len(paper["authors"]) == 6
    assert all({"family-names", "given-names"} == author.keys() for author in paper["authors"])
    assert content["license"] in (ROOT / "pyproject.toml").read_text("utf-8")


def test_the_source_archive_is_whole(tmp_path):
    """Built without a compiler or a network; `make wheel` builds the wheel from such a one."""
    pytest.importorskip("setuptools", minversion="77")
    copied = tmp_path / "src"
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False, text=True
    )
    if listed.returncode:
        pytest.skip("needs a checkout")
    for name in filter(None, listed.stdout.split("\0")):
        if name.startswith(("tests/", "benches/", "docs/", "networks/")):
            continue
        target = copied / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).exists():
            target.symlink_to(ROOT / name)
    (copied / "tests").mkdir()
    (copied / "tests/installed.py").symlink_to(ROOT / "tests/installed.py")
    made = subprocess.run(
        [sys.executable, "setup.py", "-q", "sdist", "--dist-dir", str(tmp_path / "dist")],
        cwd=copied, capture_output=True, check=False, text=True,
        env={"LATENTPATH_NO_EXTENSION": "1", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    (archive,) = (tmp_path / "dist").iterdir()
    assert archive.name == f"latentpath-{latentpath.__version__}.tar.gz"
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    for needed in (
        *("CMakeLists.txt", "LICENSE", "NOTICE", "CITATION.cff", "CHANGELOG.md", "SECURITY.md"),
        *("csrc/bindings.cpp", "csrc/path_math.h", "latentpath/py.typed", "pyproject.toml"),
        *("latentpath/walks/__init__.pyi", "latentpath/assets/lpips_alex.safetensors"),
        *("latentpath/audit/report/page/summary.css", "tests/installed.py"),
    ):
        assert needed in names, needed
    assert not [name for name in names if name.endswith((".so", ".pyc"))]
