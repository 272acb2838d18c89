"""Project a million images at 256x256 from measured stages into results/produce_plan.md.

    python benches/plan_produce.py

A projection, no measurement: rates of stages come from results/produce.csv, and what was not
measured stays empty. Devices work side by side without loss, encoding and writing overlap with
them, and the driver writes everything, so the slowest of the three decides.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
IMAGES, SIDE = 1_000_000, 256
DEVICES = (1, 8, 64)
MISSING = "not measured"


def main() -> int:
    print(write(RESULTS))
    return 0


def write(results: Path) -> str:
    """Write the projection beside the rows that it is made from, and return it."""
    with (results / "produce.csv").open(newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if int(row["size"]) == SIDE]
    on_gpu = [row for row in rows if row["walk"] and on_a_gpu(row["device"])]
    files = [row for row in rows if row["what"] == "files"]
    text = table(on_gpu[-1] if on_gpu else None, files[-1] if files else None)
    (results / "produce_plan.md").write_text(text, encoding="utf-8")
    return text


def on_a_gpu(device: str) -> bool:
    """Whether a row of this device is of a GPU, by the names that its makers give them."""
    return any(maker in device for maker in ("NVIDIA", "GeForce", "Tesla", "Quadro", "Instinct"))


def table(gpu: dict[str, str] | None, files: dict[str, str] | None) -> str:
    """The table, one row for each number of GPUs."""
    head = [
        f"A projection, not a measurement: {IMAGES:,} images of {SIDE}x{SIDE} pixels.",
        "",
        "| GPUs | hours on the devices | cores that encode to keep up | hours the driver writes | "
        "gigabytes |",
        "| --- | --- | --- | --- | --- |",
    ]
    return "\n".join([*head, *(_row(number, gpu, files) for number in DEVICES)]) + "\n"


def _row(number: int, gpu: dict[str, str] | None, files: dict[str, str] | None) -> str:
    devices = cores = writing = size = MISSING
    if gpu is not None:
        accepted = float(gpu["images"]) / float(gpu["tested"])
        # Samples pass one stage after another on a device.
        each = 1 / sum(1 / float(gpu[stage]) for stage in ("walk", "generate", "gate"))
        images = number * each * accepted
        devices = f"{IMAGES / images / 3600:.1f}"
        if files is not None:
            core = float(files["encode"]) / float(files["worker_threads"])
            cores = f"{images / core:.1f}"
    if files is not None:
        both = 1 / float(files["write"]) + 1 / float(files["set_written"])
        writing = f"{IMAGES * both / 3600:.1f}"
        size = f"{IMAGES * float(files['bytes_per_image']) / 1e9:.0f}"
    return f"| {number} | {devices} | {cores} | {writing} | {size} |"


if __name__ == "__main__":
    sys.exit(main())
