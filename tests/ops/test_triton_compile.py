"""Every Triton kernel, compiled ahead of time for GPUs that this machine need not have."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

from support import search_path
from support.kept import kept

# Shared memory of one multiprocessor that a program may take, bytes.
SHARED = {"cuda:80": 163 * 1024, "cuda:90": 227 * 1024, "hip": 64 * 1024}


OLD = tuple(map(int, importlib.metadata.version("triton").split(".")[:2])) < (3, 3)


@functools.cache
def compiled(target):
    if OLD and target == "hip":
        pytest.skip("Triton before 3.3 links for AMD's GPUs with a linker of theirs")
    environment = os.environ | {
        "PYTHONPATH": search_path(),
        "TRITON_INTERPRET": "0",
        "TRITON_DEFAULT_FP_FUSION": "1",
    }
    command = [sys.executable, "-m", "support.triton_ahead", target]

    def compile_all():
        ran = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    root = Path(__file__).resolve().parents[2]
    sources = [*sorted((root / "latentpath/ops/triton").glob("*.py"))]
    sources.append(root / "tests/support/triton_ahead.py")
    versions = [importlib.metadata.version("triton"), importlib.metadata.version("torch")]
    return json.loads(kept([target, *versions, *sources], compile_all))


@pytest.mark.parametrize("target", list(SHARED))
def test_every_kernel_compiles_and_fits(target):
    for kernel in compiled(target).values():
        for shape, figures in kernel.items():
            assert figures["shared"] <= SHARED[target], shape


def test_nothing_spills_at_the_benchmark_shapes_on_hopper():
    reports = compiled("cuda:90")
    shapes = {"bank_lse": ["D=512 bf16", "D=512 fp16", "D=512 fp32"]}
    for kernel in ("kl_uniform", "modulated_act", "modulated_act_backward", "fir2d"):
        shapes[kernel] = list(reports[kernel])
    for kernel, names in shapes.items():
        for name in names:
            figures = reports[kernel][name]
            assert figures["STACK"] == figures["LOCAL"] == 0, (kernel, name, figures)


def test_half_precision_runs_on_hopper_s_matrix_units():
    assert compiled("cuda:90")["bank_lse"]["D=512 bf16"]["wgmma"] > 0


@pytest.mark.parametrize("target", ["cuda:80", "hip"])
def test_nothing_spills_elsewhere_either(target):
    if OLD:
        pytest.skip("the compiler of Triton before 3.3 spills a few registers of bank_lse")
    for name in ("D=512 bf16", "D=512 fp16", "D=512 fp32"):
        figures = compiled(target)["bank_lse"][name]
        assert figures.get("STACK", 0) == figures.get("vgpr_spill_count", 0) == 0, (name, figures)
