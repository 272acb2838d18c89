"""Put one run of the suite into docs/versions.md: `record_versions.py NAME results.xml`.

NAME is a combination of noxfile.py, results.xml what `pytest --junit-xml` wrote. Run with the
Python of the combination. The table has one row per name; a new run replaces the old row, and what
stands below the table is left. Ends with exit code 1 where a test failed.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import os
import platform
import subprocess
import xml.etree.ElementTree as ElementTree
from pathlib import Path

from latentpath import _C

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "docs" / "versions.md"
COLUMNS = (
    *("combination", "Python", "torch", "NumPy", "Triton", "passed", "failed", "skipped"),
    *("processor", "instruction set", "commit", "day"),
)
TITLE = """# Versions that the suite ran with

Written by `make versions`; noxfile.py says what each combination pins. `oldest` takes every
requirement of pyproject.toml at its lower bound.

"""


def counts(results: Path) -> tuple[int, int, int]:
    """Passed, failed (errors included) and skipped tests of a JUnit file."""
    totals = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
    for suite in ElementTree.parse(results).getroot().iter("testsuite"):
        for name in totals:
            totals[name] += int(suite.get(name, "0"))
    failed = totals["failures"] + totals["errors"]
    return totals["tests"] - failed - totals["skipped"], failed, totals["skipped"]


def processor() -> str:
    """The processor's name and how many of its cores may be used."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if platform.system() == "Linux" else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()}, {os.cpu_count()} cores"


def row(name: str, results: Path) -> list[str]:
    """The cells of one run."""
    packages = [importlib.metadata.version(package) for package in ("torch", "numpy", "triton")]
    git = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    ran = [str(count) for count in counts(results)]
    day = datetime.date.today().isoformat()
    return [name, platform.python_version(), *packages, *ran, processor(), _C.isa(), commit, day]


def main() -> int:
    """Replace or add the row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("results", type=Path)
    given = parser.parse_args()
    lines = TABLE.read_text(encoding="utf-8").splitlines() if TABLE.is_file() else []
    rows = {line.split("|")[1].strip(): line for line in lines if line.startswith("| ")}
    table = [number for number, line in enumerate(lines) if line.startswith("|")]
    notes = lines[table[-1] + 1 :] if table else []
    rows.pop(COLUMNS[0], None)
    rows.pop("---", None)
    rows[given.name] = "| " + " | ".join(row(given.name, given.results)) + " |"
    head = ["| " + " | ".join(COLUMNS) + " |", "| " + " | ".join("---" for _ in COLUMNS) + " |"]
    TABLE.write_text(TITLE + "\n".join([*head, *rows.values(), *notes]) + "\n", encoding="utf-8")
    return int(counts(given.results)[1] > 0)


if __name__ == "__main__":
    raise SystemExit(main())
