"""Derivatives that the ops do not have are refused by name, whichever way they are asked for."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import forward_ad

from latentpath import ops
from latentpath.core.errors import UnsupportedError

BANK = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
X = torch.randn(3, 5, generator=torch.Generator().manual_seed(1))
TANGENT = torch.ones(3, 5)


def kl_uniform(x):
    return ops.kl_uniform(x).sum()


def bank_lse(x):
    return ops.bank_lse(x, BANK)[0].sum()


def bank_of_bank_lse(x):
    return ops.bank_lse(X, x)[0].sum()


def path_step_(x):
    moments = torch.zeros(1, 1, 5), torch.zeros(1, 1, 5)
    return ops.path_step_(x.clone()[None], None, *moments, torch.zeros(1).long(), 0.1)[0].sum()


def guide_of_path_step_(x):
    moments = torch.zeros(1, 1, 5), torch.zeros(1, 1, 5)
    arguments = x[:1][None], *moments, torch.zeros(1).long(), 0.1
    return ops.path_step_(X.clone()[None], *arguments)[0].sum()


def path_smooth_(x):
    return ops.path_smooth_(x.clone()[None], 1.0).sum()


FORWARD = [
    kl_uniform,
    bank_lse,
    bank_of_bank_lse,
    path_step_,
    guide_of_path_step_,
    path_smooth_,
]
BACKWARD = [kl_uniform, bank_lse]


@pytest.mark.parametrize("function", FORWARD)
def test_forward_tangents_are_refused(function):
    with pytest.raises(UnsupportedError, match="without forward tangents"):
        torch.func.jvp(function, (X,), (TANGENT,))
    with pytest.raises(UnsupportedError, match="without forward tangents"):
        torch.func.jacfwd(function)(X)
    with forward_ad.dual_level():
        function(X)  # no tangent, nothing to refuse
        with pytest.raises(UnsupportedError, match="without forward tangents"):
            function(forward_ad.make_dual(X, TANGENT))


@pytest.mark.parametrize("function", BACKWARD)
def test_forward_over_reverse_is_refused(function):
    x = X.clone().requires_grad_()
    with forward_ad.dual_level():
        with pytest.raises(UnsupportedError, match="without forward tangents"):
            function(forward_ad.make_dual(x, TANGENT))
        weight = forward_ad.make_dual(torch.tensor(1.0), torch.tensor(1.0))
        with pytest.raises(UnsupportedError, match="without forward tangents"):
            torch.autograd.grad(weight * function(x), x)


@pytest.mark.parametrize("function", BACKWARD)
def test_gradients_through_torch_func_are_refused(function):
    transforms = torch.func.grad, torch.func.jacrev, torch.func.hessian
    for transform in transforms:
        with pytest.raises(UnsupportedError, match=r"backward\(\) or autograd\.grad"):
            transform(function)(X)
    with pytest.raises(UnsupportedError, match=r"backward\(\) or autograd\.grad"):
        torch.func.vmap(torch.func.grad(function))(torch.stack([X, X]))


@pytest.mark.parametrize("function", BACKWARD)
def test_constants_of_a_transform_are_not_refused(function):
    def whole(x):
        return x.sum() + function(x.detach())

    value, tangent = torch.func.jvp(whole, (X,), (TANGENT,))
    assert value == X.sum() + function(X)
    assert tangent == TANGENT.sum()
    assert torch.equal(torch.func.grad(whole)(X), torch.ones(3, 5))


@pytest.mark.parametrize("function", BACKWARD)
def test_a_compiled_function_does_not_lose_tangents(function):
    compiled = torch.compile(function, backend="aot_eager")
    torch.testing.assert_close(compiled(X), function(X))
    with forward_ad.dual_level():
        torch.testing.assert_close(compiled(X), function(X))
        with pytest.raises(UnsupportedError, match="without forward tangents"):
            compiled(forward_ad.make_dual(X, TANGENT))
