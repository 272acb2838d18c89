"""row_distances: matrix products in float64, eager PyTorch, ours, and reading the bytes."""

from __future__ import annotations

import functools

import pytest
import torch
import workload as shared

from latentpath import ops
from latentpath.ksame.distances import squared_distances, squared_norms

OP = "row_distances"
# Rows, targets, width: what a group of five people asks of 10,000 and of 100,000 others.
CASES = [("10000x1x512", "float32"), ("10000x4x512", "float32"), ("100000x4x512", "float32")]
IMPLEMENTATIONS = ["matmul64", "eager", shared.best(OP), "read"]


def _matmul(points, targets):
    """Float64 points and norms that are kept from call to call, as a grouping would keep them."""
    wide, few = points.double(), targets.double()
    norms, few_norms = squared_norms(wide), squared_norms(few)
    return lambda: squared_distances(few, wide, few_norms, norms)


@functools.lru_cache(maxsize=1)
def build(shape: str, dtype: str, only: str | None = None) -> shared.Workload:
    """Random rows around a few centres; targets are rows."""
    rows, few, width = map(int, shape.split("x"))
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(40, width, generator=generator)
    points = 0.5 * torch.randn(rows, width, generator=generator)
    points += centres[torch.randint(40, (rows,), generator=generator)]
    points = points.to(shared.DEVICE)
    targets = points[:few].clone()
    makers = {
        "matmul64": lambda: _matmul(points, targets),
        "eager": lambda: functools.partial(ops.row_distances, points, targets, impl="reference"),
        shared.best(OP): lambda: functools.partial(ops.row_distances, points, targets),
        "read": lambda: points.sum,
    }
    runs = {name: make() for name, make in makers.items() if only in (None, name)}
    size = 4 * points.numel() + 8 * rows * few
    return shared.Workload(runs, bytes=size, flops=0, bound="read")


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(("shape", "dtype"), CASES)
def test_row_distances(measure, shape, dtype, implementation):
    measure(OP, shape, dtype, implementation, build(shape, dtype))
