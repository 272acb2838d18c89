"""kl_uniform, energy and gradient: eager autograd, torch.compile, ours, and copying the bytes."""

from __future__ import annotations

import functools
import math

import pytest
import torch
import workload as shared

from latentpath import ops

OP = "kl_uniform"
CASES = [("3072x10000", "float32"), ("3072x10000", "bfloat16"), ("3072x1000", "float32")]
IMPLEMENTATIONS = ["eager", "compile", shared.best(OP), "copy"]


def formula(logits):
    return logits.logsumexp(1) - logits.mean(1) - math.log(logits.shape[1])


@functools.lru_cache(maxsize=1)
def build(shape: str, dtype: str, only: str | None = None) -> shared.Workload:
    """Energy and gradient of [M, N] logits of real scale (standard deviation 4)."""
    rows, columns = map(int, shape.split("x"))
    generator = torch.Generator().manual_seed(0)
    logits = 4 * torch.randn(rows, columns, generator=generator)
    logits = logits.to(shared.DEVICE, shared.DTYPES[dtype]).requires_grad_()

    def gradient_of(function):
        return lambda: torch.autograd.grad(function(logits).sum(), logits)

    size = 2 * logits.numel() * logits.element_size()  # logits in, gradient out
    runs = {
        "eager": gradient_of(formula),
        "compile": gradient_of(torch.compile(formula)),
        shared.best(OP): gradient_of(ops.kl_uniform),
    }
    if only in (None, "copy"):
        runs["copy"] = shared.copy_of(size)
    return shared.Workload(runs, bytes=size, flops=0, bound="copy")


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(("shape", "dtype"), CASES)
def test_kl_uniform(measure, shape, dtype, implementation):
    measure(OP, shape, dtype, implementation, build(shape, dtype))
