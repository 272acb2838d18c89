"""Arrays in, a set out: images, labels and people of an `.npz`, and trained networks, make a set.

python examples/arrays_to_set.py private.npz weights/ run/ --count 2000
"""

from __future__ import annotations

import argparse

import numpy as np

import latentpath
from latentpath.production import OutputConfig, ProduceConfig, RunOptions


def main() -> None:
    """Make the set, and say what it promises."""
    parser = argparse.ArgumentParser(description="Make a synthetic set of arrays.")
    parser.add_argument("arrays", help=".npz with images [n, H, W] or [n, H, W, C], labels, people")
    parser.add_argument("weights", help="folder written by `latentpath train`")
    parser.add_argument("out", help="folder of the run")
    parser.add_argument("--count", type=int, default=0, help="images; 0: as many as there are")
    given = parser.parse_args()

    with np.load(given.arrays) as arrays:
        data = latentpath.image_set(arrays["images"], arrays["labels"], arrays["people"])
    print(data)
    run = latentpath.produce(
        data,
        latentpath.load_bundle(given.weights),
        given.out,
        ProduceConfig(count=given.count),
        RunOptions(output=OutputConfig(baselines="lines,centroids"), resume=True),
    )
    print(run.manifest["certificate"]["promise"])
    print(f"share {run.folder.set}, keep {run.folder.private}; its seal: {run.manifest['seal']}")


if __name__ == "__main__":
    main()
