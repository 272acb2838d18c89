from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
import torch

from latentpath import ops
from latentpath.core.errors import ShapeError, UnsupportedError
from latentpath.ops import gpu_target
from latentpath.ops.bank_lse import _bank_lse, _bank_lse_reference
from support.conformance import assert_within_budget, backends, error
from support.fresh import python

pytestmark = pytest.mark.numeric

# (query, bank); the plain formula to compare with runs in the bank's dtype.
DTYPES = [
    (torch.float32, torch.float32),
    (torch.float32, torch.bfloat16),
    (torch.float32, torch.float16),
    (torch.bfloat16, torch.bfloat16),
    (torch.float16, torch.float16),
]
# Roundings that the budget allows, of the largest value: for lse, and for mean, whose weights
# exp(score - lse) carry the roundings of scores of about 10 into their relative error.
LSE, MEAN = 8, 16
# M, N, D: single rows, sizes that no tile divides, whole tiles
SHAPES = [(1, 1, 1), (3, 7, 5), (14, 123, 507), (97, 241, 64), (5, 1000, 123), (2, 121, 512)]
# The same for Triton's tiles of 32 or 64 queries and 16 or 32 rows: its interpreter is slow.
TRITON_SHAPES = [(1, 1, 1), (3, 7, 5), (14, 35, 507), (70, 49, 64), (5, 100, 123), (2, 33, 512)]


def data(shape, dtypes=(torch.float32, torch.float32), size=3.0):
    m, n, d = shape
    generator = torch.Generator().manual_seed(m + n + d)
    query = torch.randn(m, d, generator=generator).to(dtypes[0])
    bank = torch.randn(n, d, generator=generator).to(dtypes[1])
    bias = torch.randn(n, generator=generator)
    return query, bank, bias, size / d**0.5


def exact(query, bank, bias, scale):
    bias = None if bias is None else bias.double()
    return _bank_lse_reference(query.double(), bank.double(), bias, scale)


def plain(query, bank, bias, scale):
    """The formula as PyTorch runs it in the bank's dtype."""
    scores = scale * (query.to(bank.dtype) @ bank.T)
    scores = scores if bias is None else scores + bias.to(bank.dtype)
    return scores.logsumexp(1), scores.softmax(1) @ bank


@backends("bank_lse")
@pytest.mark.parametrize("dtypes", DTYPES, ids=lambda pair: f"{pair[0]}-{pair[1]}")
@pytest.mark.parametrize("number", range(len(SHAPES)), ids=lambda i: str(SHAPES[i]))
def test_error_budget(backend, dtypes, number):
    shape = (TRITON_SHAPES if backend == "triton" else SHAPES)[number]
    query, bank, some_bias, scale = data(shape, dtypes)
    for bias in (None, some_bias):
        lse, mean = ops.bank_lse(query, bank, bias, scale, impl=backend)
        exact_lse, exact_mean = exact(query, bank, bias, scale)
        plain_lse, plain_mean = plain(query, bank, bias, scale)
        assert lse.dtype == mean.dtype == torch.float32
        assert_within_budget(lse, plain_lse, exact_lse, roundings=LSE, dtype=dtypes[1])
        assert_within_budget(mean, plain_mean, exact_mean, roundings=MEAN, dtype=dtypes[1])


@pytest.fixture
def long_bank(backend, monkeypatch):
    """Rows of a bank that is split into several parts; Triton's are made shorter."""
    if backend != "triton":
        return 9001
    monkeypatch.setattr(gpu_target, "LEAST_PART", 64)
    return 561


@backends("bank_lse")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_bank_in_several_parts(backend, long_bank, dtype):
    """Few queries against many rows: the bank is split and the parts are merged."""
    query, bank, bias, scale = data((3, long_bank, 16), (dtype, dtype))
    bias[: long_bank * 5 // 9] = -math.inf  # parts without any weight
    lse, mean = ops.bank_lse(query, bank, bias, scale, impl=backend)
    exact_lse, exact_mean = exact(query, bank, bias, scale)
    plain_lse, plain_mean = plain(query, bank, bias, scale)
    assert_within_budget(lse, plain_lse, exact_lse, roundings=LSE, dtype=dtype)
    assert_within_budget(mean, plain_mean, exact_mean, roundings=MEAN, dtype=dtype)


@backends("bank_lse")
def test_extreme_scores(backend):
    query, bank, bias, _ = data((9, 507, 32))
    query[0] = 1e4 * bank[3]
    query[1] = -1e4 * bank[4]
    query[2] = 0.0
    bias[::7] = 1e4
    bias[1::7] = -1e4
    arguments = (query, bank, bias, 1.0)
    lse, mean = ops.bank_lse(*arguments, impl=backend)
    exact_lse, exact_mean = exact(*arguments)
    plain_lse, plain_mean = plain(*arguments)
    assert_within_budget(lse, plain_lse, exact_lse, roundings=LSE)
    assert_within_budget(mean[2:], plain_mean[2:], exact_mean[2:], roundings=1e3)
    # With scores of 1e5 the nearest row takes all the weight, whatever is rounded.
    torch.testing.assert_close(mean[:2].double(), exact_mean[:2], atol=1e-5, rtol=1e-5)


@backends("bank_lse")
def test_log_density_of_real_latents(backend):
    """Bias -|r|^2 / 2 s^2 and scale 1 / s^2: a mixture of Gaussians, up to its constant."""
    query, bank, _, _ = data((6, 70, 8))
    sigma = 0.7
    bias = -bank.square().sum(1) / (2 * sigma**2)
    lse, mean = ops.bank_lse(query, bank, bias, 1 / sigma**2, impl=backend)
    log_density = lse - query.square().sum(1) / (2 * sigma**2)
    distances = torch.cdist(query.double(), bank.double())
    expected = (-distances.square() / (2 * sigma**2)).logsumexp(1)
    torch.testing.assert_close(log_density.double(), expected, atol=2e-5, rtol=1e-5)
    assert (mean >= bank.amin(0)).all()
    assert (mean <= bank.amax(0)).all()


@backends("bank_lse")
def test_single_identity(backend):
    query, bank, bias, scale = data((5, 1, 33))
    lse, mean = ops.bank_lse(query, bank, bias, scale, impl=backend)
    torch.testing.assert_close(lse, scale * query @ bank[0] + bias)
    torch.testing.assert_close(mean, bank.expand(5, 33))


@backends("bank_lse")
def test_nan_stays_in_its_query(backend):
    count = 40 if backend == "triton" else 100
    query, bank, bias, scale = data((count, 123, 16))
    clean_lse, clean_mean = ops.bank_lse(query, bank, bias, scale, impl=backend)
    query[7, 3] = math.nan
    lse, mean = ops.bank_lse(query, bank, bias, scale, impl=backend)
    assert lse[7].isnan()
    assert mean[7].isnan().all()
    others = torch.arange(count) != 7
    assert torch.equal(lse[others], clean_lse[others])
    assert torch.equal(mean[others], clean_mean[others])


@backends("bank_lse")
def test_nan_in_the_bank_reaches_every_query(backend):
    query, bank, bias, scale = data((5, 123, 16))
    bank[60, 2] = math.nan
    lse, _ = ops.bank_lse(query, bank, bias, scale, impl=backend)
    assert lse.isnan().all()


@backends("bank_lse")
def test_rows_that_are_masked_out(backend):
    query, bank, bias, scale = data((5, 123, 16))
    bias[50:] = -math.inf
    lse, mean = ops.bank_lse(query, bank, bias, scale, impl=backend)
    few_lse, few_mean = ops.bank_lse(query, bank[:50], bias[:50], scale, impl=backend)
    torch.testing.assert_close(lse, few_lse)
    torch.testing.assert_close(mean, few_mean)
    bias[:] = -math.inf
    lse, mean = ops.bank_lse(query, bank, bias, scale, impl=backend)
    assert torch.equal(lse, torch.full((5,), -math.inf))
    assert mean.isnan().all()


@backends("bank_lse")
@pytest.mark.parametrize("parts", ["one part", "several parts"])
def test_a_bias_of_plus_infinity_is_an_infinite_score(backend, long_bank, parts):
    query, bank, bias, scale = data((5, 123 if parts == "one part" else long_bank, 16))
    bias[7] = math.inf
    query[3, 2] = math.nan
    lse, mean = ops.bank_lse(query, bank, bias, scale, impl=backend)
    others = torch.arange(5) != 3
    assert (lse[others] == math.inf).all()
    assert lse[3].isnan()
    assert mean.isnan().all()


@backends("bank_lse")
def test_empty_batch(backend):
    _, bank, bias, scale = data((1, 123, 16))
    lse, mean = ops.bank_lse(torch.zeros(0, 16), bank, bias, scale, impl=backend)
    assert lse.shape == (0,)
    assert mean.shape == (0, 16)


@backends("bank_lse")
def test_non_contiguous_input(backend):
    query, bank, bias, scale = data((20, 62, 16))
    views = [(query[::2], bank[1::3], bias[1::3]), (query.T[:8].T, bank[:, :8], bias)]
    for some_query, some_bank, some_bias in views:
        arguments = [some_query, some_bank, some_bias]
        result = ops.bank_lse(*arguments, scale, impl=backend)
        expected = ops.bank_lse(*[a.contiguous() for a in arguments], scale, impl=backend)
        assert torch.equal(result[0], expected[0])
        assert torch.equal(result[1], expected[1])


@backends("bank_lse")
@pytest.mark.parametrize("parts", ["one part", "several parts"])
def test_two_runs_are_equal(backend, long_bank, parts):
    whole = (33, 49, 64) if backend == "triton" else (97, 241, 64)
    arguments = data(whole if parts == "one part" else (3, long_bank, 16))
    first = ops.bank_lse(*arguments, impl=backend)
    second = ops.bank_lse(*arguments, impl=backend)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


@pytest.mark.parametrize("shape", [(200, 241, 64), (3, 20001, 16)], ids=str)
def test_result_does_not_depend_on_the_number_of_threads(shape):
    arguments = data(shape)
    before = torch.get_num_threads()
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(ops.bank_lse(*arguments))
    torch.set_num_threads(before)
    for lse, mean in results[1:]:
        assert torch.equal(lse, results[0][0])
        assert torch.equal(mean, results[0][1])


@backends("bank_lse")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_gradient_of_lse_is_scale_times_mean(backend, dtype):
    query, bank, bias, scale = data((6, 50, 12), (dtype, dtype))
    weight = torch.linspace(-1, 2, 6)
    query.requires_grad_()
    lse, mean = ops.bank_lse(query, bank, bias, scale, impl=backend)
    (gradient,) = torch.autograd.grad((weight * lse).sum(), query)
    assert gradient.dtype == dtype
    expected = (weight[:, None] * scale * mean.detach()).to(dtype)
    torch.testing.assert_close(gradient, expected)


@backends("bank_lse")
def test_a_gradient_shares_no_memory_with_mean_or_the_graph(backend):
    query, bank, bias, _ = data((6, 50, 12))
    query.requires_grad_()
    lse, mean = ops.bank_lse(query, bank, bias, 1.0, impl=backend)
    expected = mean.detach().clone()
    lse.sum().backward(retain_graph=True)
    query.grad.data.zero_()
    assert torch.equal(mean, expected)
    lse.sum().backward(retain_graph=True)
    assert torch.equal(query.grad, expected)
    lse.sum().backward()
    assert torch.equal(query.grad, 2 * expected)
    assert torch.equal(mean, expected)


@backends("bank_lse")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_a_narrow_query_beside_a_float32_bank_is_widened(backend, dtype):
    query, bank, bias, scale = data((6, 50, 12), (dtype, torch.float32))
    query.requires_grad_()
    lse, mean = ops.bank_lse(query, bank, bias, scale, impl=backend)
    wide = query.detach().float().requires_grad_()
    wide_lse, wide_mean = ops.bank_lse(wide, bank, bias, scale, impl=backend)
    assert lse.dtype == mean.dtype == torch.float32
    assert torch.equal(lse, wide_lse)
    assert torch.equal(mean, wide_mean)
    (gradient,) = torch.autograd.grad(lse.sum(), query)
    (wide_gradient,) = torch.autograd.grad(wide_lse.sum(), wide)
    assert torch.equal(gradient, wide_gradient.to(dtype))


def test_features_of_autocast_beside_the_weights_of_a_head():
    head = torch.nn.Linear(12, 50)
    weight, bias = head.weight.detach(), head.bias.detach()
    with torch.autocast("cpu", torch.bfloat16):
        features = torch.nn.Linear(8, 12)(torch.randn(6, 8))
        lse, _ = ops.bank_lse(features, weight, bias)
    assert features.dtype == torch.bfloat16
    torch.testing.assert_close(lse, (features.float() @ weight.T + bias).logsumexp(1))


def test_gradcheck_in_float64():
    query, bank, bias, scale = data((4, 9, 5), (torch.float64, torch.float64))
    query.requires_grad_()

    def lse(query):
        return ops.bank_lse(query, bank, bias.double(), scale)[0]

    assert torch.autograd.gradcheck(lse, (query,))


def test_identity_energy_equals_kl_uniform_of_the_logits():
    """DESIGN section 3: lse - (scale f . mean row + mean bias) - log N."""
    query, bank, bias, scale = data((10, 300, 24))
    lse, mean = ops.bank_lse(query, bank, bias, scale)
    energy = lse - (scale * query @ bank.mean(0) + bias.mean()) - math.log(300)
    logits = scale * query @ bank.T + bias
    torch.testing.assert_close(energy, ops.kl_uniform(logits), atol=1e-5, rtol=1e-5)
    features = query.clone().requires_grad_()
    energy = ops.kl_uniform(scale * features @ bank.T + bias).sum()
    (gradient,) = torch.autograd.grad(energy, features)
    torch.testing.assert_close(scale * (mean - bank.mean(0)), gradient, atol=1e-5, rtol=1e-4)


def test_second_derivatives_and_gradients_of_mean_are_refused():
    query, bank, bias, scale = data((4, 9, 5))
    query.requires_grad_()
    lse, mean = ops.bank_lse(query, bank, bias, scale)
    (gradient,) = torch.autograd.grad(lse.sum(), query, create_graph=True)
    with pytest.raises(UnsupportedError, match="second"):
        gradient.square().sum().backward()
    lse, mean = ops.bank_lse(query, bank, bias, scale)
    with pytest.raises(UnsupportedError, match="through lse alone, got one through mean"):
        (lse.sum() + mean.sum()).backward()
    with pytest.raises(UnsupportedError, match=r"bank\.detach"):
        ops.bank_lse(query, bank.requires_grad_(), bias, scale)
    with torch.no_grad():
        ops.bank_lse(query, bank, bias, scale)


def test_wrong_input_is_refused_by_name():
    query, bank, bias, _ = data((4, 9, 5))
    with pytest.raises(ShapeError, match=r"query to be \[M, D\]"):
        ops.bank_lse(query[0], bank)
    with pytest.raises(ShapeError, match=r"bank to be \[N, D\] = \[any, 5\], got \[9, 4\]"):
        ops.bank_lse(query, bank[:, :4])
    with pytest.raises(ShapeError, match="bias to be"):
        ops.bank_lse(query, bank, bias[:3])
    with pytest.raises(ShapeError, match="a row"):
        ops.bank_lse(query, bank[:0])
    with pytest.raises(ShapeError, match=r"bank in bfloat16, .*: bank\.to\(torch\.bfloat16\) or"):
        ops.bank_lse(query.bfloat16(), bank.half())
    with pytest.raises(ShapeError, match=r"bank in float64, .*: bank\.double\(\)"):
        ops.bank_lse(query.double(), bank)
    with pytest.raises(ShapeError, match="bias in float32"):
        ops.bank_lse(query, bank, bias.double())


def test_reference_holds_a_part_of_the_scores_at_a_time(monkeypatch):
    from latentpath.ops import bank_lse as module

    query, bank, bias, scale = data((50, 123, 8))
    expected = ops.bank_lse(query, bank, bias, scale, impl="reference")
    monkeypatch.setattr(sys.modules["latentpath.ops.bank_lse"], "_REFERENCE_SCORES", 500)
    result = ops.bank_lse(query, bank, bias, scale, impl="reference")
    assert module is ops.bank_lse
    torch.testing.assert_close(result, expected)


MEMORY = """
import torch
from pathlib import Path
from latentpath import ops

def peak():  # kB; getrusage's figure would start at what the parent process held
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

torch.set_num_threads(2)
generator = torch.Generator().manual_seed(0)
bank = torch.randn(40_000, 64, generator=generator).to(torch.{dtype})
query = torch.randn(1_000, 64, generator=generator)
ops.bank_lse(query[:100], bank[:1000], None, 0.1)
before = peak()
lse, mean = ops.bank_lse(query, bank, None, 0.1)
print((peak() - before) // 1024)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc/self/status")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_memory_does_not_grow_with_queries_times_rows(dtype):
    """The score matrix alone would be 153 MB; the promise is 64 MB above inputs and outputs."""
    ran = python(MEMORY.format(dtype=dtype))
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) < 64


@backends("bank_lse")
def test_opcheck(backend):
    query, bank, bias, scale = data((4, 9, 5))
    query.requires_grad_()
    # A gradient through mean is refused, which these checks, taking all outputs, would ask for.
    no_gradients = ("test_schema", "test_faketensor", "test_autograd_registration")
    arguments = (query, bank, bias, scale, backend)
    torch.library.opcheck(_bank_lse, arguments, test_utils=no_gradients)
    torch.library.opcheck(_bank_lse, (query.detach(), bank, None, scale, backend))


def test_compiles_without_a_graph_break():
    _, bank, bias, scale = data((4, 9, 5))

    def energy(query):
        return ops.bank_lse(2 * query, bank, bias, scale)[0].sum()

    query = torch.randn(6, 5, requires_grad=True)
    compiled = torch.compile(energy, backend="aot_eager", fullgraph=True)
    expected = torch.autograd.grad(energy(query), query)
    result = torch.autograd.grad(compiled(query), query)
    torch.testing.assert_close(result, expected)


def test_bfloat16_scores_are_kept_in_float32():
    """The C++ kernel rounds factors only; PyTorch's bfloat16 product rounds scores as well."""
    query, bank, _, _ = data((20, 500, 64), (torch.bfloat16, torch.bfloat16))
    lse, _ = ops.bank_lse(query, bank, None, 0.7)
    exact_lse, _ = exact(query, bank, None, 0.7)
    plain_lse, _ = plain(query, bank, None, 0.7)
    assert error(lse, exact_lse) < error(plain_lse, exact_lse) / 20


@pytest.mark.parametrize("query_tiles", [1, 4, 6, 48, 133, 768])
@pytest.mark.parametrize("bank_rows", [1, 700, 9001, 100_000])
def test_parts_of_a_bank_fill_whole_waves(query_tiles, bank_rows):
    """No program waits for a last wave that is nearly empty, where parts may be shorter."""
    part = gpu_target.rows_of_a_part(bank_rows, query_tiles, 132, 64)
    parts = -(-bank_rows // part)
    assert part % 64 == 0
    assert parts == 1 or part >= gpu_target.LEAST_PART
    assert parts <= gpu_target.MOST_PARTS
    if bank_rows == 100_000 and query_tiles >= 4:
        waves = -(-query_tiles * parts // 132)
        assert query_tiles * bank_rows >= 0.85 * waves * 132 * min(part, bank_rows)
