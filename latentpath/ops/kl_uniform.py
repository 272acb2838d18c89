"""`kl_uniform`: how far each row's softmax is from uniform, with the gradient in the same pass."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from latentpath.core import ShapeError
from latentpath.ops import dispatch
from latentpath.ops.registration import (
    refuse_second_derivative,
    refuse_transforms,
    register,
    save_nothing,
    scale_last_rows,
)

_DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)


def kl_uniform(
    logits: Tensor,  # [M, N]
    *,
    impl: str | None = None,
) -> Tensor:  # [M]
    r"""Kullback-Leibler divergence from the uniform distribution to each row's softmax.

    `KL(u || softmax(l)) = logsumexp(l) - mean(l) - log N`, in nats; 0 where all
    logits of a row are equal. Its gradient, `softmax(l) - 1/N`, is computed in
    the same pass when `logits` require one. This is the identity energy of
    Pennisi et al., "A Privacy-Preserving Walk in the Latent Space of Generative
    Models for Medical Applications", MICCAI 2023.

    Args:
        logits: [M, N] with N >= 1, float32, bfloat16, float16 or float64; M may be 0. NaNs stay
            in their row. Sums are taken in float32 (float64 for float64).
        impl: "reference", "native" or "triton" forces an implementation.

    Returns:
        [M] energies, float32 (float64 for float64 logits).

    Raises:
        ShapeError: wrong shape or dtype.
        UnsupportedError: `impl` cannot run here, or a derivative is asked for in forward mode,
            through `torch.func` or for the second time.

    >>> import torch
    >>> kl_uniform(torch.tensor([[0.0, 0.0, 0.0], [9.0, 0.0, 0.0]]))
    tensor([0.0000, 4.9016])
    """
    if logits.ndim != 2 or logits.shape[1] < 1:
        raise ShapeError(
            expected="logits to be [M, N] with N >= 1",
            got=str(list(logits.shape)),
            fix="flatten the batch axes: logits.reshape(-1, N)",
        )
    dispatch.check_dtype("logits", logits, _DTYPES)
    refuse_transforms("kl_uniform", logits)
    with_gradient = torch.is_grad_enabled() and logits.requires_grad
    energy: Tensor = _kl_uniform(logits, with_gradient, impl)[0]
    return energy


def _kl_uniform_reference(logits: Tensor) -> Tensor:  # [M, N] -> [M]
    """Plain PyTorch, in the logits' own precision but at least float32; differentiable."""
    wide = logits if logits.dtype == torch.float64 else logits.float()
    return wide.logsumexp(1) - wide.mean(1) - math.log(logits.shape[1])


def _kernel(logits: Tensor, with_gradient: bool, impl: str | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return energies [M], gradient [M, N] and sums [M, 2] that the gradient follows from.

    Processors compute the gradient from rows that are in their caches; a GPU's rows are not, and
    it gives the sums. What is not given, or not wanted, has no rows.
    """
    chosen = dispatch.choose("kl_uniform", impl, logits)
    nothing = logits.new_empty(0, 2, dtype=torch.float32)
    if chosen == "triton":
        from latentpath.ops.triton.kl_uniform_kernel import kl_uniform as run_triton

        energy, sums = run_triton(_with_dense_rows(logits))
        return energy, logits.new_empty(0, logits.shape[1]), sums if with_gradient else nothing
    compute = _native if chosen == "native" else _reference_with_gradient
    return *compute(logits, with_gradient), nothing


def _reference_with_gradient(logits: Tensor, with_gradient: bool) -> tuple[Tensor, Tensor]:
    energy = _kl_uniform_reference(logits)
    if not with_gradient:
        return energy, logits.new_empty(0, logits.shape[1])
    # Not torch.softmax: on CPUs it adds up a row term after term in as many sums as a vector has
    # lanes, whose error grows with the row and shrinks with the vector; sum() adds in cascades.
    wide = logits.to(energy.dtype)
    exponentials = (wide - wide.amax(1, keepdim=True)).exp()
    gradient = exponentials / exponentials.sum(1, keepdim=True) - 1.0 / logits.shape[1]
    return energy, gradient.to(logits.dtype)


def _fake(logits: Tensor, with_gradient: bool, impl: str | None) -> tuple[Tensor, Tensor, Tensor]:
    rows, columns = logits.shape
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    later = dispatch.choose("kl_uniform", impl, logits) == "triton"
    gradient = logits.new_empty(rows if with_gradient and not later else 0, columns)
    sums = logits.new_empty(rows if with_gradient and later else 0, 2, dtype=torch.float32)
    return logits.new_empty(rows, dtype=dtype), gradient, sums


def _with_dense_rows(logits: Tensor) -> Tensor:
    return logits if logits.stride(1) == 1 else logits.contiguous()


def _native(logits: Tensor, with_gradient: bool) -> tuple[Tensor, Tensor]:
    module = dispatch.extension()
    assert module is not None
    logits = _with_dense_rows(logits)
    rows, columns = logits.shape
    energy = logits.new_empty(rows, dtype=torch.float32)
    gradient = logits.new_empty(rows if with_gradient else 0, columns)
    module.kl_uniform(
        logits.data_ptr(),
        dispatch.dtype_code(logits),
        rows,
        columns,
        logits.stride(0),
        energy.data_ptr(),
        gradient.data_ptr() if with_gradient else 0,
        torch.get_num_threads(),
    )
    return energy, gradient


def _setup_context(
    ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]
) -> None:
    ctx.set_materialize_grads(False)
    _, gradient, sums = output
    ctx.later = len(sums) > 0
    if ctx.later:
        ctx.save_for_backward(inputs[0], sums)
        return
    # An output that is saved keeps its place in the graph: a second derivative finds its way to
    # scale_rows and is refused there, instead of being taken for zero.
    ctx.save_for_backward(gradient)


def _backward(
    ctx: Any,
    grad_energy: Tensor | None,
    grad_gradient: Tensor | None,
    grad_sums: Tensor | None,
) -> tuple[Tensor | None, None, None]:
    for grad in (grad_gradient, grad_sums):
        if grad is not None:
            refuse_second_derivative(ctx, grad)
    if grad_energy is None:
        return None, None, None
    if ctx.later:
        refuse_transforms("the backward of kl_uniform", grad_energy)
        logits, sums = ctx.saved_tensors
        return _kl_uniform_gradient(logits, sums, grad_energy), None, None
    (gradient,) = ctx.saved_tensors
    return scale_last_rows(gradient, grad_energy), None, None


def _gradient_kernel(logits: Tensor, sums: Tensor, factor: Tensor) -> Tensor:
    from latentpath.ops.triton.kl_uniform_kernel import kl_uniform_gradient

    return kl_uniform_gradient(_with_dense_rows(logits), sums, factor)


def _gradient_fake(logits: Tensor, sums: Tensor, factor: Tensor) -> Tensor:
    return torch.empty_like(logits, memory_format=torch.contiguous_format)


_kl_uniform_gradient = register(
    "kl_uniform_gradient(Tensor logits, Tensor sums, Tensor factor) -> Tensor",
    _gradient_kernel,
    _gradient_fake,
    backward=refuse_second_derivative,
    setup_context=save_nothing,
)
_kl_uniform = register(
    "kl_uniform(Tensor logits, bool with_gradient, str? impl) -> (Tensor, Tensor, Tensor)",
    _kernel,
    _fake,
    backward=_backward,
    setup_context=_setup_context,
)
