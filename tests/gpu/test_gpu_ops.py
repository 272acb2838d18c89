"""Every op on a GPU gives what it gives on the processor."""

from __future__ import annotations

import pytest
import torch

from latentpath import ops


def number(*shape, seed=0, last=False):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)))
    return x.contiguous(memory_format=torch.channels_last) if last else x


def kl_uniform(to):
    logits = to(4 * number(9, 33)).requires_grad_()
    energy = ops.kl_uniform(logits)
    return energy.detach(), *torch.autograd.grad(energy.sum(), logits)


def bank_lse(to):
    query = to(number(9, 32)).requires_grad_()
    lse, mean = ops.bank_lse(query, to(number(70, 32)), to(number(70)), 0.3)
    return lse.detach(), mean.detach(), *torch.autograd.grad(lse.sum(), query)


def path_step(to):
    path, moments = to(number(3, 70, 5)), [to(number(3, 68, 5, seed=s).abs()) for s in (1, 2)]
    step, mask = to(torch.tensor([0, 4, 9])), to(torch.tensor([True, False, True]))
    outputs = ops.path_step_(
        path, to(number(3, 68, 5)), *moments, step, 0.1, mask=mask, eps_distance=1e-3
    )
    return *outputs, path, *moments, step


def path_smooth(to):
    return (ops.path_smooth_(to(number(3, 70, 5)), 4.0), ops.path_smooth_(to(number(1, 9, 3)), 0.0))


def row_distances(to):
    return (ops.row_distances(to(number(20, 7)), to(number(3, 7))),)


def modulated_act(to):
    x, grad = to(number(2, 5, 4, 6, last=True)), to(number(2, 5, 4, 6, seed=1, last=True))
    numbers = to(number(2, 5).abs() + 1), to(number(4, 6)), to(number(5))
    after = {"style": to(number(2, 5, seed=3)), "rgb_weight": to(number(2, 3, 5))}
    act = ops.Activation(0.2, 1.4, 2.0)
    out, rgb = ops.modulated_act_(x, *numbers, act, **after)
    slopes = ops.modulated_act_backward_(
        grad, x, *numbers, act, grad_rgb=to(number(2, 3, 4, 6)), **after
    )
    return x, out, rgb, *slopes


def fir2d(to):
    return (ops.fir2d(to(number(2, 5, 6, 4, last=True)), [0.2, 0.7, 0.75, 0.25], 1),)


def conv3x3(to):
    x, weights = number(2, 16, 6, 4, last=True), ops.Conv3x3Weights.of(to(number(8, 16, 3, 3)))
    return (ops.conv3x3(to(x), weights, to(number(8))),)


OPS = (
    kl_uniform, bank_lse, path_step, path_smooth, row_distances, modulated_act, fir2d, conv3x3
)  # fmt: skip


def test_no_op_is_forgotten():
    assert {run.__name__ for run in OPS} == set(ops.dispatch.BEST)


@pytest.mark.parametrize("run", OPS, ids=lambda run: run.__name__)
def test_as_on_the_processor(gpu, run):
    expected = run(lambda x: x)
    gpu.forget()
    results = run(lambda x: x.to(gpu.device))
    assert not gpu.waits
    for result, wanted in zip(results, expected, strict=True):
        assert result.device.type == gpu.device.type
        torch.testing.assert_close(result.cpu(), wanted, rtol=2e-5, atol=2e-5)


def test_tensors_of_two_devices_are_refused(gpu):
    with pytest.raises((RuntimeError, ValueError), match="device"):
        ops.bank_lse(number(2, 4).to(gpu.device), number(3, 4))
    with pytest.raises(RuntimeError, match="device"):
        number(2, 4).to(gpu.device) + number(2, 4)
