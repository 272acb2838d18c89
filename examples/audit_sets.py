"""Audit a set of ours from Python, beside its straight lines, and write what a board needs.

python examples/audit_sets.py private.npz run/ private-report/
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import latentpath
from latentpath.audit import quick_measures, report_on, write_report
from latentpath.data import read_manifest


def main() -> None:
    """Print the answers, and write the report with its summary."""
    parser = argparse.ArgumentParser(description="Audit the set of a run.")
    parser.add_argument("arrays", help=".npz with the private images, labels and people")
    parser.add_argument("run", help="folder of the run, with the baseline lines")
    parser.add_argument("out", help="folder of the report, which shows real images")
    given = parser.parse_args()

    with np.load(given.arrays) as arrays:
        real = latentpath.image_set(arrays["images"], arrays["labels"], arrays["people"])
    run = Path(given.run)
    lines = latentpath.load_set(run / "private/baselines/lines")
    audit = latentpath.audit_set(
        latentpath.load_set(run / "set").image_set(),
        real=real,
        baselines={"lines": lines.image_set()},
        measures=quick_measures(),  # the others need a holdout, or minutes
    )
    for verdict in audit.headline:
        print(f"{verdict.about}: {verdict.colour}. {verdict.answer}.")
    manifest = read_manifest(run / "set")
    report = report_on(
        audit,
        title=f"A set of {len(real)} private images",
        certificate=manifest["certificate"],
        seal=manifest["seal"],
        networks=manifest.get("networks"),
        reading=manifest.get("reading"),
    )
    print(write_report(Path(given.out) / "report.html", report))


if __name__ == "__main__":
    main()
