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

    The result shares no memory with `rows`.
    """
    result: Tensor = _scale_rows(rows, scale, dtype)
    return result


def scale_last_rows(rows: Tensor, scale: Tensor) -> Tensor:  # [M, K], [M] -> [M, K]
    """Return `rows * scale[:, None]`, perhaps in the memory of `rows`.

    For rows that only the graph holds. A scale of ones, which is what `energy.sum().backward()`
    brings, costs no pass over them on the CPU where this backward is the graph's last. (On a
    GPU, looking would stall the stream.) Where the graph is kept its rows must stay as they are,
    whatever happens to the gradient that is handed out.
    """
    eager = type(scale) is Tensor and scale.device.type == "cpu" and not torch.is_grad_enabled()
    if eager and not _keeps_graph() and not _is_batched(scale) and bool((scale == 1).all()):
        return rows
    return scale_rows(rows, scale, rows.dtype)


def _keeps_graph() -> bool:
    """Whether the backward that runs now was asked to keep its graph; True where unknown."""
    ask = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", None)
    return ask is None or bool(ask())


def _is_batched(tensor: Tensor) -> bool:
    """Whether this stands for one of many tensors (`is_grads_batched`), whose values are hidden."""
    ask = getattr(torch._C._functorch, "is_legacy_batchedtensor", None)
    return ask is None or bool(ask(tensor)) or torch._C._functorch.is_batchedtensor(tensor)
