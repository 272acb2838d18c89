"""The 3x3 convolution by fewer multiplications, against a plain one in float64."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from latentpath.core import using_threads
from latentpath.core.errors import ShapeError, UnsupportedError
from latentpath.ops import Conv3x3Weights, conv3x3
from latentpath.ops.conv3x3 import _conv3x3
from support.conformance import assert_within_budget, backends

pytestmark = pytest.mark.numeric

# The transforms add and subtract a few numbers that are larger than the result.
ROUNDINGS = 60


def images(*shape, seed=0):
    torch.manual_seed(seed)
    return torch.randn(shape).contiguous(memory_format=torch.channels_last)


def weight_of(made, taken, seed=1):
    torch.manual_seed(seed)
    return torch.randn(made, taken, 3, 3) / (9 * taken) ** 0.5


def shuffled(y):
    """[M, 4C, H, W] with the pixels outermost to [M, C, 2H, 2W], one pixel at a time."""
    m, c, h, w = y.shape
    out = y.new_empty(m, c // 4, 2 * h, 2 * w)
    for at in range(4):
        out[:, :, at // 2 :: 2, at % 2 :: 2] = y[:, at * c // 4 : (at + 1) * c // 4]
    return out


def unshuffled(x):
    return torch.cat([x[:, :, at // 2 :: 2, at % 2 :: 2] for at in range(4)], dim=1)


def last(x):
    return x.contiguous(memory_format=torch.channels_last)


@backends("conv3x3")
@pytest.mark.parametrize(
    ("shape", "made"),
    [
        ((1, 1, 1, 1), 1),
        ((2, 5, 4, 9), 3),
        ((27, 16, 4, 4), 32),  # more tiles than a task takes
        ((2, 37, 7, 5), 70),
        ((1, 64, 16, 16), 144),
    ],
    ids=str,
)
def test_is_a_convolution(backend, shape, made):
    x, weight, bias = images(*shape), weight_of(made, shape[1]), torch.randn(made)
    exact = F.conv2d(x.double(), weight.double(), bias.double(), padding=1)
    plain = F.conv2d(x, weight, bias, padding=1)
    result = conv3x3(x, Conv3x3Weights.of(weight), bias, impl=backend)
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert_within_budget(result, plain, exact, roundings=ROUNDINGS)


@backends("conv3x3")
def test_adjoint_is_the_transposed_convolution(backend):
    weight, grad = weight_of(20, 13), images(3, 20, 6, 11)
    exact = F.conv_transpose2d(grad.double(), weight.double(), padding=1)
    plain = F.conv_transpose2d(grad, weight, padding=1)
    result = conv3x3(grad, Conv3x3Weights.of(weight), adjoint=True, impl=backend)
    assert_within_budget(result, plain, exact, roundings=ROUNDINGS)


@backends("conv3x3")
def test_gather_and_scatter(backend):
    weight, x = weight_of(64, 128), images(2, 32, 10, 6)
    weights = Conv3x3Weights.of(weight)
    plain = F.conv2d(unshuffled(x), weight, padding=1)
    exact = F.conv2d(unshuffled(x).double(), weight.double(), padding=1)
    gathered = conv3x3(x, weights, gather=True, impl=backend)
    assert_within_budget(gathered, plain, exact, roundings=ROUNDINGS)
    both = conv3x3(x, weights, gather=True, scatter=True, impl=backend)
    assert both.is_contiguous(memory_format=torch.channels_last)
    assert_within_budget(both, shuffled(plain), shuffled(exact), roundings=ROUNDINGS)


@backends("conv3x3")
@pytest.mark.parametrize("adjoint", [False, True])
@pytest.mark.parametrize(("gather", "scatter"), [(False, False), (True, False), (False, True)])
def test_gradient(backend, adjoint, gather, scatter):
    """Linear, so that its gradient is the adjoint: <conv x, y> = <x, conv* y>."""
    made, taken = 64, 128
    weights = Conv3x3Weights.of(weight_of(made, taken))
    ins = made if adjoint else taken
    x = images(2, ins // 4, 6, 10) if gather else images(2, ins, 3, 5)
    form = {"adjoint": adjoint, "gather": gather, "scatter": scatter, "impl": backend}
    y = conv3x3(x.requires_grad_(), weights, torch.randn(taken if adjoint else made), **form)
    other = images(*y.shape, seed=2)
    (slope,) = torch.autograd.grad(y, x, other)
    double = last(x.detach().double()).requires_grad_()
    exact = Conv3x3Weights.of(weights.plain.double())
    wanted = conv3x3(double, exact, **{**form, "impl": "reference"})
    (wanted_slope,) = torch.autograd.grad(wanted, double, other.double())
    assert float((slope - wanted_slope).abs().max()) < 1e-4


@backends("conv3x3")
def test_images_are_computed_alone(backend):
    """The same bits in whatever company; a NaN stays in its image."""
    weights, x = Conv3x3Weights.of(weight_of(16, 24)), images(29, 24, 6, 6)
    whole = conv3x3(x, weights, impl=backend)
    if backend != "reference":  # PyTorch's own sums may depend on the batch
        for i in (0, 11, 28):
            assert torch.equal(conv3x3(x[i : i + 1], weights, impl=backend)[0], whole[i])
    x[1] = float("nan")
    result = conv3x3(x, weights, impl=backend)
    assert result[1].isnan().all()
    assert torch.equal(result[2:], whole[2:])


def test_result_does_not_depend_on_the_number_of_threads():
    weights, x = Conv3x3Weights.of(weight_of(16, 16)), images(40, 16, 8, 8)
    results = []
    for threads in (1, 2, 3):
        with using_threads(threads):
            results.append(conv3x3(x, weights))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@backends("conv3x3")
def test_no_images(backend):
    weights = Conv3x3Weights.of(weight_of(7, 5))
    assert conv3x3(images(0, 5, 4, 4), weights, impl=backend).shape == (0, 7, 4, 4)


@backends("conv3x3")
def test_opcheck(backend):
    weights = Conv3x3Weights.of(weight_of(6, 5))
    tensors = (weights.plain, weights.transformed, weights.transformed_adjoint)
    form = (torch.randn(6), False, False, False, backend)
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    x = images(2, 5, 3, 4).requires_grad_()
    torch.library.opcheck(_conv3x3, (x, *tensors, *form), test_utils=tests)


class TestBadInput:
    def test_images(self):
        weights = Conv3x3Weights.of(weight_of(8, 5))
        with pytest.raises(ShapeError, match="channels-last"):
            conv3x3(torch.zeros(2, 5, 4, 4), weights)
        with pytest.raises(ShapeError, match=r"x to be \[M, 5, H, W\]"):
            conv3x3(images(2, 6, 4, 4), weights)
        with pytest.raises(ShapeError, match="float64"):
            conv3x3(images(2, 5, 4, 4).double(), weights)
        with pytest.raises(ShapeError, match="multiple of 64"):
            conv3x3(images(2, 5, 4, 4), weights, scatter=True)

    def test_weights(self):
        with pytest.raises(ShapeError, match="weight"):
            Conv3x3Weights.of(torch.zeros(4, 4, 5, 5))
        with pytest.raises(ShapeError, match="bias"):
            conv3x3(images(1, 5, 4, 4), Conv3x3Weights.of(weight_of(8, 5)), torch.zeros(5))

    def test_forward_mode(self):
        weights, x = Conv3x3Weights.of(weight_of(8, 5)), images(1, 5, 4, 4)
        with torch.autograd.forward_ad.dual_level(), pytest.raises(UnsupportedError):
            conv3x3(torch.autograd.forward_ad.make_dual(x, x), weights)
