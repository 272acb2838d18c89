"""One configuration gives one set, byte for byte: from Python, from the command line, from any
engine, in memory."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from latentpath.data import read_image_set
from latentpath.production import RunFolder, load_bundle, produce, produce_set
from support import search_path, tiny_models
from support.tiny_runs import config, files_of, options, same_set

GIVEN = {"count": 30, "seed": 3, "balanced": True, "passes": 2.0, "gate_quantile": 0.1}
WORDS = ["--k", "3", "--steps", "5", "--optim-steps", "1", "--portion-walks", "2", "--count", "30",
         "--seed", "3", "--balanced", "--passes", "2", "--gate-quantile", "0.1",
         "--gate-identity", "1", "--no-gate-class", "--threads", "1", "--quiet"]  # fmt: skip


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    root = tmp_path_factory.mktemp("one")
    tiny_models.write_folder(root / "images", tiny_models.private_set())
    read = read_image_set(root / "images")
    tiny_models.save_bundle(root, tiny_models.bundle_for(read))
    return root


@pytest.fixture(scope="module")
def from_python(places):
    """The run that all others must be like."""
    data, bundle = read_image_set(places / "images"), load_bundle(places)
    return produce(data, bundle, places / "python", config(**GIVEN), options())


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_the_command_line_makes_what_python_makes(places, from_python, engine):
    words = ["produce", "--data", places / "images", "--weights", places, "--out", places / engine]
    if engine == "ray":
        pytest.importorskip("ray")
        words += ["--engine", "ray", "--workers", "1", "--device", "cpu"]
    # In a process of its own, as it runs elsewhere: a driver of Ray takes over its process.
    code = "import sys; from latentpath.cli import main; sys.exit(main(sys.argv[1:]))"
    ran = subprocess.run(
        [sys.executable, "-c", code, *(str(word) for word in (*words, *WORDS))],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "PYTHONPATH": search_path(),
            # Processes are begun when they are asked for: each takes a second.
            "RAY_enable_worker_prestart": "0",
            "RAY_prestart_worker_first_driver": "0",
        },
    )
    assert ran.returncode == 0, ran.stderr
    assert same_set(RunFolder(places / engine), from_python.folder)
    assert from_python.manifest["seal"] in ran.stdout
    assert len(files_of(from_python.folder.set)) == 30 + 4  # images, table, archive, card, manifest


def test_several_workers_of_one_process_make_the_same(places, from_python):
    data, bundle = read_image_set(places / "images"), load_bundle(places)
    made = produce(data, bundle, places / "three", config(**GIVEN), options(threads=3))
    assert same_set(made.folder, from_python.folder)


@pytest.mark.parametrize("portion_walks", [1, 5])
def test_portions_of_any_size_make_the_same(places, from_python, tmp_path, portion_walks):
    data, bundle = read_image_set(places / "images"), load_bundle(places)
    asked = options(run={"portion_walks": portion_walks})
    made = produce(data, bundle, tmp_path / "run", config(**GIVEN), asked)
    assert same_set(made.folder, from_python.folder)


def test_a_set_in_memory_has_the_same_samples(places, from_python):
    data, bundle = read_image_set(places / "images"), load_bundle(places)
    made = produce_set(data, bundle, config(**GIVEN))
    written = read_image_set(from_python.folder.set)
    assert np.array_equal(made.samples.images, written.images)
    assert made.rejected == from_python.manifest["gate"]["rejected"]
    assert made.walks.pairs.tolist() == from_python.manifest["walks"]["pairs"]
