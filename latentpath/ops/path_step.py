"""`path_step_`: one Adam step of every path in one pass over memory."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from latentpath.core import InputError, ShapeError
from latentpath.ops import dispatch
from latentpath.ops.registration import Written, mark_written, refuse_transforms, register, schema

_DTYPES = (torch.float32, torch.float64)


class _Step(NamedTuple):
    """One step as the registered op takes it, and its implementations; checked, all in order."""

    path: Written  # [B, T, D]
    guide: Tensor | None  # [B, T-2, D]
    exp_avg: Written  # [B, T-2, D]
    exp_avg_sq: Written  # [B, T-2, D]
    step: Written  # [B] int64
    lr: Tensor  # [B]
    mask: Tensor | None  # [B] bool
    guide_weight: float
    smooth_weight: float
    beta1: float
    beta2: float
    eps: float


def path_step_(
    path: Tensor,  # [B, T, D]
    guide: Tensor | None,  # [B, T-2, D]
    exp_avg: Tensor,  # [B, T-2, D]
    exp_avg_sq: Tensor,  # [B, T-2, D]
    step: Tensor,  # [B] int64
    lr: Tensor | float,  # [B]
    *,
    guide_weight: float = 1.0,
    smooth_weight: float = 1.0,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    mask: Tensor | None = None,  # [B] bool
    eps_distance: float = 0.0,
    impl: str | None = None,
) -> tuple[Tensor, Tensor]:  # [B], [B]
    r"""One Adam step on the interior of every path, in place; endpoints stay.

    The gradient at interior point t is
    `g_t = smooth_weight * 2 (2 w_t - w_{t-1} - w_{t+1}) + guide_weight * guide_t`,
    that of the smoothness energy `E_s = sum_t |w_{t+1} - w_t|^2` plus whatever
    the guides say, all points moving at once. The update is Adam's (Kingma and
    Ba, ICLR 2015, in PyTorch's form: eps is added to the root of the
    bias-corrected second moment). Every value is read and written once.

    Args:
        path: [B, T, D], T >= 3, contiguous, float32 or float64; updated in place.
        guide: [B, T-2, D] gradient of the guides' energy in the interior points, or None.
        exp_avg: [B, T-2, D] first moments, contiguous, updated in place; zeros at first.
        exp_avg_sq: [B, T-2, D] second moments, likewise.
        step: [B] int64, updates that each path has had; incremented in place. Paths of different
            ages may share a batch.
        lr: step size >= 0, one for all or [B] per path, in the path's dtype. The numbers in a
            tensor are not looked at, since that would stall a GPU.
        guide_weight: factor on `guide`.
        smooth_weight: factor on the gradient of the smoothness energy.
        betas: decay of the first and of the second moments, each in [0, 1).
        eps: added to the denominator, > 0.
        mask: [B] bool, True where the path moves; None moves all. Where it is False nothing of
            that path changes, and its two outputs are 0.
        eps_distance: added to each coordinate difference `w_t - w_{t+1}` inside the energy, as
            PyTorch's pairwise distance does (1e-6 there). The gradient does not depend on it.
        impl: "reference", "native" or "triton" forces an implementation.

    Returns:
        `(energy, grad_norm_sq)`, each [B] in the path's dtype: the smoothness energy (without
        `smooth_weight`) before the update, and `sum_t |g_t|^2`.

    Raises:
        ShapeError: wrong shape, dtype, device or layout.
        InputError: an impossible number, tensors that require gradients, or one tensor as both
            moments.
        UnsupportedError: `impl` cannot run here, or a tensor carries a forward tangent.

    >>> import torch
    >>> path = torch.tensor([[[0.0], [3.0], [0.0]]])
    >>> moments = torch.zeros(1, 1, 1), torch.zeros(1, 1, 1)
    >>> energy, grad_norm_sq = path_step_(path, None, *moments, torch.zeros(1).long(), 0.5)
    >>> energy, grad_norm_sq, path[0, 1]
    (tensor([18.]), tensor([144.]), tensor([2.5000]))
    """
    _check(path, guide, exp_avg, exp_avg_sq, step, mask)
    _check_numbers(lr, betas, eps)
    refuse_transforms("path_step_", path, guide, exp_avg, exp_avg_sq)
    rates = _rates(lr, path)
    guide, mask = (None if rows is None else rows.contiguous() for rows in (guide, mask))
    offset = _distance_offset(path, eps_distance) if eps_distance else None
    numbers = map(float, (guide_weight, smooth_weight, *betas, eps))
    values = _Step(path, guide, exp_avg, exp_avg_sq, step, rates, mask, *numbers)
    energy, grad_norm_sq = _path_step(*values, impl)
    if offset is not None:
        energy = energy + (offset if mask is None else offset * mask)
    return energy, grad_norm_sq


def _distance_offset(path: Tensor, eps: float) -> Tensor:
    """What eps adds to the energy: `sum |d_t + eps|^2 - |d_t|^2`, whose sum over t telescopes."""
    count, width = path.shape[1] - 1, path.shape[2]
    return 2 * eps * (path[:, 0] - path[:, -1]).sum(1) + count * width * eps**2


def _check(
    path: Tensor,
    guide: Tensor | None,
    exp_avg: Tensor,
    exp_avg_sq: Tensor,
    step: Tensor,
    mask: Tensor | None,
) -> None:
    check_path("path", path)
    batch, points, width = path.shape
    rows = {"guide": guide, "exp_avg": exp_avg, "exp_avg_sq": exp_avg_sq}
    for name, tensor in rows.items():
        if tensor is None:
            continue
        dispatch.check_shape(name, tensor, (batch, points - 2, width), "[B, T-2, D]")
        dispatch.check_dtype(name, tensor, (path.dtype,))
        dispatch.check_device(name, tensor, "path", path)
        if name != "guide":
            check_in_place(name, tensor)
    if exp_avg is exp_avg_sq or (
        not torch.compiler.is_compiling() and exp_avg.is_set_to(exp_avg_sq)
    ):
        raise InputError(
            expected="exp_avg and exp_avg_sq in memory of their own",
            got="the same tensor twice",
            fix="allocate two: exp_avg_sq = torch.zeros_like(exp_avg)",
        )
    dispatch.check_shape("step", step, (batch,), "[B]")
    dispatch.check_dtype("step", step, (torch.int64,))
    dispatch.check_device("step", step, "path", path)
    check_in_place("step", step)
    if mask is not None:
        dispatch.check_shape("mask", mask, (batch,), "[B]")
        dispatch.check_dtype("mask", mask, (torch.bool,))
        dispatch.check_device("mask", mask, "path", path)
    if torch.is_grad_enabled() and guide is not None and guide.requires_grad:
        raise InputError(
            expected="a guide without gradients",
            got="one with requires_grad",
            fix="call path_step_ under torch.no_grad() or pass guide.detach()",
        )


def check_path(name: str, path: Tensor) -> None:
    """Raise unless this is a [B, T, D] path that may be updated in place."""
    if path.ndim != 3 or path.shape[1] < 3 or path.shape[2] < 1:
        raise ShapeError(
            expected=f"{name} to be [B, T, D] with T >= 3",
            got=str(list(path.shape)),
            fix=f"add the batch axis ({name}[None]), and at least one point between the ends",
        )
    dispatch.check_dtype(name, path, _DTYPES)
    check_in_place(name, path)


def check_in_place(name: str, tensor: Tensor) -> None:
    """Raise unless the tensor can be written in place: contiguous, and not part of a graph."""
    if not tensor.is_contiguous():
        raise ShapeError(
            expected=f"a contiguous {name}, which is updated in place",
            got=f"strides {tuple(tensor.stride())} for shape {list(tensor.shape)}",
            fix=f"make it contiguous first: {name} = {name}.contiguous()",
        )
    if torch.is_grad_enabled() and tensor.requires_grad:
        raise InputError(
            expected=f"{name} without gradients, since it is updated in place",
            got="one with requires_grad",
            fix=f"call the op under torch.no_grad() or pass {name}.detach()",
        )


def _check_numbers(lr: Tensor | float, betas: tuple[float, float], eps: float) -> None:
    if not isinstance(lr, Tensor) and not 0.0 <= lr < math.inf:
        raise InputError(
            expected="a finite lr >= 0", got=str(lr), fix="pass a step size, for example 0.01"
        )
    if not all(0.0 <= beta < 1.0 for beta in betas):
        raise InputError(
            expected="betas in [0, 1)", got=str(betas), fix="PyTorch's default is (0.9, 0.999)"
        )
    if not eps > 0.0:
        raise InputError(expected="eps > 0", got=str(eps), fix="PyTorch's default is 1e-8")


def _rates(lr: Tensor | float, path: Tensor) -> Tensor:
    if not isinstance(lr, Tensor):
        return path.new_full((path.shape[0],), lr)
    if lr.ndim == 0:
        lr = lr.expand(path.shape[0])
    dispatch.check_shape("lr", lr, (path.shape[0],), "[B]")
    dispatch.check_device("lr", lr, "path", path)
    return lr.detach().to(path.dtype).contiguous()


def _path_step_reference(s: _Step) -> tuple[Tensor, Tensor]:  # [B], [B]
    """Plain PyTorch, in the path's own precision; updates the same tensors in place."""
    moves = torch.ones_like(s.step, dtype=torch.bool) if s.mask is None else s.mask
    per_path = moves[:, None, None]
    difference = s.path.diff(dim=1)
    gradient = s.smooth_weight * 2 * (difference[:, :-1] - difference[:, 1:])
    if s.guide is not None:
        gradient = gradient + s.guide_weight * s.guide
    count = (s.step + 1).double()
    correction1 = (1 - s.beta1**count).to(s.path.dtype)[:, None, None]
    correction2 = (1 - s.beta2**count).to(s.path.dtype)[:, None, None]
    first = s.beta1 * s.exp_avg + (1 - s.beta1) * gradient
    second = s.beta2 * s.exp_avg_sq + (1 - s.beta2) * gradient * gradient
    size = s.lr[:, None, None] / correction1
    moved = s.path[:, 1:-1] - size * first / (second.sqrt() / correction2.sqrt() + s.eps)

    energy = torch.where(moves, difference.square().sum((1, 2)), 0)
    grad_norm_sq = torch.where(moves, gradient.square().sum((1, 2)), 0)
    s.exp_avg.copy_(torch.where(per_path, first, s.exp_avg))
    s.exp_avg_sq.copy_(torch.where(per_path, second, s.exp_avg_sq))
    s.path[:, 1:-1] = torch.where(per_path, moved, s.path[:, 1:-1])
    s.step.add_(moves)
    return energy, grad_norm_sq


def _kernel(*arguments: Any) -> tuple[Tensor, Tensor]:
    *values, impl = arguments
    step = _Step(*values)
    chosen = dispatch.choose("path_step", impl, step.path)
    if chosen == "native":
        result = _native(step)
    elif chosen == "triton":
        from latentpath.ops.triton.path_step_kernel import path_step as run_triton

        result = run_triton(*step)
    else:
        result = _path_step_reference(step)
    mark_written(step.path, step.exp_avg, step.exp_avg_sq, step.step)
    return result


def _fake(path: Tensor, *_: Any) -> tuple[Tensor, Tensor]:
    return path.new_empty(path.shape[0]), path.new_empty(path.shape[0])


def _native(s: _Step) -> tuple[Tensor, Tensor]:
    module = dispatch.extension()
    assert module is not None
    batch, points, width = s.path.shape
    # The kernel's sums per chunk of points, [2, B, chunks], and the old rows at chunk borders.
    chunks = module.path_step_chunks(points)
    sums = s.path.new_empty(2, batch, chunks, dtype=torch.float64)
    borders = s.path.new_empty(batch, chunks, 2, width)
    tensors, numbers = s[:7], s[7:]
    with torch.cuda.device_of(s.path):
        module.path_step(
            s.path.is_cuda,
            *(0 if tensor is None else tensor.data_ptr() for tensor in tensors),
            (batch, points, width),
            numbers,
            sums.data_ptr(),
            borders.data_ptr(),
            torch.get_num_threads(),
            **dispatch.cuda_stream(s.path),
        )
    return sums[0].sum(1).to(s.path.dtype), sums[1].sum(1).to(s.path.dtype)


_path_step = register(
    schema("path_step_", _Step, results="(Tensor, Tensor)"),
    _kernel,
    _fake,
)
