"""path_smooth_: SciPy's banded Cholesky solve, plain PyTorch, ours, and copying the bytes."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
import workload as shared

from latentpath import ops

OP = "path_smooth"
ALPHA = 400.0
CASES = [("64x4096x512", "float32"), ("4x16384x512", "float32")]
IMPLEMENTATIONS = ["scipy", "eager", shared.best(OP), "copy"]


def _banded_solve(path):
    """One factorisation per path, as a user of SciPy would write it; the result goes back."""
    from scipy.linalg import solveh_banded

    values = path.numpy()
    banded = np.full((2, path.shape[1] - 2), 1 + 2 * ALPHA, dtype=np.float32)
    banded[0] = -ALPHA

    def run():
        for one in values:
            right = one[1:-1].copy()
            right[0] += ALPHA * one[0]
            right[-1] += ALPHA * one[-1]
            one[1:-1] = solveh_banded(banded, right, overwrite_b=True, check_finite=False)

    return run


@functools.lru_cache(maxsize=1)
def build(shape: str, dtype: str, only: str | None = None) -> shared.Workload:
    """[B, T, D] random values; every run smooths what the last one left."""
    batch, points, width = map(int, shape.split("x"))
    generator = torch.Generator().manual_seed(0)
    path = torch.randn(batch, points, width, generator=generator).to(shared.DEVICE)
    size = 2 * path.numel() * 4
    makers = {
        "scipy": lambda: _banded_solve(path.cpu()),
        "eager": lambda: functools.partial(ops.path_smooth_, path, ALPHA, impl="reference"),
        shared.best(OP): lambda: functools.partial(ops.path_smooth_, path, ALPHA),
        "copy": lambda: shared.copy_of(size),
    }
    runs = {name: make() for name, make in makers.items() if only in (None, name)}
    return shared.Workload(runs, bytes=size, flops=0, bound="copy")


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(("shape", "dtype"), CASES)
def test_path_smooth(measure, shape, dtype, implementation):
    measure(OP, shape, dtype, implementation, build(shape, dtype))
