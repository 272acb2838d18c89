"""Filters and convolutions of StyleGAN2 against their formulas, derivatives included."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from latentpath.generators.layers import (
    Conv2dLayer,
    conv2d_down,
    conv2d_up,
    downsample2d,
    fir,
    separable_taps,
    setup_filter,
)

SKEWED = (1.0, 2.0, 4.0, 0.5)  # no symmetry hides a reversed filter


def filtered(x, f, pad, gain):
    """Zeros around each channel of x, then the sum that `fir` is."""
    x = F.pad(x, [pad] * 4)
    k = f.shape[-1]
    height, width = x.shape[2] - k + 1, x.shape[3] - k + 1
    y = torch.zeros(*x.shape[:2], height, width, dtype=x.dtype)
    for i in range(k):
        for j in range(k):
            y = y + f[k - 1 - i, k - 1 - j] * gain * x[:, :, i : i + height, j : j + width]
    return y


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("pad", [0, 1, 2, 3])
@pytest.mark.parametrize("shape", [(2, 3, 7, 5), (1, 1, 4, 9)])
@pytest.mark.parametrize("taps", [SKEWED, (1.0, 3.0, 3.0, 1.0), (1.0, 2.0, 1.0)])
def test_fir(layout, pad, shape, taps):
    x = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x = x.to(memory_format=layout)
    f = setup_filter(taps).double()
    torch.testing.assert_close(fir(x, f, (pad,) * 4, 4.0), filtered(x, f, pad, 4.0))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_fir_keeps_the_dtype(dtype):
    x = torch.randn(2, 5, 9, 6, generator=torch.Generator().manual_seed(1)).to(dtype)
    f = setup_filter(SKEWED)
    result = fir(x, f, (1, 1, 1, 1))
    assert result.dtype == dtype
    reference = filtered(x.double(), f.double(), 1, 1.0)
    tolerance = 4 * torch.finfo(dtype).eps
    torch.testing.assert_close(result.double(), reference, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("function", ["fir", "down", "down1", "up", "downsample"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_derivatives(function, layout):
    """The first and the second, which the penalty on a discriminator's slope takes."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(2, 2, 6, 4, dtype=torch.float64, generator=generator)
    x = x.to(memory_format=layout).requires_grad_()
    side = 1 if function == "down1" else 3
    weight = torch.randn(3, 2, side, side, dtype=torch.float64, generator=generator)
    weight.requires_grad_()
    f = setup_filter(SKEWED).double()
    functions = {
        "fir": lambda x, w: fir(x, f, (2, 2, 2, 2), 4.0) * w.mean(),
        "down": lambda x, w: conv2d_down(x, w, f).tanh(),
        "down1": lambda x, w: conv2d_down(x, w, f).tanh(),
        "up": lambda x, w: conv2d_up(x, w, f).tanh(),
        "downsample": lambda x, w: downsample2d(x, f).square() * w.mean(),
    }
    assert torch.autograd.gradcheck(functions[function], (x, weight))
    assert torch.autograd.gradgradcheck(functions[function], (x, weight))


@pytest.mark.parametrize("transform", ["vmap", "grad", "jvp", "compile"])
def test_transforms(transform):
    """Where our own kernel cannot follow, PyTorch's convolution gives the same."""
    x = torch.randn(3, 2, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    f = setup_filter(SKEWED).double()

    def total(x):
        return fir(x, f, (1, 1, 1, 1)).square().sum()

    x.requires_grad_()
    (slope,) = torch.autograd.grad(total(x), x)
    x = x.detach()
    if transform == "vmap":
        batched = torch.func.vmap(lambda one: fir(one[None], f, (1, 1, 1, 1))[0])(x)
        torch.testing.assert_close(batched, fir(x, f, (1, 1, 1, 1)))
    elif transform == "grad":
        torch.testing.assert_close(torch.func.grad(total)(x), slope)
    elif transform == "jvp":
        _, change = torch.func.jvp(total, (x,), (x,))
        torch.testing.assert_close(change, (slope * x).sum())
    else:
        compiled = torch.compile(total, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(x), total(x))


@pytest.mark.parametrize("resample", [{}, {"up": 2}, {"down": 2}])
@pytest.mark.parametrize("activation", ["lrelu", "linear", "relu", "tanh", "swish"])
@pytest.mark.parametrize("kernel", [1, 3])
def test_layer(resample, activation, kernel):
    """Convolution, bias, activation, gain, clamp, one after the other."""
    torch.manual_seed(4)
    layer = Conv2dLayer(
        3, 4, kernel, activation=activation, conv_clamp=1.5, resample_filter=SKEWED, **resample
    ).double()
    torch.nn.init.normal_(layer.bias)
    x = 2 * torch.randn(2, 3, 8, 8, dtype=torch.float64)
    weight = layer.weight / (3 * kernel**2) ** 0.5
    f = layer.resample_filter
    if "up" in resample:
        y = conv2d_up(x, weight, f)
    elif "down" in resample:
        y = conv2d_down(x, weight, f)
    else:
        y = F.conv2d(x, weight, padding=kernel // 2)
    y = y + layer.bias[:, None, None]
    functions = {
        "lrelu": (lambda y: F.leaky_relu(y, 0.2), 2**0.5),
        "linear": (lambda y: y, 1.0),
        "relu": (F.relu, 2**0.5),
        "tanh": (torch.tanh, 1.0),
        "swish": (F.silu, 2**0.5),
    }
    function, own_gain = functions[activation]
    y = (function(y) * own_gain * 0.7).clamp(-1.5 * 0.7, 1.5 * 0.7)
    torch.testing.assert_close(layer(x, gain=0.7), y)


def test_separable_taps():
    assert separable_taps(setup_filter(SKEWED)) == pytest.approx([t / 7.5 for t in SKEWED])
    assert separable_taps(setup_filter((1, 2, 1))) is None
    assert separable_taps(torch.eye(4) / 4) is None
