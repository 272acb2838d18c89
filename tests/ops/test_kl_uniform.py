from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, strategies as st

from latentpath import ops
from latentpath.core.errors import InputError, ShapeError, UnsupportedError
from latentpath.ops.kl_uniform import _kl_uniform, _kl_uniform_reference
from support.conformance import assert_within_budget, backends

pytestmark = pytest.mark.numeric

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
SHAPES = [(1, 1), (3, 2), (5, 123), (7, 507), (2, 4099), (33, 64)]


def run(logits, impl):
    """Energies and, with a gradient of ones, the gradient."""
    logits = logits.detach().clone().requires_grad_()
    energy = ops.kl_uniform(logits, impl=impl)
    (gradient,) = torch.autograd.grad(energy.sum(), logits)
    return energy.detach(), gradient


def plain(logits, dtype):
    logits = logits.detach().to(dtype).requires_grad_()
    energy = logits.logsumexp(1) - logits.mean(1) - math.log(logits.shape[1])
    (gradient,) = torch.autograd.grad(energy.sum(), logits)
    return energy.detach(), gradient


@backends("kl_uniform")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_error_budget(backend, dtype, shape):
    generator = torch.Generator().manual_seed(sum(shape))
    logits = (5 * torch.randn(shape, generator=generator)).to(dtype)
    energy, gradient = run(logits, backend)
    exact_energy, exact_gradient = plain(logits, torch.float64)
    plain_energy, plain_gradient = plain(logits, dtype)
    assert energy.dtype == torch.float32
    assert gradient.dtype == dtype
    assert_within_budget(energy, plain_energy, exact_energy, roundings=16)
    assert_within_budget(gradient, plain_gradient, exact_gradient, roundings=4, dtype=dtype)


@backends("kl_uniform")
def test_long_rows_take_the_path_of_many_blocks(backend, monkeypatch):
    if backend == "triton":
        from latentpath.ops.triton import kl_uniform_kernel as kernel

        monkeypatch.setattr(kernel, "LONGEST_SINGLE", 256)
        monkeypatch.setattr(kernel, "BLOCK", 128)
    logits = 4 * torch.randn(3, 7001, generator=torch.Generator().manual_seed(0))
    logits[1, :300] = -math.inf  # whole blocks of nothing before the first finite logit
    energy, gradient = run(logits, backend)
    exact_energy, exact_gradient = plain(logits, torch.float64)
    plain_energy, plain_gradient = plain(logits, torch.float32)
    assert_within_budget(energy, plain_energy, exact_energy, roundings=16)
    assert_within_budget(gradient, plain_gradient, exact_gradient, roundings=4)


@backends("kl_uniform")
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_extreme_logits(backend, size):
    logits = torch.zeros(4, 123)
    logits[0] = size
    logits[1, 7] = size
    logits[2] = torch.linspace(-size, size, 123)
    logits[3, ::2] = size
    energy, gradient = run(logits, backend)
    exact_energy, exact_gradient = plain(logits, torch.float64)
    plain_energy, plain_gradient = plain(logits, torch.float32)
    assert_within_budget(energy, plain_energy, exact_energy, roundings=4)
    assert_within_budget(gradient, plain_gradient, exact_gradient, roundings=4)


@backends("kl_uniform")
def test_single_identity_has_no_energy(backend):
    energy, gradient = run(torch.tensor([[3.0], [-1e4]]), backend)
    assert torch.equal(energy, torch.zeros(2))
    assert torch.equal(gradient, torch.zeros(2, 1))


@backends("kl_uniform")
def test_equal_logits_have_no_energy(backend):
    energy, gradient = run(torch.full((2, 507), 17.0), backend)
    torch.testing.assert_close(energy, torch.zeros(2), atol=2e-6, rtol=0)
    torch.testing.assert_close(gradient, torch.zeros(2, 507), atol=1e-9, rtol=0)


@backends("kl_uniform")
@pytest.mark.parametrize("place", [0, 100, 2500])
def test_nan_stays_in_its_row(backend, place):
    logits = torch.randn(3, 2501, generator=torch.Generator().manual_seed(1))
    clean_energy, clean_gradient = run(logits, backend)
    logits[1, place] = math.nan
    energy, gradient = run(logits, backend)
    assert energy[1].isnan()
    assert gradient[1].isnan().all()
    for row in (0, 2):
        assert torch.equal(energy[row], clean_energy[row])
        assert torch.equal(gradient[row], clean_gradient[row])


@backends("kl_uniform")
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_empty_batch(backend, dtype):
    energy, gradient = run(torch.zeros(0, 5, dtype=dtype), backend)
    assert energy.shape == (0,)
    assert gradient.shape == (0, 5)


@backends("kl_uniform")
def test_non_contiguous_logits(backend):
    base = torch.randn(40, 12, generator=torch.Generator().manual_seed(2))
    for view in (base.T, base[::3], base[:, ::2], base[:, 1:6], base[:1].expand(4, 12)):
        energy, gradient = run(view, backend)
        expected, expected_gradient = run(view.contiguous(), backend)
        torch.testing.assert_close(energy, expected)
        torch.testing.assert_close(gradient, expected_gradient)
        assert torch.equal(ops.kl_uniform(view, impl=backend), energy)


@backends("kl_uniform")
def test_two_runs_are_equal(backend):
    logits = torch.randn(9, 3001, generator=torch.Generator().manual_seed(3))
    first, second = run(logits, backend), run(logits, backend)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


@backends("kl_uniform")
def test_gradient_is_scaled_row_by_row(backend):
    logits = torch.randn(4, 9, generator=torch.Generator().manual_seed(4), requires_grad=True)
    weight = torch.tensor([1.0, 0.25, 0.0, -2.0])
    energy = ops.kl_uniform(logits, impl=backend)
    (weighted,) = torch.autograd.grad((weight * energy).sum(), logits, retain_graph=True)
    (ones,) = torch.autograd.grad(energy.sum(), logits)
    torch.testing.assert_close(weighted, weight[:, None] * ones)


@backends("kl_uniform")
def test_a_kept_graph_gives_the_same_gradient_again(backend):
    logits = torch.randn(4, 9, generator=torch.Generator().manual_seed(7), requires_grad=True)
    _, expected = run(logits, backend)
    energy = ops.kl_uniform(logits, impl=backend).sum()
    energy.backward(retain_graph=True)
    logits.grad.data.zero_()
    energy.backward(retain_graph=True)
    torch.testing.assert_close(logits.grad, expected)
    energy.backward(retain_graph=True)  # accumulates in place
    (again,) = torch.autograd.grad(energy, logits, retain_graph=True)
    again.mul_(100)
    (last,) = torch.autograd.grad(energy, logits)
    torch.testing.assert_close(last, expected)
    torch.testing.assert_close(logits.grad, 2 * expected)


def test_gradients_of_many_directions_at_once():
    logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(8))
    jacobian = torch.autograd.functional.jacobian
    torch.testing.assert_close(
        jacobian(ops.kl_uniform, logits, vectorize=True), jacobian(ops.kl_uniform, logits)
    )


def test_result_does_not_depend_on_the_number_of_threads():
    logits = torch.randn(11, 2049, generator=torch.Generator().manual_seed(5))
    before = torch.get_num_threads()
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(run(logits, None))
    torch.set_num_threads(before)
    for energy, gradient in results[1:]:
        assert torch.equal(energy, results[0][0])
        assert torch.equal(gradient, results[0][1])


def test_large_gradients_are_written_past_the_caches_to_the_same_values():
    """More than 8 MB of gradient takes other stores; rows of odd length start misaligned."""
    logits = torch.randn(1300, 2049, generator=torch.Generator().manual_seed(6))
    energy, gradient = run(logits, None)
    few_energy, few_gradient = run(logits[:100], None)
    assert torch.equal(energy[:100], few_energy)
    torch.testing.assert_close(gradient[:100], few_gradient, atol=1e-9, rtol=2e-6)
    torch.testing.assert_close(gradient.sum(1), torch.zeros(1300), atol=1e-5, rtol=0)


@given(st.integers(1, 40), st.floats(-50, 50), st.integers(0, 1000))
def test_properties(columns, shift, seed):
    """Never negative, unchanged by a shift of all logits, gradient sums to zero."""
    logits = 3 * torch.randn(2, columns, generator=torch.Generator().manual_seed(seed))
    energy, gradient = run(logits, None)
    assert (energy >= -1e-5).all()
    assert (energy <= math.log(columns) + logits.amax(1) - logits.mean(1) + 1e-4).all()
    shifted, _ = run(logits + shift, None)
    torch.testing.assert_close(shifted, energy, atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(gradient.sum(1), torch.zeros(2), atol=1e-5, rtol=0)


def test_float64_runs_the_reference_and_passes_gradcheck():
    logits = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(ops.kl_uniform, (logits,))
    assert torch.equal(ops.kl_uniform(logits), _kl_uniform_reference(logits))


def test_second_derivative_is_refused():
    logits = torch.randn(3, 5, requires_grad=True)
    (gradient,) = torch.autograd.grad(ops.kl_uniform(logits).sum(), logits, create_graph=True)
    with pytest.raises(UnsupportedError, match="second"):
        gradient.square().sum().backward()


def test_wrong_input_is_refused_by_name():
    with pytest.raises(ShapeError, match=r"logits to be \[M, N\].*got \[5\]"):
        ops.kl_uniform(torch.zeros(5))
    with pytest.raises(ShapeError, match="N >= 1"):
        ops.kl_uniform(torch.zeros(5, 0))
    with pytest.raises(ShapeError, match="int64"):
        ops.kl_uniform(torch.zeros(5, 2, dtype=torch.int64))
    with pytest.raises(InputError, match="fastest"):
        ops.kl_uniform(torch.zeros(5, 2), impl="fastest")
    with pytest.raises(UnsupportedError, match="float64"):
        ops.kl_uniform(torch.zeros(5, 2, dtype=torch.float64), impl="native")


@backends("kl_uniform")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_opcheck(backend, dtype):
    logits = torch.randn(4, 9).to(dtype).requires_grad_()
    # A gradient through the second output, the gradient, is refused; these checks, which take all
    # outputs, would ask for it.
    no_gradients = ("test_schema", "test_faketensor", "test_autograd_registration")
    torch.library.opcheck(_kl_uniform, (logits, True, backend), test_utils=no_gradients)
    torch.library.opcheck(_kl_uniform, (logits.detach(), False, backend))


def test_compiles_without_a_graph_break():
    def energy(features, weight):
        return ops.kl_uniform(features @ weight).sum()

    features = torch.randn(6, 4, requires_grad=True)
    weight = torch.randn(4, 11)
    compiled = torch.compile(energy, backend="aot_eager", fullgraph=True)
    expected = torch.autograd.grad(energy(features, weight), features)
    result = torch.autograd.grad(compiled(features, weight), features)
    torch.testing.assert_close(result, expected)
