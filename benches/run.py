"""Run the benchmarks, append their rows to benches/results/*.csv and redraw the plots.

    python benches/run.py                    # all kernels, five turns of three rounds
    python benches/run.py kl_uniform         # one of them
    python benches/run.py --turns 2          # shorter

Further benchmarks (bench_ksame.py, bench_synthesis.py, bench_audit.py) are scripts of their own:
see their first lines.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
KERNELS = (
    "kl_uniform",
    "bank_lse",
    "path_step",
    "path_smooth",
    "row_distances",
    "modulated_act",
    "fir2d",
    "conv3x3",
)


def main() -> int:
    """Parse the command line, run pytest over the chosen benchmarks, plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kernels", nargs="*", default=KERNELS, help=f"out of {', '.join(KERNELS)}")
    parser.add_argument("--turns", type=int, default=5, help="times round the implementations")
    parser.add_argument("--rounds", type=int, default=3, help="timings per turn")
    options = parser.parse_args()
    if options.turns < 1 or options.rounds < 1 or options.turns * options.rounds < 2:
        parser.error("a spread needs at least two timings: raise --turns or --rounds")
    environment = os.environ | {
        "LATENTPATH_BENCH_TURNS": str(options.turns),
        "LATENTPATH_BENCH_ROUNDS": str(options.rounds),
    }
    for kernel in options.kernels:
        # The kernels time themselves with more threads than tests take, one file per process.
        command = [sys.executable, "-m", "pytest", str(HERE / f"bench_{kernel}.py")]
        command += ["-q", "-p", "no:cacheprovider", "-o", "python_files=bench_*.py"]
        command += ["-o", "addopts=", "--benchmark-columns=median,iqr,rounds"]
        ran = subprocess.run(command, env=environment, check=False)
        if ran.returncode != 0:
            return ran.returncode
    return subprocess.run([sys.executable, str(HERE / "plots.py")], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
