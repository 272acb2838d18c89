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
THREADS = {"cuda:80": 1024, "cuda:90": 1024, "hip": 1024}
THREADS_OF_A_WARP = {"cuda:80": 32, "cuda:90": 32, "hip": 64}
MOST_BESIDE_THE_FIRST_AXIS = 65_535

KERNELS = {
    "bank_lse", "fir2d", "kl_uniform", "kl_uniform_gradient", "modulated_act",
    "modulated_act_backward", "path_step", "sweep",
}  # fmt: skip

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


def each(target):
    """(kernel, case, figures) of all that was compiled."""
    return [
        (kernel, case, figures)
        for kernel, cases in compiled(target).items()
        for case, figures in cases.items()
    ]


@pytest.mark.parametrize("target", list(SHARED))
def test_every_kernel_compiles_and_fits(target):
    assert compiled(target).keys() == KERNELS
    for kernel, case, figures in each(target):
        assert figures["shared"] <= SHARED[target], (kernel, case)
        threads = figures["warps"] * THREADS_OF_A_WARP[target]
        assert threads <= THREADS[target], (kernel, case)


def test_any_number_of_images_and_rows_can_be_launched():
    """Cases of 70,000 rows and images are among them."""
    for kernel, case, figures in each("cuda:90"):
        assert figures["grid"] <= MOST_BESIDE_THE_FIRST_AXIS, (kernel, case)


@pytest.mark.parametrize("target", list(SHARED))
def test_nothing_spills(target):
    if OLD:
        pytest.skip("the compiler of Triton before 3.3 spills a few registers of bank_lse")
    for kernel, case, figures in each(target):
        # Where registers are left the assembler gives up one or two for more blocks at a time.
        least = 8 if figures.get("REG", 255) < 64 else 0
        spilled = {name: figures.get(name, 0) for name in ("STACK", "LOCAL", "vgpr_spill_count")}
        assert max(spilled.values()) <= least, (kernel, case, figures)


def test_half_precision_runs_on_hopper_s_matrix_units():
    assert compiled("cuda:90")["bank_lse"]["D=512 bf16"]["wgmma"] > 0


def test_products_read_shared_memory_as_the_cuda_kernel_for_hopper_says():
    """The same rows of 128 bytes, swizzled by 128, in pieces of 64 columns side by side.

    A compiler whose code is known to run on Hopper describes them as csrc/cuda/bank_lse_sm90.h
    does: 8 rows are 1,024 bytes (bits 32 to 45, in 16 bytes), the next 64 columns a piece further
    on (bits 16 to 29, where columns are summed), the next 16 of 64 columns 32 bytes, the next 16
    rows 2,048.
    """
    if not importlib.metadata.version("triton").startswith(("3.6.", "3.7.")):
        pytest.skip("tiles of other versions have other pieces")
    rows = 1 << 62 | 1024 // 16 << 32
    columns = rows | 64 * 128 // 16 << 16
    found = set(compiled("cuda:90")["bank_lse"]["D=512 bf16"]["descriptors"])
    assert {rows + 32 * step // 16 for step in range(4)} <= found
    assert {columns + 2048 * step // 16 for step in range(4)} <= found
    assert {number for number in found if number >> 16 & 0x3FFF} == {
        columns + 2048 * step // 16 for step in range(4)
    }


def test_threads_of_the_backward_pass_wait_for_each_other_only_at_its_end():
    """Each of its five sums is reduced once, not in every round over the pixels."""
    figures = compiled("cuda:90")["modulated_act_backward"]["C=64 R=3 bf16"]
    assert figures["barriers in loops"] == 0 < figures["barriers"]
