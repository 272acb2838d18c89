"""Images per second of each stage of a production run, and what a second worker brings.

    python benches/bench_produce.py                      # 10,000 images, one process
    python benches/bench_produce.py --engines ray:1 ray:2 ray:1 ray:2 --images 1000
    python benches/bench_produce.py --files 256          # PNG, shards and set of 256x256 alone
    python benches/bench_produce.py --data xrays/ --weights weights/ --device cuda

Runs are made on the digits of the demo unless told otherwise. Rows go to results/produce.csv; the
projection of results/produce_plan.md is computed from them by `plan_produce.py`. Every stage but
"walk" does the same work whatever the solver; the walk's cost grows with its generator passes, so
its rate is also given as points times passes per second, at the most passes that it may take.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import workload

from latentpath.data import load_digits_split, read_image_set
from latentpath.data.pixel_files import encode_pngs
from latentpath.data.writers import WRITERS, Batch, SetForm
from latentpath.production import (
    ASSETS,
    FastOptions,
    ProduceConfig,
    PublishedOptions,
    RunConfig,
    RunOptions,
    WalkOptions,
    load_bundle,
    produce,
)
from latentpath.production.run.ledger import DONE, Ledger
from latentpath.production.run.run_folder import write_durably
from latentpath.production.run.run_status import read_status, stage_rates

TABLE = workload.RESULTS / "produce.csv"


@dataclass(frozen=True)
class Engine:
    """An engine with its number of workers, as on the command line: local, ray:2."""

    name: str
    workers: int

    @classmethod
    def parse(cls, text: str) -> Engine:
        name, _, workers = text.partition(":")
        return cls(name, int(workers or 0))


def main() -> int:
    options = _parser().parse_args()
    new = [_files_row(options.files, options.threads)] if options.files else _runs(options)
    _append(new)
    for row in new:
        print({name: value for name, value in row.items() if value != ""})
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10_000, help="images to make [10000]")
    parser.add_argument(
        "--engines", nargs="+", type=Engine.parse, default=[Engine("local", 1)], help="in turn"
    )
    parser.add_argument("--data", default="digits", help="as for `latentpath produce` [digits]")
    parser.add_argument("--weights", default=ASSETS, help="as for `latentpath produce` [digits]")
    parser.add_argument("--device", default="cpu", help="cpu or cuda [cpu]")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of a worker [1]")
    parser.add_argument("--solver", default="fast", help="of the walks [fast]")
    parser.add_argument("--steps", type=int, default=26, help="points of a walk [26, the demo's]")
    parser.add_argument(
        "--passes", type=float, default=16, help="of the generator per point, at most [16]"
    )
    parser.add_argument(
        "--files", type=int, default=0, metavar="SIDE", help="measure files of this size alone"
    )
    return parser


def _runs(options: argparse.Namespace) -> list[dict[str, object]]:
    digits = options.data == "digits"
    data = load_digits_split().private if digits else read_image_set(options.data)
    bundle = load_bundle(options.weights, options.device)
    config = ProduceConfig(
        count=options.images,
        balanced=True,
        walk=WalkOptions(
            steps=options.steps,
            solver=options.solver,
            fast=FastOptions(options.passes),
            published=PublishedOptions(round(options.passes)),
        ),
    )
    rows = []
    for engine in options.engines:
        run = RunConfig(engine=engine.name, workers=engine.workers)
        with tempfile.TemporaryDirectory() as place:
            began = time.perf_counter()
            made = produce(
                data,
                bundle,
                Path(place) / "run",
                config,
                RunOptions(run=run, threads=options.threads, device=options.device),
            )
            whole = time.perf_counter() - began
            ledger = Ledger.read(made.folder.ledger, made.plan.hash)
            shards = [row for row in ledger.shards() if row.state == DONE]
            ledger.close()
            status = read_status(made.folder.root)
        # From the first shard that was begun to the last one that was stored.
        span = max(row.finished for row in shards) - min(row.started for row in shards)
        tested = sum(row.tested for row in shards)
        stages = stage_rates(shards)
        # The line and the finished path are evaluated, too.
        passes = options.passes + 2
        rows.append(
            _row(
                what=f"{engine.name}:{max(engine.workers, 1)}",
                size=bundle.generator.img_resolution,
                images=made.chosen.count,
                solver=f"{options.solver} {options.passes:g}",
                tested=tested,
                whole_seconds=round(whole, 2),
                shards_seconds=round(span, 2),
                images_per_second=round(made.chosen.count / span, 3),
                samples_per_second=round(tested / span, 3),
                walk=round(stages["walk"], 3),
                walk_passes=round(stages["walk"] * passes, 2),
                **{
                    name: round(stages[name], 2) for name in ("generate", "gate", "encode", "write")
                },
                busy=round(status.busy, 3),
                worker_threads=options.threads,
            )
        )
    return rows


def _files_row(side: int, threads: int, count: int = 256) -> dict[str, object]:
    """Rates of PNG packing, of storing shards and of writing a set, without any network."""
    rng = np.random.default_rng(0)
    # As rough as scans are: a smooth picture with a little noise.
    coarse = rng.normal(size=(count, side // 16, side // 16, 3)).repeat(16, 1).repeat(16, 2)
    smooth = np.stack([np.cumsum(np.cumsum(image, 0), 1) for image in coarse])
    smooth = (smooth - smooth.min()) / np.ptp(smooth) * 200
    images = np.clip(smooth + rng.normal(scale=3, size=smooth.shape) + 25, 0, 255).astype(np.uint8)
    pngs: list[bytes] = []

    def encode() -> None:
        with ThreadPoolExecutor(threads) as pool:
            pngs[:] = encode_pngs(images, pool)

    with tempfile.TemporaryDirectory() as place:

        def store() -> None:
            write_durably(Path(place) / "shard", b"".join(pngs))

        def write_set() -> None:
            form = SetForm(side, side, 3, ("a",), count)
            out = Path(tempfile.mkdtemp(dir=place))
            with WRITERS["webdataset"](out, form, file="shard.tar") as writer:
                writer.add(Batch.packed(pngs, (side, side, 3), np.zeros(count, np.int64)))

        seconds = {name: _median(job) for name, job in
                   (("encode", encode), ("write", store), ("set", write_set))}  # fmt: skip
    return _row(
        what="files",
        size=side,
        images=count,
        solver="",
        encode=round(count / seconds["encode"], 2),
        write=round(count / seconds["write"], 2),
        set_written=round(count / seconds["set"], 2),
        bytes_per_image=sum(map(len, pngs)) // count,
        worker_threads=threads,
    )


def _median(job, rounds: int = 5) -> float:
    taken = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        job()
        taken.append(time.perf_counter() - began)
    return float(np.median(taken[1:]))


COLUMNS = (
    "what", "size", "images", "solver", "tested", "whole_seconds", "shards_seconds",
    "images_per_second", "samples_per_second", "walk", "walk_passes", "generate", "gate", "encode",
    "write", "set_written", "bytes_per_image", "busy", "worker_threads",
)  # fmt: skip


def _row(**values: object) -> dict[str, object]:
    load = round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else ""
    return workload.machine() | {"load": load} | dict.fromkeys(COLUMNS, "") | values


def _append(rows: list[dict[str, object]]) -> None:
    TABLE.parent.mkdir(exist_ok=True)
    is_new = not TABLE.exists()
    with TABLE.open("a", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        if is_new:
            writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    sys.exit(main())
