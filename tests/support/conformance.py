"""What the tests of all ops share: the implementations to run, and the error budget."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from latentpath.ops import dispatch


@dataclass(frozen=True)
class Backend:
    """An implementation, and for C++ kernels the instruction set they run with."""

    impl: str
    isa: str | None = None

    def __str__(self) -> str:
        return self.impl if self.isa is None else f"{self.impl}-{self.isa}"


def backends(op: str) -> pytest.MarkDecorator:
    """Parametrise the `backend` fixture over all implementations of `op` on the CPU."""
    chosen = [pytest.param(Backend("reference"), id="reference")]
    module = dispatch.extension()
    if module is None:
        skip = pytest.mark.skip(reason="latentpath._C is not built")
        chosen.append(pytest.param(Backend("native"), id="native", marks=skip))
    else:
        found = [Backend("native", isa) for isa in dispatch.instruction_sets()]
        chosen += [pytest.param(backend, id=str(backend)) for backend in found]
    if dispatch.has_triton_kernel(op):
        reason = dispatch.why_not(op, "triton", "cpu")
        marks = [pytest.mark.skip(reason=reason)] if reason else []
        chosen.append(pytest.param(Backend("triton"), id="triton", marks=marks))
    return pytest.mark.parametrize("backend", chosen, indirect=True)


def error(result: Tensor, exact: Tensor) -> float:
    """Largest deviation from the float64 result, where that is finite."""
    assert torch.equal(result.isfinite(), exact.isfinite())
    finite = exact.isfinite()
    if not finite.any():
        return 0.0
    return (result.double() - exact)[finite].abs().max().item()


def assert_within_budget(
    result: Tensor,
    plain: Tensor,
    exact: Tensor,
    *,
    roundings: float,
    dtype: torch.dtype = torch.float32,
) -> None:
    """The house rule of accuracy.

    The error against float64 (`exact`) is at most that of the plain formula in the same dtype
    (`plain`) plus so many roundings of the largest value.
    """
    size = exact[exact.isfinite()].abs().max().item() if exact.isfinite().any() else 0.0
    budget = roundings * torch.finfo(dtype).eps / 2 * max(size, 1e-30)
    allowed = error(plain, exact) + budget
    assert error(result, exact) <= allowed, f"{error(result, exact):.3g} > {allowed:.3g}"
