"""Registration of the ops with `torch.library`, and gradients that come out of the forward pass.

Through its lower door, `Library`, rather than `torch.library.custom_op`: the
wrapper of the latter imports `torch._dynamo` when an op is first called, which
takes a second that a short command should not spend.

`kl_uniform` and `bank_lse` hand their gradient rows out of the forward pass.
All that is left for backward is to scale each row; that multiplication is an op
of its own, so that a second derivative is refused by name rather than wrong.
So are the derivatives that PyTorch takes by other ways than backward.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, get_type_hints

import torch
from torch import Tensor
from torch.autograd import forward_ad

from latentpath.core import UnsupportedError

Written = Annotated[Tensor, "written"]
"""A tensor that an op writes to, in the record of its arguments."""

# Types in the record of an op's arguments -> in PyTorch's notation.
_TYPES: dict[Any, str] = {Tensor: "Tensor", Tensor | None: "Tensor?", float: "float"}

_LIBRARY = torch.library.Library("latentpath", "DEF")


def register(
    schema: str,
    kernel: Callable[..., Any],
    fake: Callable[..., Any],
    *,
    backward: Callable[..., Any] | None = None,
    setup_context: Callable[..., Any] | None = None,
) -> Any:
    """Define an op on all devices and return it, ready to be called.

    Args:
        schema: name, arguments and results in PyTorch's notation; `Tensor(a!)` is written to.
        kernel: computes the results; sees no autograd.
        fake: returns tensors of the results' shapes and dtypes without computing them.
        backward: gradient formula, `(ctx, *grads) -> grads of all arguments`.
        setup_context: `(ctx, inputs, output)`, keeps what `backward` needs.
    """
    name = "latentpath::" + schema.split("(")[0]
    _LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    _LIBRARY.impl(name.removeprefix("latentpath::"), kernel, "CompositeExplicitAutograd")
    torch.library.register_fake(name, fake, lib=_LIBRARY)
    if backward is not None:
        torch.library.register_autograd(name, backward, setup_context=setup_context, lib=_LIBRARY)
    return getattr(torch.ops.latentpath, name.removeprefix("latentpath::")).default


def schema(name: str, arguments: type[NamedTuple], *, results: str) -> str:
    """Return the schema of an op that takes the fields of a record in their order, and `impl`.

    Args:
        name: of the op.
        arguments: the record; its types are `Written`, `Tensor`, `Tensor | None` and `float`.
        results: in PyTorch's notation.
    """
    letters = iter(string.ascii_lowercase)
    fields = [
        f"Tensor({next(letters)}!) {field}" if kind == Written else f"{_TYPES[kind]} {field}"
        for field, kind in get_type_hints(arguments, include_extras=True).items()
    ]
    return f"{name}({', '.join(fields)}, str? impl) -> {results}"


def mark_written(*tensors: Tensor) -> None:
    """Tell autograd that these were written through their addresses, which it cannot see.

    A graph that saved one of them then refuses to run backward rather than use the new values.
    """
    for tensor in tensors:
        torch.autograd.graph.increment_version(tensor)


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
