"""fir2d: a depthwise convolution, torch.compile of it, ours, copying the same bytes."""

from __future__ import annotations

import functools

import pytest
import torch
import torch.nn.functional as F
import workload as shared

from latentpath import ops

OP = "fir2d"
CASES = [("48x32x65x65", "float32"), ("48x32x65x65", "bfloat16"), ("48x128x17x17", "float32")]
IMPLEMENTATIONS = ["eager", "compile", shared.best(OP), "copy"]
TAPS = [0.25, 0.75, 0.75, 0.25]


@functools.lru_cache(maxsize=1)
def build(shape: str, dtype: str, only: str | None = None) -> shared.Workload:
    """What follows an upsampling convolution: a row and a column fewer."""
    m, c, h, w = map(int, shape.split("x"))
    source = torch.Generator().manual_seed(0)
    x = torch.randn((m, c, h, w), generator=source).to(shared.DEVICE, shared.DTYPES[dtype])
    x = x.contiguous(memory_format=torch.channels_last)
    taps = torch.tensor(TAPS, dtype=x.dtype, device=x.device)
    kernel = taps.outer(taps).expand(c, 1, 4, 4).contiguous()

    def plain():
        return F.conv2d(x, kernel, padding=1, groups=c)

    size = m * c * (h * w + (h - 1) * (w - 1)) * x.element_size()
    makers = {
        "eager": lambda: plain,
        "compile": lambda: torch.compile(plain),
        shared.best(OP): lambda: functools.partial(ops.fir2d, x, TAPS, 1),
        "copy": lambda: shared.copy_of(size),
    }
    runs = {name: make() for name, make in makers.items() if only in (None, name)}
    return shared.Workload(runs, bytes=size, flops=0, bound="copy")


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(("shape", "dtype"), CASES)
def test_fir2d(measure, shape, dtype, implementation):
    measure(OP, shape, dtype, implementation, build(shape, dtype))
