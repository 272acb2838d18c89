"""A second opinion: the synthesis network with modulated weights, in float64.

Written from the papers and plain PyTorch alone: one set of weights per image and one grouped
convolution, upsampling by explicit insertion of zeros followed by the filter.
"""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from latentpath.generators import StyleGAN2
from latentpath.generators.layers import downsample2d, setup_filter, upsample2d
from latentpath.generators.synthesis import modulated_conv2d

pytestmark = pytest.mark.numeric

# No symmetry: a filter that is applied back to front shows.
TAPS = (1.0, 2.0, 4.0, 3.0)


def convolve(x, f, before, after):
    """True convolution of each channel with f [K, K], after zero padding on both sides."""
    x = F.pad(x, [before, after, before, after])
    kernel = f.flip([0, 1]).expand(x.shape[1], 1, *f.shape)
    return F.conv2d(x, kernel, groups=x.shape[1])


def zero_inserted(x):
    y = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    y[:, :, ::2, ::2] = x
    return y


def upsampled(x, f, extra=0):
    """By 2: zeros, filter, gain 4; `extra` more pixels at every border."""
    k = len(f)
    return 4 * convolve(zero_inserted(x), f, extra + (k + 1) // 2, extra + (k - 2) // 2)


def grouped_convolution(x, weight, styles, *, demodulate, f=None):
    """Equations 1 to 3 of Karras et al., CVPR 2020, as they stand."""
    m, o = len(x), len(weight)
    k = weight.shape[-1]
    w = weight[None] * styles[:, None, :, None, None]  # [M, O, I, k, k]
    if demodulate:
        w = w / (w.square().sum(dim=[2, 3, 4], keepdim=True) + 1e-8).sqrt()
    if f is not None:
        # Published: a correlation at the same size, a convolution when it upsamples.
        x, w, padding = upsampled(x, f, extra=k // 2), w.flip([3, 4]), 0
    else:
        padding = k // 2
    x = x.reshape(1, -1, *x.shape[2:])
    y = F.conv2d(x, w.reshape(m * o, -1, k, k), padding=padding, groups=m)
    return y.reshape(m, o, *y.shape[2:])


class Plain:
    """The synthesis network in float64, from a state dict."""

    def __init__(self, generator, *, architecture, clamp):
        state = generator.synthesis.state_dict()
        self.state = {name: tensor.double() for name, tensor in state.items()}
        self.resolutions = generator.synthesis.block_resolutions
        self.architecture, self.clamp = architecture, clamp
        self.f = self.state[f"b{self.resolutions[-1]}.resample_filter"]
        self.margin = math.inf  # distance of the nearest value from a kink, until now

    def keep_margin(self, distances):
        self.margin = min(self.margin, float(distances.detach().abs().min()))

    def bounded(self, x, gain=1.0):
        if self.clamp is None:
            return x
        self.keep_margin(x.abs() - self.clamp * gain)
        return x.clamp(-self.clamp * gain, self.clamp * gain)

    def styles(self, name, w):
        weight = self.state[f"{name}.affine.weight"]
        return w @ weight.t() / math.sqrt(weight.shape[1]) + self.state[f"{name}.affine.bias"]

    def layer(self, name, x, w, up, gain=1.0):
        f = self.f if up else None
        weight = self.state[f"{name}.weight"]
        y = grouped_convolution(x, weight, self.styles(name, w), demodulate=True, f=f)
        y = y + self.state[f"{name}.noise_const"] * self.state[f"{name}.noise_strength"]
        y = y + self.state[f"{name}.bias"][:, None, None]
        self.keep_margin(y)
        y = F.leaky_relu(y, 0.2)
        return self.bounded(y * math.sqrt(2) * gain, gain)

    def to_rgb(self, name, x, w):
        weight = self.state[f"{name}.weight"]
        styles = self.styles(name, w) / math.sqrt(weight.shape[1])
        y = grouped_convolution(x, weight, styles, demodulate=False)
        return self.bounded(y + self.state[f"{name}.bias"][:, None, None])

    def __call__(self, w):
        x = self.state["b4.const"].expand(len(w), -1, -1, -1)
        x, image = self.layer("b4.conv1", x, w, up=False), None
        for resolution in self.resolutions:
            block = f"b{resolution}"
            if resolution > 4:
                residual = self.architecture == "resnet"
                gain = math.sqrt(0.5) if residual else 1.0
                side = self.shortcut(block, x) if residual else 0.0
                x = self.layer(f"{block}.conv0", x, w, up=True)
                x = self.layer(f"{block}.conv1", x, w, up=False, gain=gain) + side
            if image is not None:
                image = upsampled(image, self.f)
            if f"{block}.torgb.weight" in self.state:
                y = self.to_rgb(f"{block}.torgb", x, w)
                image = y if image is None else image + y
        return image

    def shortcut(self, block, x):
        weight = self.state[f"{block}.skip.weight"]
        y = F.conv2d(upsampled(x, self.f), weight / math.sqrt(weight.shape[1]))
        return y * math.sqrt(0.5)  # not clamped, as published


def make(architecture, clamp=None, channels=3):
    torch.manual_seed(7)
    options = {
        "channel_base": 128,
        "channel_max": 12,
        "architecture": architecture,
        "resample_filter": list(TAPS),
        "conv_clamp": clamp,
    }
    g = StyleGAN2(4, 0, 9, 16, channels, synthesis_kwargs=options).eval()
    with torch.no_grad():
        for name, parameter in g.named_parameters():
            if name.endswith(("noise_strength", "bias")):
                parameter.add_(0.3 * torch.randn_like(parameter))
    return g


def latents_off_the_kinks(g, **options):
    """[5, 9] latents at which no activation lies so near to a kink that rounding takes it over.

    On the other side of zero or of the clamp the slope is another, which is right there.
    """
    for _ in range(20):
        w, plain = torch.randn(5, 9), Plain(g, **options)
        plain(w.double())
        if plain.margin > 1e-5:
            return w
    raise AssertionError("all latents lie near a kink")


@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
@pytest.mark.parametrize("clamp", [None, 1.5])
def test_whole_network(architecture, clamp):
    g = make(architecture, clamp)
    w = latents_off_the_kinks(g, architecture=architecture, clamp=clamp)
    plain = Plain(g, architecture=architecture, clamp=clamp)
    ours_at, theirs_at = w.clone().requires_grad_(), w.double().requires_grad_()
    ours, theirs = g.synthesize(ours_at), plain(theirs_at)
    scale = float(theirs.detach().abs().max())
    assert float((ours.double() - theirs).detach().abs().max()) < 1e-5 * max(1.0, scale)
    cotangent = torch.randn_like(theirs)
    (ours_slope,) = torch.autograd.grad((ours * cotangent.float()).sum(), ours_at)
    (theirs_slope,) = torch.autograd.grad((theirs * cotangent).sum(), theirs_at)
    worst = float((ours_slope.double() - theirs_slope).abs().max())
    assert worst < 2e-5 * float(theirs_slope.abs().max())


@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize("taps", [None, TAPS, (1.0, 3.0, 3.0, 1.0), (1.0,)])
@pytest.mark.parametrize("kernel", [1, 3])
def test_modulated_convolution(demodulate, taps, kernel):
    torch.manual_seed(3)
    x, weight = torch.randn(3, 5, 6, 6), torch.randn(7, 5, kernel, kernel)
    styles = torch.randn(3, 5) * torch.tensor([[0.01], [1.0], [50.0]])
    f = None if taps is None else setup_filter(taps)
    ours = modulated_conv2d(x, weight, styles, demodulate=demodulate, up_filter=f)
    theirs = grouped_convolution(
        x.double(),
        weight.double(),
        styles.double(),
        demodulate=demodulate,
        f=None if f is None else f.double(),
    )
    scale = theirs.abs().amax(dim=[1, 2, 3], keepdim=True)
    assert ours.shape == theirs.shape
    assert float(((ours.double() - theirs) / scale).abs().max()) < 5e-6


def test_demodulated_outputs_do_not_depend_on_the_size_of_styles():
    torch.manual_seed(3)
    x, weight, styles = torch.randn(2, 5, 4, 4), torch.randn(7, 5, 3, 3), torch.randn(2, 5)
    first = modulated_conv2d(x, weight, styles)
    assert torch.allclose(first, modulated_conv2d(x, weight, 100 * styles), rtol=1e-4, atol=1e-5)


def test_half_precision_survives_large_styles():
    torch.manual_seed(3)
    x, weight = torch.randn(2, 5, 4, 4), torch.randn(7, 5, 3, 3)
    styles = 3e4 * torch.randn(2, 5)
    half = modulated_conv2d(x.half(), weight, styles)
    plain = modulated_conv2d(x, weight, styles)
    assert torch.isfinite(half).all()
    assert float((half.float() - plain).abs().max()) < 2e-2


@pytest.mark.parametrize("taps", [TAPS, (1.0, 3.0, 3.0, 1.0), (1.0, 1.0), (1.0, 2.0, 1.0), (1.0,)])
def test_upsampling_is_zeros_then_filter(taps):
    torch.manual_seed(3)
    x, f = torch.randn(2, 3, 5, 5, dtype=torch.float64), setup_filter(taps).double()
    assert torch.allclose(upsample2d(x, f), upsampled(x, f), atol=1e-12)


@pytest.mark.parametrize("taps", [(1.0, 3.0, 3.0, 1.0), (1.0, 1.0)])
def test_resampling_keeps_flat_images_flat_inside(taps):
    x, f = torch.ones(1, 1, 8, 8), setup_filter(taps)
    assert torch.allclose(upsample2d(x, f)[..., 2:-2, 2:-2], torch.ones(1, 1, 12, 12))
    assert torch.allclose(downsample2d(x, f)[..., 1:-1, 1:-1], torch.ones(1, 1, 2, 2))


def test_downsampling_is_filter_then_every_second_pixel():
    torch.manual_seed(3)
    x, f = torch.randn(2, 3, 6, 6, dtype=torch.float64), setup_filter(TAPS).double()
    wanted = convolve(x, f, 1, 1)[:, :, ::2, ::2]
    assert torch.allclose(downsample2d(x, f), wanted, atol=1e-12)
