"""What a finished run says at its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from latentpath.production.run.produce_run import RunResult
from latentpath.production.run.run_status import stage_rates
from latentpath.production.set_writer import rejected_by


def summary_lines(result: RunResult) -> list[str]:
    """Lines to print: what was made, at which rates, and where it lies."""
    chosen, folder = result.chosen, result.folder
    rows = list(chosen.shards)
    tested = sum(row.tested for row in rows)
    rejected = sum(rejected_by(chosen.shards).values())
    walks = sum(len(result.plan.task(row.number).pairs) for row in rows)
    lines = [
        f"set: {folder.set}, {chosen.count} images from {walks} walks; the gate turned away "
        f"{rejected} of {tested} samples"
    ]
    rates = ", ".join(f"{name} {rate:.4g}" for name, rate in stage_rates(rows).items())
    if rates:
        lines.append(f"samples/s of each stage on one worker: {rates}")
    lines.append(
        f"private file: {folder.private_file} (who is behind which endpoint: never hand it on, nor "
        f"anything else in {folder.private})"
    )
    return lines


def seal_line(manifest: Mapping[str, Any]) -> str:
    """The seal of a set, to print when nothing about the set changes any more."""
    return f"seal: {manifest['seal']} (note it down for `latentpath verify --seal`)"


def shortage_lines(result: RunResult) -> list[str]:
    """A warning for each class of which there are fewer images than wanted."""
    return [
        f"class {name!r} is {missing} images short: too few samples passed the gate; take longer "
        "walks (--steps) or loosen the gate"
        for name, missing in result.chosen.shortage.items()
    ]
