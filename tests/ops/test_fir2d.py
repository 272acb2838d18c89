"""The separable filter against a dense convolution in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from latentpath.core.errors import InputError, ShapeError, UnsupportedError
from latentpath.ops import fir2d
from latentpath.ops.fir2d import _fir2d
from support.conformance import assert_within_budget, backends

pytestmark = pytest.mark.numeric

TAPS = (0.5, 1.0, 2.0, -1.5)  # no symmetry


def images(*shape, dtype=torch.float32, seed=0):
    torch.manual_seed(seed)
    return torch.randn(shape).to(dtype).contiguous(memory_format=torch.channels_last)


def formula(x, pad, dtype=torch.float64):
    taps = torch.tensor(TAPS, dtype=dtype)
    kernel = taps.outer(taps).expand(x.shape[1], 1, 4, 4)
    return F.conv2d(x.to(dtype).contiguous(), kernel, padding=pad, groups=x.shape[1])


@backends("fir2d")
@pytest.mark.parametrize(
    ("shape", "pads"),
    [
        ((1, 1, 4, 4), (0, 1, 2, 3)),
        ((2, 5, 6, 9), (1, 2)),
        ((2, 37, 17, 5), (0, 3)),
        ((1, 64, 7, 21), (1, 3)),
    ],
    ids=str,
)
def test_float32_is_a_convolution(backend, shape, pads):
    x = images(*shape)
    for pad in pads:
        exact, plain = formula(x, pad), formula(x, pad, torch.float32)
        result = fir2d(x, TAPS, pad, impl=backend)
        assert result.is_contiguous(memory_format=torch.channels_last)
        assert result.shape == exact.shape
        assert_within_budget(result, plain, exact, roundings=8)


@backends("fir2d")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_rounds_once(backend, dtype):
    x = images(2, 21, 8, 9, dtype=dtype)
    exact, unit = formula(x, 2), torch.finfo(dtype).eps / 2
    if backend == "triton" and dtype == torch.bfloat16:
        unit *= 2  # Triton's interpreter cuts off where hardware rounds
    error = (fir2d(x, TAPS, 2, impl=backend).double() - exact).abs()
    assert (error <= 1.01 * unit * exact.abs() + 1e-5).all()


@backends("fir2d")
@pytest.mark.parametrize("pad", [0, 1, 2, 3])
def test_adjoint(backend, pad):
    x = images(1, 7, 6, 5)
    y = fir2d(x, TAPS, pad, impl=backend)
    other = images(*y.shape, seed=1)
    back = fir2d(other, TAPS[::-1], 3 - pad, impl=backend)
    assert float((y * other).sum()) == pytest.approx(float((x * back).sum()), rel=1e-4)


@backends("fir2d")
def test_images_are_filtered_alone(backend):
    x = images(2, 20, 9, 9)
    whole = fir2d(x, TAPS, 1, impl=backend)
    for i in range(2):
        assert torch.equal(fir2d(x[i : i + 1], TAPS, 1, impl=backend)[0], whole[i])


def test_result_does_not_depend_on_the_number_of_threads():
    x, before = images(2, 70, 12, 12), torch.get_num_threads()
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(fir2d(x, TAPS, 1))
    torch.set_num_threads(before)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@backends("fir2d")
def test_no_images(backend):
    assert fir2d(images(0, 3, 5, 5), TAPS, 1, impl=backend).shape == (0, 3, 4, 4)


@backends("fir2d")
def test_opcheck(backend):
    tests = ("test_schema", "test_faketensor")
    torch.library.opcheck(_fir2d, (images(2, 5, 6, 7), list(TAPS), 1, backend), test_utils=tests)


class TestBadInput:
    @pytest.mark.parametrize(
        ("taps", "pad", "shape"),
        [
            (TAPS[:3], 1, (1, 1, 5, 5)),
            (TAPS, -1, (1, 1, 5, 5)),
            (TAPS, 4, (1, 1, 5, 5)),
            (TAPS, 0, (1, 1, 3, 5)),
        ],
    )
    def test_options(self, taps, pad, shape):
        with pytest.raises(InputError, match="four taps"):
            fir2d(images(*shape), taps, pad)

    def test_layout_and_dtype(self):
        with pytest.raises(ShapeError, match="channels-last"):
            fir2d(torch.zeros(2, 3, 5, 5), TAPS, 1)
        with pytest.raises(ShapeError, match="int64"):
            fir2d(torch.zeros(1, 1, 5, 5).long(), TAPS, 1)

    def test_gradients(self):
        with pytest.raises(UnsupportedError, match="requires no gradient"):
            fir2d(images(1, 1, 5, 5).requires_grad_(), TAPS, 1)


@backends("fir2d")
def test_nan_stays_in_its_image(backend):
    """Also with rows outside the image above and below, which count as zero."""
    x = images(3, 20, 6, 6)
    clean = fir2d(x, TAPS, 2, impl=backend)
    x[1] = float("nan")
    result = fir2d(x, TAPS, 2, impl=backend)
    assert result[1].isnan().any()
    assert torch.equal(result[[0, 2]], clean[[0, 2]])
