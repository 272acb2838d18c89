"""k-same grouping against the published algorithm: time, peak memory, within-group variance.

    python benches/bench_ksame.py                         # n = 1,000 2,000 5,000
    python benches/bench_ksame.py --sizes 10000 --methods farthest mdav auto
    python benches/bench_ksame.py --sizes 100000 --methods auto --repeats 1

Rows go to benches/results/ksame.csv. All implementations of a size run interleaved in one
process on the same latents; the peak memory of each is taken in a process of its own, above what
the latents take, or with one repeat, as for runs of many minutes, during that run. Latents are a
mixture of 40 clusters, as latents of real images are.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import latentpath
from latentpath.ksame import k_same
from latentpath.ops import dispatch

RESULTS = Path(__file__).parent / "results" / "ksame.csv"


def published(latents: np.ndarray, k: int) -> np.ndarray:  # [n, D] -> [n]
    """The published k-SALSA procedure, in its form: a matrix whose used part becomes NaN.

    Group numbers start at 1. Where k does not divide n, the last round takes points away from
    earlier groups, as the published one does.
    """
    from scipy.spatial.distance import pdist, squareform

    matrix = squareform(pdist(latents))
    np.fill_diagonal(matrix, np.nan)
    groups = np.zeros(len(latents), dtype=np.int64)
    number = 0
    while (groups == 0).any():
        number += 1
        sums = np.nansum(matrix, axis=1)
        sums[groups != 0] = np.nan
        centre = int(np.nanargmax(sums))
        members = [*np.argsort(matrix[centre])[: k - 1], centre]
        groups[members] = number
        matrix[members, :] = np.nan
        matrix[:, members] = np.nan
    return groups


def ours(method: str) -> Callable[[np.ndarray, int], np.ndarray]:
    def group(latents: np.ndarray, k: int) -> np.ndarray:
        n = len(latents)
        return k_same(latents, np.arange(n), np.zeros(n, np.int64), k, method).assignment

    return group


IMPLEMENTATIONS: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "published": published,
    "farthest": ours("farthest"),
    "mdav": ours("mdav"),
    "auto": ours("auto"),
}


def clustered_latents(n: int, dim: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((40, dim), dtype=np.float32)
    latents = 0.5 * rng.standard_normal((n, dim), dtype=np.float32)
    latents += centres[rng.integers(0, 40, n)]
    return latents


def variance_share(latents: np.ndarray, groups: np.ndarray) -> float:
    """Within-group sum of squares as a share of the total one."""
    _, dense = np.unique(groups, return_inverse=True)
    sums = np.zeros((dense.max() + 1, latents.shape[1]))
    np.add.at(sums, dense, latents)
    means = sums / np.bincount(dense)[:, None]
    centre = sums.sum(axis=0) / len(latents)
    within = total = 0.0
    for rows in np.array_split(np.arange(len(latents)), 1 + len(latents) // 4096):
        within += float(((latents[rows] - means[dense[rows]]) ** 2).sum())
        total += float(((latents[rows] - centre) ** 2).sum())
    return within / total


def peak_extra_mib(name: str, n: int, dim: int, k: int) -> int:
    """Peak resident memory of one call in a fresh process, above the latents, in MiB."""
    command = [sys.executable, __file__, "--peak", name, "--sizes", str(n)]
    command += ["--dim", str(dim), "--k", str(k), "--threads", str(torch.get_num_threads())]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def print_peak(name: str, n: int, dim: int, k: int) -> None:
    IMPLEMENTATIONS[name](clustered_latents(64, dim), 5)  # load libraries first
    latents = clustered_latents(n, dim)
    before = peak_kib()
    IMPLEMENTATIONS[name](latents, k)
    print((peak_kib() - before) // 1024)


def peak_kib() -> int:
    """Peak resident memory of this process (getrusage also counts what its parent held)."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])


def restart_peak() -> int:
    """Count this process's peak memory anew; return what it holds now, in KiB."""
    Path("/proc/self/clear_refs").write_text("5")
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0])


def measure(methods: list[str], n: int, dim: int, k: int, repeats: int) -> list[dict[str, object]]:
    latents = clustered_latents(n, dim)
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    shares: dict[str, float] = {}
    peaks: dict[str, int] = {}
    sizes: dict[str, np.ndarray] = {}
    for _ in range(repeats):
        for name in methods:
            before = restart_peak()
            start = time.perf_counter()
            groups = IMPLEMENTATIONS[name](latents, k)
            seconds[name].append(time.perf_counter() - start)
            peaks[name] = (peak_kib() - before) // 1024
            shares[name] = variance_share(latents, groups)
            sizes[name] = np.unique(groups, return_counts=True)[1]
    return [
        {
            "implementation": name,
            "n": n,
            "dim": dim,
            "k": k,
            "median_s": round(statistics.median(taken), 3),
            "p20_s": round(float(np.percentile(taken, 20)), 3),
            "p80_s": round(float(np.percentile(taken, 80)), 3),
            "repeats": repeats,
            "peak_extra_mib": peaks[name] if repeats == 1 else peak_extra_mib(name, n, dim, k),
            "variance_share": round(shares[name], 6),
            "smallest_group": int(sizes[name].min()),
            "largest_group": int(sizes[name].max()),
        }
        for name, taken in seconds.items()
    ]


def device_name() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def machine() -> dict[str, object]:
    module = dispatch.extension()
    return {
        "load": round(os.getloadavg()[0], 2),
        "device": device_name(),
        "isa": module.isa() if module else "",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "latentpath": latentpath.__version__,
    }


def append_rows(rows: list[dict[str, object]]) -> None:
    RESULTS.parent.mkdir(exist_ok=True)
    new = not RESULTS.exists()
    with RESULTS.open("a", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 2000, 5000])
    parser.add_argument("--methods", nargs="+", choices=IMPLEMENTATIONS, default=[*IMPLEMENTATIONS])
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--k", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--dry-run", action="store_true", help="print rows, store none")
    parser.add_argument("--peak", choices=IMPLEMENTATIONS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.peak:
        print_peak(args.peak, args.sizes[0], args.dim, args.k)
        return
    for n in args.sizes:
        rows = [
            {**row, **machine()} for row in measure(args.methods, n, args.dim, args.k, args.repeats)
        ]
        for row in rows:
            print(row)
        if not args.dry_run:
            append_rows(rows)


if __name__ == "__main__":
    main()
