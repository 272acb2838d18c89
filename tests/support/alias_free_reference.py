"""StyleGAN3 in float64, from the paper's equations: zeros between the pixels, plain convolutions,
one set of weights per image, filters of SciPy.

Source: Karras et al., "Alias-Free Generative Adversarial Networks", NeurIPS 2021, section 3 and
appendix C. Shares nothing with the package.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.signal
import scipy.special
import torch
import torch.nn.functional as F


@dataclass(frozen=True)
class Layer:
    """One layer's place in the network: what comes in (before) and what goes out (after)."""

    name: str
    torgb: bool
    critical: bool
    channels: tuple[int, int]
    sizes: tuple[int, int]
    rates: tuple[int, int]
    cutoffs: tuple[float, float]
    widths: tuple[float, float]


def layers(
    img_resolution, img_channels, channel_base=32768, channel_max=512, num_layers=14,
    num_critical=2, first_cutoff=2.0, first_stopband=2**2.1, last_stopband_rel=2**0.3,
    margin_size=10, **_,
):  # fmt: skip
    """The first one's channels, size, rate and cutoff are those of the Fourier features."""
    rows = []
    for i in range(num_layers + 1):
        share = min(i / (num_layers - num_critical), 1)
        last = img_resolution / 2
        cutoff = first_cutoff * (last / first_cutoff) ** share
        stop = first_stopband * (last * last_stopband_rel / first_stopband) ** share
        rate = 2 ** math.ceil(math.log2(min(2 * stop, img_resolution)))
        size = img_resolution if i >= num_layers - 1 else rate + 2 * margin_size
        channels = round(min(channel_base / 2 / cutoff, channel_max))
        channels = img_channels if i == num_layers else channels
        rows.append((channels, size, rate, cutoff, max(stop, rate / 2) - cutoff))
    found = []
    for i, row in enumerate(rows):
        name = f"L{i}_{row[1]}_{row[0]}"
        pairs = zip(rows[max(i - 1, 0)], row, strict=True)
        found.append(Layer(name, i == num_layers, i >= num_layers - num_critical, *pairs))
    return found


def lowpass(taps, cutoff, half_width, rate, radial):
    """As float32, which is how networks hold their filters."""
    if not radial:
        return scipy.signal.firwin(taps, cutoff, width=2 * half_width, fs=rate).astype(np.float32)
    x = (np.arange(taps) - (taps - 1) / 2) / rate
    r = np.sqrt(x[:, None] ** 2 + x**2)
    jinc = 2 * cutoff * scipy.special.j1(2 * np.pi * cutoff * r) / (2 * np.pi * cutoff * r)
    attenuation = scipy.signal.kaiser_atten(taps, 2 * half_width / (rate / 2))
    window = scipy.signal.get_window(
        ("kaiser", scipy.signal.kaiser_beta(attenuation)), taps, fftbins=False
    )
    kernel = jinc * 2 * cutoff**2 * np.outer(window, window)
    return (kernel / kernel.sum()).astype(np.float32)


def filters(layer, filter_size=6, lrelu_upsampling=2, use_radial_filters=False, **_):
    """(factor, filter or None) up and down."""
    if layer.torgb:
        return (1, None), (1, None)
    high = max(layer.rates) * lrelu_upsampling
    found = []
    for which in (0, 1):
        factor = high // layer.rates[which]
        radial = bool(which and use_radial_filters and not layer.critical)
        taps = (filter_size * factor, layer.cutoffs[which], layer.widths[which], high, radial)
        found.append((factor, lowpass(*taps) if factor > 1 else None))
    return found


def linear(state, name, x):
    weight = state[f"{name}.weight"]
    return x @ weight.T / math.sqrt(weight.shape[1]) + state[f"{name}.bias"]


def fourier(state, first, w):
    """Features of the plane, [M, C, H, H]; the plane is transformed by w and by the buffer."""
    size, rate, cutoff = first.sizes[0], first.rates[0], first.cutoffs[0]
    t = linear(state, "input.affine", w)
    t = t / (t[:, :1] ** 2 + t[:, 1:2] ** 2).sqrt()
    place = (torch.arange(size).double() + 0.5 - size / 2) / rate
    points = torch.stack([place.repeat(size), place.repeat_interleave(size), torch.ones(size**2)])
    features = []
    for cosine, sine, x, y in t:
        zero, one = torch.zeros(()).double(), torch.ones(()).double()
        turn = torch.stack([cosine, -sine, zero, sine, cosine, zero, zero, zero, one]).view(3, 3)
        move = torch.stack([one, zero, -x, zero, one, -y, zero, zero, one]).view(3, 3)
        matrix = turn @ move @ state["input.transform"]
        moved = (matrix @ points.double())[:2]  # [2, H * H]
        frequency = (state["input.freqs"] @ matrix[:2, :2]).norm(dim=1)
        fade = (1 - (frequency - cutoff) / (rate / 2 - cutoff)).clamp(0, 1)
        phase = state["input.freqs"] @ moved + state["input.phases"][:, None]
        features.append((torch.sin(2 * math.pi * phase) * fade[:, None]).view(-1, size, size))
    x = torch.stack(features)
    weight = state["input.weight"] / math.sqrt(x.shape[1])
    return torch.einsum("oc,mchw->mohw", weight, x)


def convolved(x, taps):
    """Valid convolution with a filter along both axes, or of two dimensions."""
    taps = torch.from_numpy(taps).double()
    kernel = taps if taps.ndim == 2 else taps.outer(taps)
    kernel = kernel.flip(0, 1).expand(x.shape[1], 1, *kernel.shape)
    return F.conv2d(x, kernel, groups=x.shape[1])


def layer_output(state, layer, x, w, options):
    conv_clamp = options.get("conv_clamp", 256)
    weight = state[f"{layer.name}.weight"]
    styles = linear(state, f"{layer.name}.affine", w)
    kernel = weight.shape[2]
    outputs = []
    for image, style in zip(x, styles, strict=True):
        if layer.torgb:
            own = weight * style[:, None, None] / math.sqrt(weight[0].numel())
        else:
            own = weight / weight.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
            own = own * style[:, None, None] / style.square().mean().sqrt()
            own = own / (own.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
        own = own / state[f"{layer.name}.magnitude_ema"].sqrt()
        outputs.append(F.conv2d(image[None], own, padding=kernel - 1)[0])
    x = torch.stack(outputs) + state[f"{layer.name}.bias"][:, None, None]
    (up, up_taps), (down, down_taps) = filters(layer, **options)
    m, c, h, _ = x.shape
    stuffed = x.new_zeros(m, c, h * up, h * up)
    stuffed[:, :, ::up, ::up] = x
    lengths = [1 if taps is None else len(taps) for taps in (up_taps, down_taps)]
    total = (layer.sizes[1] - 1) * down + 1 - h * up + sum(lengths) - 2
    low = (total + up) // 2
    x = F.pad(stuffed, [low, total - low, low, total - low])
    if up_taps is not None:
        x = convolved(x, up_taps) * up**2
    if not layer.torgb:
        x = torch.where(x > 0, x, 0.2 * x) * math.sqrt(2)
    if conv_clamp is not None:
        x = x.clamp(-conv_clamp, conv_clamp)
    if down_taps is not None:
        x = convolved(x, down_taps)
    return x[:, :, ::down, ::down]


def synthesis(state, ws, img_resolution, img_channels, output_scale=0.25, **options):
    """Images [M, C, H, H] in float64 of ws [M, num_ws, w_dim], of the synthesis network's state."""
    state = {name: tensor.double() for name, tensor in state.items()}
    ws = ws.double()
    places = layers(img_resolution, img_channels, **options)
    x = fourier(state, places[0], ws[:, 0])
    for i, layer in enumerate(places):
        x = layer_output(state, layer, x, ws[:, i + 1], options)
    return x * output_scale
