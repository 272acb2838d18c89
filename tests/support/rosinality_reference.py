"""A generator in rosinality's form: its state dict, and its images in float64 by its formulas.

Weights are modulated for every image, filters are applied to pixels with zeros between them. Shares
nothing with the package.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

TAPS = torch.tensor([1.0, 3.0, 3.0, 1.0])
KERNEL = TAPS.outer(TAPS) / 64


def state_dict(size=16, width=6, layers=2, channels=(8, 8, 4), colours=3, seed=0):
    """Random weights, noise, biases and filters under rosinality's names."""
    draw = torch.Generator().manual_seed(seed)
    state = {}

    def add(name, *shape, scale=1.0, shift=0.0):
        state[name] = torch.randn(*shape, generator=draw) * scale + shift

    def modulated(name, inputs, outputs, kernel):
        add(f"{name}.conv.weight", 1, outputs, inputs, kernel, kernel)
        add(f"{name}.conv.modulation.weight", inputs, width)
        add(f"{name}.conv.modulation.bias", inputs, scale=0.3, shift=1.0)

    def styled(name, inputs, outputs, noise, side):
        modulated(name, inputs, outputs, 3)
        add(f"{name}.noise.weight", 1)
        add(f"{name}.activate.bias", outputs, scale=0.3)
        add(f"noises.noise_{noise}", 1, 1, side, side)

    def to_rgb(name, inputs):
        modulated(name, inputs, colours, 1)
        add(f"{name}.bias", 1, colours, 1, 1, scale=0.3)

    for i in range(layers):
        add(f"style.{i + 1}.weight", width, width, scale=100.0)
        add(f"style.{i + 1}.bias", width, scale=30.0)
    add("input.input", 1, channels[0], 4, 4)
    styled("conv1", channels[0], channels[0], 0, 4)
    to_rgb("to_rgb1", channels[0])
    for i in range(int(math.log2(size)) - 2):
        side = 8 << i
        styled(f"convs.{2 * i}", channels[i], channels[i + 1], 2 * i + 1, side)
        state[f"convs.{2 * i}.conv.blur.kernel"] = KERNEL * 4
        styled(f"convs.{2 * i + 1}", channels[i + 1], channels[i + 1], 2 * i + 2, side)
        to_rgb(f"to_rgbs.{i}", channels[i + 1])
        state[f"to_rgbs.{i}.upsample.kernel"] = KERNEL * 4
    return state


def linear(state, name, x, multiplier=1.0):
    weight = state[f"{name}.weight"] * multiplier / math.sqrt(x.shape[1])
    return x @ weight.T + state[f"{name}.bias"] * multiplier


def activated(x):
    return F.leaky_relu(x, 0.2) * math.sqrt(2)


def filtered(x, pads):
    """x [1, C, H, W] padded before and after, and convolved with the filter times 4."""
    x = F.pad(x, [*pads, *pads])
    kernel = (KERNEL.double() * 4).flip(0, 1).expand(x.shape[1], 1, 4, 4)
    return F.conv2d(x, kernel, groups=x.shape[1])


def convolved(state, name, x, w, demodulate=True, up=False):
    """One image [1, C, H, W] with weights of its own."""
    weight = state[f"{name}.conv.weight"][0]
    weight = weight / math.sqrt(weight[0].numel())
    weight = weight * linear(state, f"{name}.conv.modulation", w[None])[0][:, None, None]
    if demodulate:
        weight = weight / (weight.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
    if not up:
        return F.conv2d(x, weight, padding=weight.shape[-1] // 2)
    return filtered(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), (1, 1))


def mapped(state, z):
    """w [M, width] of z."""
    state, x = {name: value.double() for name, value in state.items()}, z.double()
    x = x / (x.square().mean(dim=1, keepdim=True) + 1e-8).sqrt()
    for i in range(sum(name.startswith("style.") for name in state) // 2):
        x = activated(linear(state, f"style.{i + 1}", x, 0.01))
    return x


def images(state, ws):
    """Images [M, colours, size, size] of ws [M, layers, width], with the constant noise."""
    state = {name: value.double() for name, value in state.items()}

    def styled(name, x, w, noise, up=False):
        x = convolved(state, name, x, w, up=up)
        x = x + state[f"{name}.noise.weight"] * state[f"noises.noise_{noise}"]
        return activated(x + state[f"{name}.activate.bias"][:, None, None])

    def to_rgb(name, x, w):
        return convolved(state, name, x, w, demodulate=False) + state[f"{name}.bias"]

    made = []
    for w in ws.double():
        x = styled("conv1", state["input.input"], w[0], 0)
        picture = to_rgb("to_rgb1", x, w[1])
        for i in range(sum(name.startswith("to_rgbs.") and name.endswith(".bias")
                           and "modulation" not in name for name in state)):  # fmt: skip
            x = styled(f"convs.{2 * i}", x, w[2 * i + 1], 2 * i + 1, up=True)
            x = styled(f"convs.{2 * i + 1}", x, w[2 * i + 2], 2 * i + 2)
            stuffed = picture.new_zeros(1, picture.shape[1], *(2 * n for n in picture.shape[2:]))
            stuffed[:, :, ::2, ::2] = picture
            picture = to_rgb(f"to_rgbs.{i}", x, w[2 * i + 3]) + filtered(stuffed, (2, 1))
        made.append(picture)
    return torch.cat(made)
