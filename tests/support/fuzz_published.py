"""Mutations of valid published pickles, for a test and for long runs by hand.

    python tests/generators/fuzz_published.py --files 50000 --seed 1

tries that many files and prints what became of them. A file may load or be refused by
WeightsError; anything else, code that runs, a file that is written, and memory above a bound end
the run with the file kept for inspection.
"""

from __future__ import annotations

import argparse
import collections
import pickletools
import random
import sys
import tempfile
import time
from pathlib import Path
from unittest import mock

import torch

import latentpath
from latentpath.core.errors import WeightsError
from latentpath.generators import StyleGAN2, StyleGAN3
from support import (
    hostile_files as hostile,
    pickle_assembler as assembler,
    published_files as published,
    published_networks as networks,
    published_stylegan3,
    watching,
)

MEMORY = 300 << 20

# What is put between instructions: each of them, names, and whole hostile calls.
_ARGUMENTS = [b"", b"\0", b"\1", b"\xff", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\xff" * 8, b"x\ny\n"]
_CALLS = [assembler.call(title, *arguments) for title, *arguments in hostile.CALLS]
_PARTS = [
    b"}", b"]", b")", b"\x8f", b"N", b"0", b"1", b"2", b"(", b"t", b"R", b"b", b"\x81", b"Q", b".",
    assembler.name("dnnlib.util.EasyDict") + b")\x81", assembler.call("collections.OrderedDict"),
    assembler.storage(assembler.floats()), assembler.tensor((2,), (1,)), assembler.network({}),
    assembler.call("numpy.dtype", "f8", False, True), assembler.text("_modules"),
]  # fmt: skip

ALIAS_FREE = {"channel_base": 16, "channel_max": 2, "num_layers": 3, "num_critical": 1}


def corpus():
    """Small valid files of every kind."""
    with mock.patch.object(networks, "MODULE_SOURCE", "raise SystemExit"):
        tiny = {"img_resolution": 8, "mapping_kwargs": {"num_layers": 1}}
        skip, resnet = (
            published.small(
                **tiny, c_dim=c,
                synthesis_kwargs={"channel_base": 32, "channel_max": 4, "architecture": name},
            )
            for name, c in (("skip", 0), ("resnet", 2))
        )  # fmt: skip
        return [
            published.pickled({"G_ema": published_stylegan3.generator(**ALIAS_FREE)}),
            published.pickled({"G_ema": skip}),
            published.pickled({"G_ema": resnet}, 2),
            published.pickled({"G": skip}, 0),
            published.pickled(skip, 5, share=True),
            published.pickled({"G_ema": skip}, zipped=True),
            published.pickled(published.snapshot(skip), 3, storage=published.on_a_gpu),
        ]


def boundaries(data):
    """Positions between instructions."""
    return [position for _, _, position in pickletools.genops(data)]


class Fuzzer:
    """Makes mutated files from `files`."""

    def __init__(self, files):
        self.files = files
        self.boundaries = {data: boundaries(data) for data in files}

    def mutated(self, choose):
        """A valid file with one to four mutations; `choose` is a `random.Random`."""
        original = choose.choice(self.files)
        data, places = bytearray(original), self.boundaries[original]
        for _ in range(choose.choice([1, 1, 2, 4])):
            mutation = choose.choice(MUTATIONS)
            near = choose.choice(places) if choose.random() < 0.7 else choose.randrange(len(data))
            mutation(self, data, min(near, len(data) - 1), choose)
            if not data:
                break
        return bytes(data)

    def flip(self, data, at, choose):
        data[at] ^= 1 << choose.randrange(8)

    def overwrite(self, data, at, choose):
        new = choose.choice(_ARGUMENTS) or bytes([choose.randrange(256)])
        data[at : at + len(new)] = new

    def cut(self, data, at, choose):
        del data[at:]

    def remove(self, data, at, choose):
        del data[at : at + choose.choice([1, 2, 5, 50, 1000])]

    def repeat(self, data, at, choose):
        piece = data[at : at + choose.choice([1, 3, 20, 300])]
        data[at:at] = piece * choose.choice([1, 2, 50])

    def move(self, data, at, choose):
        piece = data[at : at + choose.choice([1, 10, 200])]
        other = choose.randrange(len(data))
        data[other:other] = piece

    def splice(self, data, at, choose):
        other = choose.choice(self.files)
        start = choose.choice(self.boundaries[other])
        data[at:] = other[start:]

    def insert_instruction(self, data, at, choose):
        data[at:at] = bytes([choose.randrange(256)]) + choose.choice(_ARGUMENTS)

    def insert_part(self, data, at, choose):
        data[at:at] = choose.choice(_PARTS)

    def insert_call(self, data, at, choose):
        data[at:at] = choose.choice(_CALLS)

    def swap_words(self, data, at, choose):
        old, new = choose.sample(_WORDS, 2)
        if data.count(old):
            start = data.find(old, choose.randrange(len(data)))
            start = data.find(old) if start < 0 else start
            data[start : start + len(old)] = new


_WORDS = [
    b"torch.storage", b"torch._utils", b"_rebuild_tensor_v2", b"_rebuild_parameter",
    b"_load_from_bytes", b"collections", b"OrderedDict", b"FloatStorage", b"DoubleStorage",
    b"BoolStorage", b"_parameters", b"_modules", b"_buffers", b"G_ema", b"EasyDict", b"dnnlib.util",
    b"builtins", b"system", b"eval", b"numpy", b"dtype", b"scalar", b"\x94", b"R", b"synthesis",
    b"mapping", b"cpu", b"class", b"resample_filter", b"img_resolution", b"channel_max",
]  # fmt: skip
MUTATIONS = [value for name, value in vars(Fuzzer).items() if name[0] != "_" and name != "mutated"]


def outcome(path):
    """Load a file; "loaded", or the name of the error. Raises if it does anything else."""
    with watching.nothing_happens():
        try:
            generator = latentpath.load_generator(path)
        except WeightsError as error:
            line = str(error)
            assert "\n" not in line
            assert len(line) < 1000
            assert line.isprintable()
            return type(error).__name__
    assert isinstance(generator, StyleGAN2 | StyleGAN3)
    assert all(torch.isfinite(tensor).all() for tensor in generator.state_dict().values())
    return "loaded"


def main():
    """Try many files and print the outcomes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    choose, fuzzer = random.Random(arguments.seed), Fuzzer(corpus())
    path = Path(tempfile.mkdtemp()) / "mutated.pkl"
    for data in fuzzer.files:  # also imports what loading needs
        path.write_bytes(data)
        latentpath.load_generator(path)
    found, slowest = collections.Counter(), 0.0
    memory = watching.Memory()
    for number in range(arguments.files):
        path.write_bytes(fuzzer.mutated(choose))
        started = time.perf_counter()
        try:
            found[outcome(path)] += 1
            assert memory.growth() < MEMORY, memory.growth()
        except BaseException:
            print(f"file {number} is kept as {path}", file=sys.stderr)
            raise
        slowest = max(slowest, time.perf_counter() - started)
    print(f"{arguments.files} files, seed {arguments.seed}: {dict(found.most_common())}")
    print(f"slowest {slowest:.2f} s, memory {memory.growth() / (1 << 20):.0f} MB")


if __name__ == "__main__":
    main()
