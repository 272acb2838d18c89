"""path_step_: Adam(fused=True) with autograd smoothness, torch.compile, ours, copying the bytes."""

from __future__ import annotations

import functools

import pytest
import torch
import workload as shared

from latentpath import ops

OP = "path_step"
CASES = [("64x512x512", "float32"), ("16x50x512", "float32")]
IMPLEMENTATIONS = ["eager", "compile", shared.best(OP), "copy"]


def _autograd_and_adam(path, guide):
    """What the published walk does: autograd for the smoothness, then the fused optimiser."""
    path = path.clone().requires_grad_()
    optimizer = torch.optim.Adam([path], lr=0.01, fused=True)

    def run():
        energy = path.diff(dim=1).square().sum((1, 2))
        optimizer.zero_grad()
        energy.sum().backward()
        path.grad[:, 1:-1] += guide
        path.grad[:, [0, -1]] = 0
        norm = path.grad.square().sum((1, 2))
        optimizer.step()
        return energy.detach(), norm

    return run


def _closed_form(path, guide, exp_avg, exp_avg_sq, correction1, correction2):
    """The same step with the gradient written out, for torch.compile to fuse."""
    difference = path.diff(dim=1)
    gradient = 2 * (difference[:, :-1] - difference[:, 1:]) + guide
    exp_avg.mul_(0.9).add_(gradient, alpha=0.1)
    exp_avg_sq.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
    moved = (0.01 / correction1) * exp_avg / ((exp_avg_sq / correction2).sqrt() + 1e-8)
    path[:, 1:-1] -= moved
    return difference.square().sum((1, 2)), gradient.square().sum((1, 2))


@functools.lru_cache(maxsize=1)
def build(shape: str, dtype: str, only: str | None = None) -> shared.Workload:
    """[B, T, D] random walks with a guide gradient on every interior point."""
    batch, points, width = map(int, shape.split("x"))
    generator = torch.Generator().manual_seed(0)
    path = torch.randn(batch, points, width, generator=generator).to(shared.DEVICE)
    guide = torch.randn(batch, points - 2, width, generator=generator).to(shared.DEVICE)
    compiled = torch.compile(_closed_form)

    def state():
        return path.clone(), guide, torch.zeros_like(guide), torch.zeros_like(guide)

    size = (2 * path.numel() + 5 * guide.numel()) * 4  # path and moments both ways, guide in
    makers = {
        "eager": lambda: _autograd_and_adam(path, guide),
        "compile": lambda: functools.partial(
            torch.no_grad()(compiled), *state(), torch.tensor(0.1), torch.tensor(0.001)
        ),
        shared.best(OP): lambda: functools.partial(
            ops.path_step_, *state(), torch.zeros(batch, dtype=torch.int64).to(shared.DEVICE), 0.01
        ),
        "copy": lambda: shared.copy_of(size),
    }
    runs = {name: make() for name, make in makers.items() if only in (None, name)}
    return shared.Workload(runs, bytes=size, flops=0, bound="copy")


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize(("shape", "dtype"), CASES)
def test_path_step(measure, shape, dtype, implementation):
    measure(OP, shape, dtype, implementation, build(shape, dtype))
