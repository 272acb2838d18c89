"""Try an installed latentpath: its import, `latentpath info`, a walk on the compiled kernels.

Run with the Python of the installation, which needs nothing but what latentpath itself needs:
`python tests/installed.py`. Ends with exit code 0 where all is well.
"""

from __future__ import annotations

import collections
import subprocess
import sys
import sysconfig
import warnings
from pathlib import Path

import torch
from torch import nn

import latentpath
from latentpath import ops

# Points, latent width, people, classes, pixels: ragged, and small enough to take a second.
POINTS, WIDTH, PEOPLE, CLASSES, PIXELS = 11, 13, 15, 3, 16


def count_calls(module):
    """Count the calls of every kernel of the compiled module."""
    calls = collections.Counter()

    def counted(name, kernel):
        def call(*arguments, **options):
            calls[name] += 1
            return kernel(*arguments, **options)

        return call

    for op in ops.implementations("cpu"):
        setattr(module, op, counted(op, getattr(module, op)))
    return calls


class Generator(nn.Module):
    """Latents to 4 x 4 images."""

    latent_dim, img_channels, img_resolution = WIDTH, 1, 4

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(WIDTH, PIXELS)

    def synthesize(self, w):
        return torch.tanh(self.layer(w)).reshape(-1, 1, 4, 4)


def classifier(width):
    net = nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, 20), nn.Tanh(), nn.Linear(20, width))
    net.img_channels = 1
    return net.eval().requires_grad_(False)


def walk():
    torch.manual_seed(0)
    start, end = torch.randn(2, 3, WIDTH)
    labels = torch.arange(3) % CLASSES
    networks = latentpath.Networks(
        Generator().requires_grad_(False), classifier(PEOPLE), classifier(CLASSES)
    )
    return latentpath.walk(start, end, labels, networks, steps=POINTS)


def main():
    """Raise where something is missing."""
    warnings.simplefilter("error")
    installed = Path(latentpath.__file__).resolve()
    assert Path(sysconfig.get_paths()["platlib"]).resolve() in installed.parents, installed
    from latentpath import _C

    runs = {op: kinds["cpu"]["runs"] for op, kinds in ops.implementations("cpu").items()}
    assert set(runs.values()) == {"native"}, runs
    calls = count_calls(_C)
    walked = walk()
    assert walked.latents.shape == (3, POINTS, WIDTH)
    assert (walked.after.total < walked.before.total).all()
    assert calls["path_step"] or calls["path_smooth"], calls
    command = [Path(sys.executable).with_name("latentpath"), "info"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert f"compiled extension: {_C.isa()}" in said, said
    assert "missing" not in said, said
    print(said)
    print("kernel calls of a walk:", dict(calls))


if __name__ == "__main__":
    main()
