"""`bank_lse`: logsumexp over a bank of rows and its gradient, never the whole score matrix."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from latentpath.core import ShapeError, UnsupportedError
from latentpath.ops import dispatch
from latentpath.ops.gpu_target import multiprocessors, rows_of_a_part
from latentpath.ops.registration import refuse_transforms, register, scale_rows

_DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)

# Widest latent for which a tile of sums fits a GPU's registers.
TRITON_WIDEST = 512

# What the CUDA kernel for Hopper is made for (csrc/cuda/bank_lse_sm90.h).
SM90_WIDTH = 512
_SM90_QUERIES, _SM90_ROWS = 64, 128  # of a block, and a round of it
_SM90_DTYPES = (torch.bfloat16, torch.float16)
_SM90_MOST_ROWS = 1 << 30

# The reference holds at most this many scores at a time (float32: 64 MB).
_REFERENCE_SCORES = 1 << 24


def bank_lse(
    query: Tensor,  # [M, D]
    bank: Tensor,  # [N, D]
    bias: Tensor | None = None,  # [N]
    scale: float = 1.0,
    *,
    impl: str | None = None,
) -> tuple[Tensor, Tensor]:  # [M], [M, D]
    r"""Log-sum-exp of every query against a bank of rows, and the bank's softmax mean.

    `s[m, n] = scale * query[m] . bank[n] + bias[n]`, then
    `lse[m] = logsumexp_n s[m, n]` and `mean[m] = sum_n softmax_n(s[m]) bank[n]`.
    The gradient of `lse` in `query` is `scale * mean`: it comes out of the same
    pass, and memory stays O(M D) whatever N is, because the softmax is taken
    online (Milakov and Gimelshein, "Online normalizer calculation for softmax",
    2018), as in attention with keys = values = bank.

    Args:
        query: [M, D], M may be 0; float32, bfloat16, float16 or float64.
        bank: [N, D] with N >= 1, the query's dtype, or one of the two float32 and the other
            bfloat16 or float16. A query beside a float32 bank (as autocast's features beside a
            classifier's weights) is converted to float32. Products with a bfloat16 bank may take
            the query rounded to bfloat16; sums are always taken in float32. Needs no gradient:
            pass `bank.detach()`.
        bias: [N] or None; float32 (float64 beside float64). Rows of bias -inf are left out; one
            of +inf makes `lse` +inf and `mean` NaN. Needs no gradient.
        scale: factor on the scores, any finite number.
        impl: "reference", "native" or "triton" forces an implementation. On GPUs "native" is a
            kernel for Hopper, a bank in half precision and D = 512, and runs only where the
            environment variable LATENTPATH_HOPPER=1 asks for it.

    Returns:
        `(lse, mean)`: [M] and [M, D], float32 (float64 for float64). `lse` is differentiable in
        `query`; `mean` is a value only, a gradient through it is refused.

    Raises:
        ShapeError: wrong shapes, dtypes or devices.
        UnsupportedError: `impl` cannot run here, or a derivative is asked for in `bank` or
            `bias`, of `mean`, in forward mode, through `torch.func` or for the second time.

    >>> import torch
    >>> lse, mean = bank_lse(torch.zeros(1, 2), torch.tensor([[1.0, 0.0], [0.0, 3.0]]))
    >>> mean
    tensor([[0.5000, 1.5000]])
    """
    _check(query, bank, bias)
    refuse_transforms("bank_lse", query, bank, bias)
    if bank.dtype == torch.float32:
        query = query.float()
    result: tuple[Tensor, Tensor] = _bank_lse(query, bank, bias, float(scale), impl)
    return result


def _check(query: Tensor, bank: Tensor, bias: Tensor | None) -> None:
    if query.ndim != 2 or query.shape[1] < 1:
        raise ShapeError(
            expected="query to be [M, D] with D >= 1",
            got=str(list(query.shape)),
            fix="flatten the batch axes: query.reshape(-1, D)",
        )
    dispatch.check_shape("bank", bank, (None, query.shape[1]), "[N, D]")
    if bank.shape[0] < 1:
        raise ShapeError(expected="bank to have a row", got="none", fix="pass N >= 1 rows")
    dispatch.check_dtype("query", query, _DTYPES)
    others: tuple[torch.dtype, ...] = () if query.dtype == torch.float64 else (torch.float32,)
    if query.dtype == torch.float32:
        others = torch.bfloat16, torch.float16
    dispatch.check_dtype("bank", bank, (query.dtype, *others))
    dispatch.check_device("bank", bank, "query", query)
    if bias is not None:
        dispatch.check_shape("bias", bias, (bank.shape[0],), "[N]")
        wide = torch.float64 if query.dtype == torch.float64 else torch.float32
        dispatch.check_dtype("bias", bias, (wide,))
        dispatch.check_device("bias", bias, "query", query)
    wants_grad = bank.requires_grad or (bias is not None and bias.requires_grad)
    if torch.is_grad_enabled() and wants_grad:
        raise UnsupportedError(
            expected="a bank and a bias without gradients",
            got="one with requires_grad",
            fix="pass bank.detach() and bias.detach(): bank_lse is differentiable in query alone",
        )


def _choose(query: Tensor, bank: Tensor, impl: str | None) -> str:
    """The implementation to run; the Triton kernel's sums fit the registers up to a width only."""
    chosen = dispatch.choose("bank_lse", impl, query)
    if chosen == "native" and query.is_cuda:
        reason = why_not_sm90(query, bank)
        if reason is None:
            return chosen
        if impl is not None:
            raise UnsupportedError(
                expected="bank_lse to run as impl='native' on this GPU",
                got=reason,
                fix="leave impl out: the Triton kernel takes over",
            )
        chosen = "triton" if dispatch.why_not("bank_lse", "triton", "cuda") is None else "reference"
    if chosen != "triton" or query.shape[1] <= TRITON_WIDEST:
        return chosen
    if impl is None:
        return "reference"
    raise UnsupportedError(
        expected=f"D <= {TRITON_WIDEST} for impl='triton'",
        got=f"D = {query.shape[1]}",
        fix="leave impl out: wider latents run as tiled plain PyTorch",
    )


def why_not_sm90(query: Tensor, bank: Tensor) -> str | None:
    """Why the kernel for Hopper cannot take these tensors on their GPU, or None where it can."""
    capability = torch.cuda.get_device_capability(query.device)
    if capability != (9, 0):
        return f"a GPU of compute capability {capability[0]}.{capability[1]}, not 9.0"
    if bank.dtype not in _SM90_DTYPES:
        return f"a bank in {str(bank.dtype).removeprefix('torch.')}, not in half precision"
    if query.shape[1] != SM90_WIDTH:
        return f"D = {query.shape[1]}, not {SM90_WIDTH}"
    if max(query.shape[0], bank.shape[0]) > _SM90_MOST_ROWS:
        return f"more than {_SM90_MOST_ROWS} rows"
    if any(x.is_contiguous() and x.data_ptr() % 16 != 0 for x in (query, bank)):
        return "memory that is not aligned to 16 bytes"
    return None


def _bank_lse_reference(
    query: Tensor,  # [M, D]
    bank: Tensor,  # [N, D]
    bias: Tensor | None,  # [N]
    scale: float,
) -> tuple[Tensor, Tensor]:  # [M], [M, D]
    """Plain PyTorch with the whole [M, N] score matrix, at least in float32; differentiable."""
    wide = torch.float64 if query.dtype == torch.float64 else torch.float32
    keys = bank.to(wide)
    scores = scale * (query.to(wide) @ keys.T)
    if bias is not None:
        scores = scores + bias
    return scores.logsumexp(1), scores.softmax(1) @ keys


def _kernel(
    query: Tensor, bank: Tensor, bias: Tensor | None, scale: float, impl: str | None
) -> tuple[Tensor, Tensor]:
    chosen = _choose(query, bank, impl)
    if chosen == "native":
        run_native = _native_sm90 if query.is_cuda else _native
        return run_native(query, bank, bias, scale)
    if chosen == "triton":
        from latentpath.ops.triton.bank_lse_kernel import bank_lse as run_triton

        return run_triton(query, bank, bias, scale)
    return _tiled_reference(query, bank, bias, scale)


def _tiled_reference(
    query: Tensor, bank: Tensor, bias: Tensor | None, scale: float
) -> tuple[Tensor, Tensor]:
    rows = max(1, _REFERENCE_SCORES // bank.shape[0])
    blocks = [_bank_lse_reference(block, bank, bias, scale) for block in query.split(rows)]
    return torch.cat([lse for lse, _ in blocks]), torch.cat([mean for _, mean in blocks])


def _fake(
    query: Tensor, bank: Tensor, bias: Tensor | None, scale: float, impl: str | None
) -> tuple[Tensor, Tensor]:
    wide = torch.float64 if query.dtype == torch.float64 else torch.float32
    return query.new_empty(query.shape[0], dtype=wide), query.new_empty(query.shape, dtype=wide)


def _native(
    query: Tensor, bank: Tensor, bias: Tensor | None, scale: float
) -> tuple[Tensor, Tensor]:
    if bias is not None and bool((bias == math.inf).any()):
        # The kernel's online softmax would subtract +inf from +inf.
        return _tiled_reference(query, bank, bias, scale)
    module = dispatch.extension()
    assert module is not None
    query, bank = query.contiguous(), bank.contiguous()
    bias = None if bias is None else bias.contiguous()
    (rows, width), bank_rows = query.shape, bank.shape[0]
    lse = query.new_empty(rows, dtype=torch.float32)
    mean = query.new_empty(rows, width, dtype=torch.float32)
    module.bank_lse(
        query.data_ptr(),
        dispatch.dtype_code(query),
        bank.data_ptr(),
        dispatch.dtype_code(bank),
        0 if bias is None else bias.data_ptr(),
        rows,
        bank_rows,
        width,
        scale,
        lse.data_ptr(),
        mean.data_ptr(),
        torch.get_num_threads(),
    )
    return lse, mean


def _native_sm90(
    query: Tensor, bank: Tensor, bias: Tensor | None, scale: float
) -> tuple[Tensor, Tensor]:
    module = dispatch.extension()
    assert module is not None
    query, bank = query.to(bank.dtype).contiguous(), bank.contiguous()
    bias = None if bias is None else bias.contiguous()
    rows, bank_rows = query.shape[0], bank.shape[0]
    tiles = -(-rows // _SM90_QUERIES)
    part = rows_of_a_part(bank_rows, tiles, multiprocessors(query), _SM90_ROWS)
    parts = -(-bank_rows // part)
    lse, mean = _fake(query, bank, bias, scale, None)
    # Results over each part; over all of a bank in one part they are the results.
    some_lse, some_mean = (
        (lse, mean)
        if parts == 1
        else (lse.new_empty(parts, rows), mean.new_empty(parts, *mean.shape))
    )
    tensors = (query, bank, bias, lse, mean, some_lse, some_mean)
    with torch.cuda.device_of(query):
        module.bank_lse_sm90(
            [0 if tensor is None else tensor.data_ptr() for tensor in tensors],
            dispatch.dtype_code(bank),
            (rows, bank_rows, part),
            scale,
            **dispatch.cuda_stream(query),
        )
    return lse, mean


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    query, _, _, scale, _ = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(output[1])
    ctx.scale, ctx.dtype = scale, query.dtype


def _backward(
    ctx: Any, grad_lse: Tensor | None, grad_mean: Tensor | None
) -> tuple[Tensor | None, None, None, None, None]:
    if grad_mean is not None:
        raise UnsupportedError(
            expected="a gradient through lse alone",
            got="one through mean, which bank_lse gives as a value only",
            fix="pass mean.detach() on, or take the softmax's mean in plain PyTorch",
        )
    if grad_lse is None:
        return None, None, None, None, None
    (mean,) = ctx.saved_tensors
    return scale_rows(mean, grad_lse * ctx.scale, ctx.dtype), None, None, None, None


_bank_lse = register(
    "bank_lse(Tensor query, Tensor bank, Tensor? bias, float scale, str? impl) -> (Tensor, Tensor)",
    _kernel,
    _fake,
    backward=_backward,
    setup_context=_setup_context,
)
