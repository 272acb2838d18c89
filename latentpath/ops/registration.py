"""Registration of the ops with `torch.library`.

Through its lower door, `Library`, rather than `torch.library.custom_op`: the
wrapper of the latter imports `torch._dynamo` when an op is first called, which
takes a second that a short command should not spend.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, get_type_hints

import torch
from torch import Tensor

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
