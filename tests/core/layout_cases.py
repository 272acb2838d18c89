"""Convolutions in both layouts against float64, a line before each: a crash names its case.

Run by test_layouts.py in an interpreter of its own, with a number of threads as the argument.
"""

from __future__ import annotations

import copy
import itertools
import sys

import torch
from torch import Tensor, nn

from latentpath.core import channels_last, place, without_faulty_layers

WIDTHS, STRIDES, KERNELS, BATCHES = range(1, 18), (1, 2), (1, 3), range(1, 10)
# Largest error of a result, in units of its largest value; float32 stays below 1e-5.
TOLERANCE = 1e-4


def gradients(layer: nn.Module, images: Tensor) -> list[Tensor]:
    """Result, gradient of the images and gradients of the parameters."""
    images = images.detach().requires_grad_()
    result = layer(images)
    slope = torch.cos(torch.arange(result.numel(), dtype=torch.float64)).reshape(result.shape)
    sources = [images, *layer.parameters()]
    return [result.detach(), *torch.autograd.grad(result, sources, slope.to(result))]


def check(layer: nn.Module, images: Tensor, exact: list[Tensor]) -> None:
    found = zip(("result", "images", "weight"), gradients(layer, images), exact, strict=True)
    for name, result, right in found:
        error = float((result.double() - right).abs().max() / right.abs().max())
        assert error < TOLERANCE, f"{name}: off by {error:.2g}"


def main() -> None:
    torch.set_num_threads(int(sys.argv[1]))
    for width, stride, kernel in itertools.product(WIDTHS, STRIDES, KERNELS):
        torch.manual_seed(width)
        plain = nn.Sequential(nn.Conv2d(width, 9, kernel, stride, kernel // 2, bias=False))
        images = torch.randn(max(BATCHES), width, 16, 16)
        contiguous = place(copy.deepcopy(plain), "cpu")
        last = place(without_faulty_layers(copy.deepcopy(plain)), "cpu")
        double = copy.deepcopy(plain).double()
        for batch in BATCHES:
            part = images[:batch]
            exact = gradients(double, part.double())
            case = f"width {width} stride {stride} kernel {kernel} batch {batch}"
            print(case, "contiguous", flush=True)
            check(contiguous, part, exact)
            print(case, "channels last", flush=True)
            check(last, channels_last(part), exact)
    print("done", flush=True)


if __name__ == "__main__":
    main()
