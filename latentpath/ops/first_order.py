"""Gradients that come out of the forward pass, and end there.

`kl_uniform` and `bank_lse` hand their gradient rows out of the forward pass.
All that is left for backward is to scale each row; that multiplication is an op
of its own, so that a second derivative is refused by name rather than wrong.
So are the derivatives that PyTorch takes by other ways than backward.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from latentpath.core import UnsupportedError
from latentpath.ops.registration import register


def refuse_transforms(op: str, *tensors: Tensor | None) -> None:
    """Raise UnsupportedError where forward-mode AD or `torch.func` would differentiate `op`.

    Without a word PyTorch would take the tangents of an op without a forward formula for zero.
    A tracing compiler does not see tangents: where there may be some it must break its graph.
    """
    if not torch.compiler.is_compiling():
        _refuse_transforms(op, *tensors)
    elif _may_have_tangents():
        _refuse_transforms_untraced(op, *tensors)


def _refuse_transforms(op: str, *tensors: Tensor | None) -> None:
    for tensor in tensors:
        if tensor is None:
            continue
        if _carries_tangent(tensor):
            _refuse_tangent(op)
        if _under_func_gradient(tensor):
            raise UnsupportedError(
                expected=f"{op} to be differentiated by backward() or autograd.grad",
                got="a transform of torch.func (grad, vjp, jacrev or hessian)",
                fix="call requires_grad_() and autograd.grad, or use plain PyTorch here",
            )


_refuse_transforms_untraced = torch._disable_dynamo(_refuse_transforms)


def _refuse_tangent(op: str) -> None:
    raise UnsupportedError(
        expected=f"inputs of {op} without forward tangents",
        got="one with a tangent (torch.func.jvp, jacfwd or forward_ad)",
        fix="differentiate with backward() or autograd.grad, or use plain PyTorch here",
    )


def _may_have_tangents() -> bool:
    return getattr(forward_ad, "_current_level", 0) >= 0


def _carries_tangent(tensor: Tensor) -> bool:
    if torch.compiler.is_compiling() or not _may_have_tangents():
        return False
    while torch._C._functorch.is_batchedtensor(tensor):
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return forward_ad.unpack_dual(tensor).tangent is not None


def is_transformed(tensor: Tensor) -> bool:
    """Whether forward-mode AD or a transform of `torch.func` differentiates or batches this."""
    wrapped = torch._C._functorch.is_functorch_wrapped_tensor(tensor) or _is_batched(tensor)
    return wrapped or _carries_tangent(tensor)


def _under_func_gradient(tensor: Tensor) -> bool:
    if not torch.is_grad_enabled():
        return False
    while torch._C._functorch.is_functorch_wrapped_tensor(tensor):
        if torch._C._functorch.is_gradtrackingtensor(tensor) and tensor.requires_grad:
            return True
        tensor = torch._C._functorch.get_unwrapped(tensor)
    return False


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


def save_nothing(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    """The context of an op whose backward only refuses."""
    return None


_scale_rows = register(
    "scale_rows(Tensor rows, Tensor scale, ScalarType dtype) -> Tensor",
    _scale_rows_kernel,
    _scale_rows_fake,
    backward=refuse_second_derivative,
    setup_context=save_nothing,
)


def scale_rows(
    rows: Tensor,  # [M, K]
    scale: Tensor,  # [M]
    dtype: torch.dtype,
) -> Tensor:  # [M, K]
    """Return `rows * scale[:, None]` in `dtype`; backward through it is an UnsupportedError.

    The result shares no memory with `rows`.
    """
    if _carries_tangent(scale):
        _refuse_tangent("backward")
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
    hidden = _is_batched(scale) or _carries_tangent(scale)
    if eager and not _keeps_graph() and not hidden and bool((scale == 1).all()):
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
