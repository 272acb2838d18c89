"""conv3x3: PyTorch's convolution and its gradient in the images, ours, plain matrix products."""

from __future__ import annotations

import functools

import pytest
import torch
import torch.nn.functional as F
import workload as shared

from latentpath import ops

OP = "conv3x3"
# Images x channels taken x channels made x side: layers of the demo's networks.
SHAPES = ("64x64x64x16", "64x32x32x32", "64x16x16x32", "64x128x128x4")
CASES = [(shape, "float32") for shape in SHAPES]
IMPLEMENTATIONS = ["eager", shared.best(OP), "matmul"]


@functools.lru_cache(maxsize=1)
def build(shape: str, dtype: str, only: str | None = None) -> shared.Workload:
    """Forward, and backward in the images alone, as walks run it."""
    m, c, o, side = map(int, shape.split("x"))
    source = torch.Generator().manual_seed(0)

    def normal(*sizes):
        made = torch.randn(sizes, generator=source).to(shared.DEVICE, shared.DTYPES[dtype])
        return made.contiguous(memory_format=torch.channels_last) if len(sizes) == 4 else made

    x, grad = normal(m, c, side, side), normal(m, o, side, side)
    weight = normal(o, c, 3, 3) / (9 * c) ** 0.5
    weights = ops.Conv3x3Weights.of(weight)
    pixels, transposed = normal(m * side * side, 9 * c), normal(9 * c, o)
    slopes, back = normal(m * side * side, 9 * o), normal(9 * o, c)

    def plain():
        return F.conv2d(x, weight, padding=1), F.conv_transpose2d(grad, weight, padding=1)

    def ours():
        return ops.conv3x3(x, weights), ops.conv3x3(grad, weights, adjoint=True)

    makers = {
        "eager": lambda: plain,
        shared.best(OP): lambda: ours,
        "matmul": lambda: lambda: (pixels @ transposed, slopes @ back),
    }
    runs = {name: make() for name, make in makers.items() if only in (None, name)}
    size = 2 * m * (c + o) * side * side * x.element_size()
    return shared.Workload(runs, bytes=size, flops=36 * m * c * o * side * side, bound="matmul")


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(("shape", "dtype"), CASES)
def test_conv3x3(measure, shape, dtype, implementation):
    measure(OP, shape, dtype, implementation, build(shape, dtype))
