"""What the kernel benchmarks share: a workload, its rows, and memory in a process of its own."""

from __future__ import annotations

import csv
import datetime
import functools
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch

import latentpath
from latentpath.ops import dispatch

RESULTS = Path(__file__).parent / "results"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Workload:
    """One shape of one op: implementations that do the same, and what bounds them.

    Attributes:
        runs: implementation -> what to time; "copy" or "matmul" do nothing but the work of the
            bound, at the machine's own rate.
        bytes: bytes that must be read and written.
        flops: operations of the matrix products that must be done; 0 where bytes are the bound.
        bound: the entry of `runs` that is the bound.
    """

    runs: dict[str, Callable[[], object]]
    bytes: int
    flops: int
    bound: str


def best(op: str) -> str:
    """The name that our best implementation has in the rows: `native-avx512`, `triton`, ..."""
    runs = latentpath.ops.implementations(DEVICE)[op][DEVICE]["runs"]
    module = dispatch.extension()
    return f"native-{module.isa()}" if module and runs == "native" and DEVICE == "cpu" else runs


def synchronized(run: Callable[[], object]) -> Callable[[], object]:
    """Wait for the GPU inside what is timed."""
    if DEVICE == "cpu":
        return run

    def timed() -> object:
        result = run()
        torch.cuda.synchronize()
        return result

    return timed


def copy_of(size: int) -> Callable[[], object]:
    """A copy that moves so many bytes, read and written taken together."""
    source = torch.ones(size // 8, device=DEVICE)
    target = torch.empty_like(source)
    return lambda: target.copy_(source)


@functools.cache
def machine() -> dict[str, object]:
    """The columns that say where a row comes from."""
    name = platform.processor() or platform.machine()
    if DEVICE == "cuda":
        name = torch.cuda.get_device_name()
    elif Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((li.split(":")[1].strip() for li in lines if li.startswith("model name")), name)
    module = dispatch.extension()
    return {
        "when": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M"),
        "device": name,
        "isa": module.isa() if module else "",
        "threads": torch.get_num_threads(),
        "latentpath": latentpath.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


@dataclass
class Sample:
    """All timings of one implementation on one workload."""

    op: str
    shape: str
    dtype: str
    implementation: str
    workload: tuple[int, int, str]  # bytes, flops, bound
    seconds: list[float] = field(default_factory=list)
    load: float = 0.0  # 1-minute load average when it was last timed

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def rows(samples: Iterable[Sample]) -> list[dict[str, object]]:
    """Turn the samples of one session into rows of `results/<op>.csv`."""
    found = {(s.op, s.shape, s.dtype, s.implementation): s for s in samples}
    result = []
    for sample in found.values():
        size, flops, bound_name = sample.workload
        bound = found.get((sample.op, sample.shape, sample.dtype, bound_name))
        quantiles = statistics.quantiles(sample.seconds, n=5, method="inclusive")
        result.append(
            machine()
            | {
                "load": round(sample.load, 2),
                "op": sample.op,
                "shape": sample.shape,
                "dtype": sample.dtype,
                "implementation": sample.implementation,
                "rounds": len(sample.seconds),
                "median_ms": round(1e3 * sample.median, 4),
                "p20_ms": round(1e3 * quantiles[0], 4),
                "p80_ms": round(1e3 * quantiles[3], 4),
                "gb_per_s": round(size / sample.median / 1e9, 2),
                "gflop_per_s": round(flops / sample.median / 1e9, 1),
                "share_of_bound": round(bound.median / sample.median, 3) if bound else "",
                "peak_extra_mib": peak_extra_mib(sample),
            }
        )
    return result


def append(new: list[dict[str, object]]) -> None:
    """Append rows to the tables of their ops."""
    RESULTS.mkdir(exist_ok=True)
    for row in new:
        path = RESULTS / f"{row['op']}.csv"
        is_new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(row), lineterminator="\n")
            if is_new:
                writer.writeheader()
            writer.writerow(row)


def peak_extra_mib(sample: Sample) -> float | str:
    """Peak memory of one call above what is allocated before it, outputs included, in MiB.

    On the CPU a fresh process takes it, since PyTorch does not count the memory it holds there.
    """
    command = [sys.executable, __file__, sample.op, sample.shape, sample.dtype]
    command += [sample.implementation, str(torch.get_num_threads())]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    return json.loads(ran.stdout.splitlines()[-1]) if ran.returncode == 0 else ""


def _peak_kib() -> int:
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])


def _resident_kib() -> int:
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0])


def _print_peak(op: str, shape: str, dtype: str, implementation: str, threads: str) -> None:
    torch.set_num_threads(int(threads))
    module = __import__(f"bench_{op}")
    run = module.build(shape, dtype, only=implementation).runs[implementation]
    run()  # compiles, loads libraries
    if DEVICE == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        print(round((torch.cuda.max_memory_allocated() - before) / 2**20, 1))
        return
    Path("/proc/self/clear_refs").write_text("5")  # start the peak again from here
    before = _resident_kib()
    run()
    print(round(max(0, _peak_kib() - before) / 1024, 1))


if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(__file__))
    _print_peak(*sys.argv[1:])
