"""Gradients that come out of the forward pass, and end there.

`kl_uniform` and `bank_lse` hand their gradient rows out of the forward pass.
All that is left for backward is to scale each row; that multiplication is an op
of its own, so that a second derivative is refused by name rather than wrong.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from latentpath.errors import UnsupportedError
from latentpath.ops.registration import register


def _scale_rows_kernel(rows: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    return (rows * scale[:, None].to(rows.dtype)).to(dtype)


def _scale_rows_fake(rows: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.empty(rows.shape, dtype=dtype, device=rows.device)


def refuse_second_derivative(ctx: Any, *grads: Tensor) -> None:
    """Raise UnsupportedError: the backward formula of everything that is itself a gradient."""
    raise UnsupportedError(
        expected="first derivatives of kl_uniform and bank_lse",
        got="a request for a second one",
        fix="use the same formula in plain PyTorch where second derivatives are needed",
    )


def _save_nothing(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    return None


_scale_rows = register(
    "scale_rows(Tensor rows, Tensor scale, ScalarType dtype) -> Tensor",
    _scale_rows_kernel,
    _scale_rows_fake,
    backward=refuse_second_derivative,
    setup_context=_save_nothing,
)


def scale_rows(
    rows: Tensor,  # [M, K]
    scale: Tensor,  # [M]
    dtype: torch.dtype,
) -> Tensor:  # [M, K]
    """Return `rows * scale[:, None]` in `dtype`; backward through it is an UnsupportedError.

    A scale of ones, which is what `energy.sum().backward()` brings, costs no
    pass over the rows on the CPU. (On a GPU, looking would stall the stream.)
    """
    eager = type(scale) is Tensor and scale.device.type == "cpu" and not torch.is_grad_enabled()
    if eager and rows.dtype == dtype and bool((scale == 1).all()):
        return rows
    result: Tensor = _scale_rows(rows, scale, dtype)
    return result
