"""StyleGAN3: the published formulas in float64, its symmetries, and its files."""

from __future__ import annotations

import math
import os

import numpy as np
import pytest
import scipy.signal
import torch

import latentpath
from latentpath.core.errors import InputError, ShapeError, WeightsError
from latentpath.generators import Precision, StyleGAN3, convert_generator
from latentpath.generators.resampling import lowpass_filter, resample
from support import (
    alias_free_reference as reference,
    published_files as published,
    published_networks as networks,
    published_stylegan3 as stand_ins,
)

ODD = {
    "channel_base": 128, "channel_max": 5, "num_layers": 4, "num_critical": 1, "margin_size": 2,
    "filter_size": 4, "lrelu_upsampling": 4, "output_scale": 1.0, "conv_clamp": 0.7,
    "first_cutoff": 2.2, "last_stopband_rel": 1.4,
}  # fmt: skip
FORMS = {"T": stand_ins.CONFIG_T, "R": stand_ins.CONFIG_R, "odd": ODD}


def open_(tmp_path, network, **choices):
    path = tmp_path / "network-snapshot-000000.pkl"
    path.write_bytes(published.pickled({"G_ema": network}, **choices))
    generator = latentpath.load_generator(path)
    assert networks.SENTINEL not in os.environ
    return generator


def direct(x, taps, up, down, lead, size):
    """`resample` by its definition, one axis a matrix."""
    spread = [
        torch.tensor(
            [[float(0 <= j * d + first - i * u < k) * (j * d + first - i * u) for i in range(n)]
             for j in range(m)]
        ).long()
        for n, u, d, first, m, k in zip(x.shape[2:], up, down, lead, size, taps.shape, strict=True)
    ]  # fmt: skip
    inside = [
        torch.tensor([[0 <= j * d + first - i * u < k for i in range(n)] for j in range(m)])
        for n, u, d, first, m, k in zip(x.shape[2:], up, down, lead, size, taps.shape, strict=True)
    ]
    weights = taps[spread[0][:, :, None, None], spread[1]]  # [oh, h, ow, w]
    weights = weights * inside[0][:, :, None, None] * inside[1]
    return torch.einsum("mcyx,aybx->mcab", x, weights)


@pytest.mark.parametrize(
    ("taps", "up", "down", "lead", "size"),
    [
        ((12, 1), (2, 1), (1, 1), (9, 0), (11, 5)),
        ((5, 7), (1, 1), (2, 3), (2, 6), (3, 2)),
        ((7, 5), (3, 2), (1, 1), (1, 4), (17, 9)),
        ((1, 1), (2, 2), (1, 1), (0, -1), (13, 12)),
        ((12, 12), (1, 1), (2, 2), (11, 3), (4, 7)),
        ((3, 3), (1, 1), (1, 1), (5, 0), (1, 6)),
    ],
)
def test_resampling_and_its_derivatives(taps, up, down, lead, size):
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 6, 5, generator=rng, dtype=torch.float64).requires_grad_()
    taps = torch.randn(taps, generator=rng, dtype=torch.float64)
    y, expected = (f(x, taps, up, down, lead, size) for f in (resample, direct))
    assert torch.allclose(y, expected, atol=1e-12)
    cotangent = torch.randn(y.shape, generator=rng, dtype=torch.float64)
    first, second = (torch.autograd.grad(v, x, cotangent)[0] for v in (y, expected))
    assert torch.allclose(first, second, atol=1e-12)
    twice = torch.autograd.functional.hvp(
        lambda x: resample(x, taps, up, down, lead, size).pow(3).sum(), x, torch.ones_like(x)
    )[1]
    expected = torch.autograd.functional.hvp(
        lambda x: direct(x, taps, up, down, lead, size).pow(3).sum(), x, torch.ones_like(x)
    )[1]
    assert torch.allclose(twice, expected, atol=1e-10)
    mapped = torch.func.vmap(lambda x: resample(x[None], taps, up, down, lead, size)[0])(x)
    assert torch.allclose(mapped, y)


@pytest.mark.parametrize("radial", [False, True])
@pytest.mark.parametrize(
    ("taps", "cutoff", "half_width", "rate"), [(12, 2, 2.3, 32), (24, 7.1, 5, 64), (7, 3, 0.2, 16)]
)
def test_filters_are_those_of_scipy(radial, taps, cutoff, half_width, rate):
    if radial and taps % 2:  # the reference divides by zero in the middle of an odd filter
        ours = lowpass_filter(taps, cutoff, 2 * half_width, rate, radial)
        assert ours.isfinite().all()
        assert torch.equal(ours, ours.T)
        return
    expected = reference.lowpass(taps, cutoff, half_width, rate, radial)
    ours = lowpass_filter(taps, cutoff, 2 * half_width, rate, radial)
    assert np.abs(ours.numpy() - expected).max() <= 2**-24 * np.abs(expected).max()
    assert lowpass_filter(1, cutoff, half_width, rate, radial) is None


@pytest.mark.parametrize("form", FORMS)
def test_the_published_formulas(tmp_path, form):
    network = stand_ins.generator(img_channels=3, c_dim=2, **FORMS[form])
    network.synthesis.input.transform.copy_(torch.tensor([[0.9, 0.3, 0.1], [-0.2, 1.2, -0.3],
                                                          [0, 0, 1]]))  # fmt: skip
    generator = open_(tmp_path, network).double()
    assert generator.state_dict().keys() == network.state_dict().keys()
    rng = torch.Generator().manual_seed(1)
    ws = torch.randn(2, generator.num_ws, 5, generator=rng, dtype=torch.float64).requires_grad_()
    image = generator.synthesis(ws)
    state = network.synthesis.state_dict()
    expected = reference.synthesis(state, ws, 16, 3, **FORMS[form])
    assert image.shape == (2, 3, 16, 16)
    error = (image - expected).detach().abs().max()
    assert error <= 1e-8 * expected.detach().abs().max()
    cotangent = torch.randn(image.shape, generator=rng, dtype=torch.float64)
    ours, theirs = (torch.autograd.grad(x, ws, cotangent)[0] for x in (image, expected))
    assert float((ours - theirs).abs().max()) <= 1e-6 * float(theirs.abs().max())
    single = open_(tmp_path, network)
    with torch.no_grad():
        image = single.synthesis(ws.detach().float(), noise_mode="const")
    assert (image - expected.detach()).abs().max() <= 1e-4 * expected.detach().abs().max()


@pytest.mark.parametrize(("form", "turns"), [("R", True), ("T", False)])
def test_r_turns_with_its_input(tmp_path, form, turns):
    """A quarter turn of the plane is one of the image, to rounding: not so for -T."""
    generator = open_(tmp_path, stand_ins.generator(**FORMS[form])).double()
    w = torch.randn(2, 5, generator=torch.Generator().manual_seed(0)).double()
    image = generator.synthesize(w)
    generator.synthesis.input.affine.weight.zero_()
    generator.synthesis.input.affine.bias.copy_(torch.tensor([1.0, 0, 0, 0]))
    image = generator.synthesize(w)
    generator.synthesis.input.transform[:2, :2] = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
    turned = generator.synthesize(w)
    difference = (turned.rot90(1, (2, 3)) - image).abs().max()
    assert bool(difference <= 1e-6 * image.abs().max()) == turns
    assert not torch.allclose(turned, image, rtol=1e-3)


def test_size_of_the_published_networks():
    """FFHQ's configurations: 15.1 million parameters of -T at 1024 x 1024, with half the rest."""
    with torch.device("meta"):
        t = StyleGAN3(512, 0, 512, 1024, 3)
        r = StyleGAN3(512, 0, 512, 1024, 3, synthesis_kwargs={
            "channel_base": 65536, "channel_max": 1024, "conv_kernel": 1,
            "use_radial_filters": True})  # fmt: skip
    names = [name.split("_") for name in t.synthesis.layer_names]
    assert [int(size) for _, size, _ in names] == [
        36, 36, 52, 52, 84, 148, 148, 276, 276, 532, 1044, 1044, 1044, 1024, 1024,
    ]  # fmt: skip
    assert names[0][2] == "512"
    assert names[-1] == ["L14", "1024", "3"]
    assert t.num_ws == r.num_ws == 16
    assert {name.split("_")[2] for name in r.synthesis.layer_names[:5]} == {"1024"}


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("form", ["T", "R"])
def test_files(tmp_path, form, protocol):
    network = stand_ins.generator(c_dim=3, **FORMS[form])
    generator = open_(tmp_path, network, protocol=protocol)
    assert isinstance(generator, StyleGAN3)
    for name, tensor in generator.state_dict().items():
        assert torch.equal(tensor, network.state_dict()[name]), name
    target = tmp_path / "generator.safetensors"
    converted = convert_generator(tmp_path / "network-snapshot-000000.pkl", target)
    assert f"StyleGAN3-{form}" in "\n".join(converted.lines())
    again = latentpath.load_generator(target)
    assert again.init_kwargs == generator.init_kwargs
    torch.manual_seed(0)
    w = again.sample(2, torch.tensor([0, 2]))
    assert torch.equal(again.synthesize(w), generator.synthesize(w))


def test_attributes_win(tmp_path):
    network = stand_ins.generator()
    del network._init_kwargs["num_layers"]
    network._init_kwargs["margin_size"] = 9
    generator = open_(tmp_path, network)
    assert generator.init_kwargs["synthesis_kwargs"]["num_layers"] == 5
    assert generator.init_kwargs["synthesis_kwargs"]["margin_size"] == 3


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"nonsense": 1}, "nonsense"),
        ({"architecture": "skip"}, "StyleGAN3 does not have"),
        ({"filter_size": 1 << 19}, "taps"),
        ({"channel_max": 0}, "channel_max"),
        ({"first_stopband": 1e-20}, "stopbands"),
        ({"first_cutoff": -1}, "first_cutoff"),
        ({"use_radial_filters": 1}, "use_radial_filters"),
        ({"channel_max": 3}, "instead of"),
        ({"img_resolution": 32}, "img_resolution"),
        ({"mapping_kwargs": {"num_layers": "x"}}, "2"),
    ],
)
def test_impossible_arguments(tmp_path, change, words):
    network = stand_ins.generator()
    network._init_kwargs.update(change)
    if "mapping_kwargs" in change:
        assert open_(tmp_path, network).mapping.num_layers == 2
        return
    with pytest.raises(WeightsError, match=words) as error:
        open_(tmp_path, network)
    assert "\n" not in str(error.value)


def test_impossible_options():
    sizes = (8, 0, 8, 16, 1)
    for options in ({"num_layers": 2}, {"num_layers": 300}, {"nonsense": 1}, {"conv_kernel": 0}):
        with pytest.raises(InputError):
            StyleGAN3(*sizes, synthesis_kwargs=options)
    with pytest.raises(InputError, match="power of two"):
        StyleGAN3(8, 0, 8, 24, 1)
    generator = StyleGAN3(*sizes, synthesis_kwargs=stand_ins.CONFIG_T)
    with pytest.raises(ShapeError, match="ws"):
        generator.synthesis(torch.zeros(2, 3, 8))
    with pytest.raises(ShapeError):
        generator.synthesize(torch.zeros(2, 9))


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision_is_near(tmp_path, precision):
    generator = open_(tmp_path, stand_ins.generator())
    w = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))
    full = generator.synthesize(w)
    with Precision(precision).on("cpu"):
        half = generator.synthesize(w)
    assert half.dtype == torch.float32
    assert 0 < float((half - full).norm() / full.norm()) < 0.05


def test_begins_as_published():
    """Before training, w changes nothing of the input, and the mean square of a layer is one."""
    torch.manual_seed(0)
    generator = StyleGAN3(8, 0, 8, 16, 1, synthesis_kwargs=stand_ins.CONFIG_T)
    first, second = generator.synthesis.input(torch.randn(2, 8))
    assert torch.equal(first, second)
    radii = generator.synthesis.input.freqs.norm(dim=1)
    assert float(radii.max()) <= 2.0 + 1e-6
    assert math.isclose(scipy.signal.kaiser_beta(60), 0.1102 * (60 - 8.7))
