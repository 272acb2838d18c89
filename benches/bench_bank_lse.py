"""bank_lse, lse and its gradient: eager autograd, torch.compile, attention, ours, and the products.

`sdpa` is PyTorch's attention with keys = values = bank, which gives the mean alone. `matmul` is
the two products [M, D] x [D, N] and [M, N] x [N, D] of the same dtype and nothing else.
"""

from __future__ import annotations

import functools

import pytest
import torch
import workload as shared

from latentpath import ops

OP = "bank_lse"
CASES = [
    ("3072x10000x512", "float32"),
    ("3072x10000x512", "bfloat16"),
    ("384x100000x512", "float32"),
]
IMPLEMENTATIONS = ["eager", "compile", "sdpa", shared.best(OP), "matmul"]


@functools.lru_cache(maxsize=1)
def build(shape: str, dtype: str, only: str | None = None) -> shared.Workload:
    """[M, D] queries against an [N, D] bank with a bias; scores of standard deviation 5."""
    rows, bank_rows, width = map(int, shape.split("x"))
    generator = torch.Generator().manual_seed(0)

    def normal(*size):
        values = torch.randn(size, generator=generator)
        return values.to(shared.DEVICE, shared.DTYPES[dtype])

    query, bank, bias = normal(rows, width).requires_grad_(), normal(bank_rows, width), None
    bias = normal(bank_rows)
    wide_bias, scale = bias.float(), 5 / width**0.5

    def formula(query):
        return (scale * (query @ bank.T) + bias).logsumexp(1)

    def gradient_of(function):
        return lambda: torch.autograd.grad(function(query).sum(), query)

    def attention():
        with torch.no_grad():
            keys = bank[None, None]
            return torch.nn.functional.scaled_dot_product_attention(
                query[None, None], keys, keys, attn_mask=bias.expand(rows, -1), scale=scale
            )

    def products():
        with torch.no_grad():
            scores = query @ bank.T
            return scores @ bank

    runs = {
        "eager": gradient_of(formula),
        "compile": gradient_of(torch.compile(formula)),
        "sdpa": attention,
        shared.best(OP): gradient_of(lambda q: ops.bank_lse(q, bank, wide_bias, scale)[0]),
        "matmul": products,
    }
    size = (2 * query.numel() + bank.numel()) * bank.element_size()
    return shared.Workload(runs, bytes=size, flops=4 * rows * bank_rows * width, bound="matmul")


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(("shape", "dtype"), CASES)
def test_bank_lse(measure, shape, dtype, implementation):
    measure(OP, shape, dtype, implementation, build(shape, dtype))
