"""modulated_act_ and its backward: plain PyTorch, torch.compile, ours, copying the same bytes."""

from __future__ import annotations

import functools

import pytest
import torch
import workload as shared

from latentpath import ops
from latentpath.ops.modulated_act import _backward_reference, _modulated_act_reference

OP = "modulated_act"
CASES = [("48x32x64x64", "float32"), ("48x32x64x64", "bfloat16"), ("48x128x16x16", "float32")]
IMPLEMENTATIONS = ["eager", "compile", shared.best(OP), "copy"]


@functools.lru_cache(maxsize=1)
def build(shape: str, dtype: str, only: str | None = None) -> shared.Workload:
    """A layer with everything: demodulation, noise, bias, the next style, toRGB of 3 channels."""
    m, c, h, w = map(int, shape.split("x"))
    source, element = torch.Generator().manual_seed(0), shared.DTYPES[dtype]

    def normal(*sizes):
        return torch.randn(sizes, generator=source).to(shared.DEVICE)

    def images():
        return normal(m, c, h, w).to(element).contiguous(memory_format=torch.channels_last)

    x, grad, activation = images(), images(), ops.Activation()
    numbers = [1 + normal(m, c).abs(), normal(h, w), normal(c), normal(m, c), normal(m, 3, c)]
    first, (style, rgb_weight) = (*numbers[:3], activation), numbers[3:]
    grad_rgb = normal(m, 3, h, w)

    def plain():
        y, out, rgb = _modulated_act_reference(x, numbers, activation)
        gradients = _backward_reference(grad, y.to(element), numbers, grad_rgb, activation)
        return y, out.to(element), rgb, gradients

    def ours():
        y, slope = x.clone(), grad.clone()  # both are written over
        forward = ops.modulated_act_(y, *first, style=style, rgb_weight=rgb_weight)
        others = {"style": style, "rgb_weight": rgb_weight, "grad_rgb": grad_rgb}
        return forward, ops.modulated_act_backward_(slope, y, *first, **others)

    # x in; y and out written; the gradient and y in, the gradient written; and the two clones.
    size = 10 * x.numel() * x.element_size()
    makers = {
        "eager": lambda: plain,
        "compile": lambda: torch.compile(plain),
        shared.best(OP): lambda: ours,
        "copy": lambda: shared.copy_of(size),
    }
    runs = {name: make() for name, make in makers.items() if only in (None, name)}
    return shared.Workload(runs, bytes=size, flops=0, bound="copy")


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(("shape", "dtype"), CASES)
def test_modulated_act(measure, shape, dtype, implementation):
    measure(OP, shape, dtype, implementation, build(shape, dtype))
