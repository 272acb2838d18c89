"""Networks of a smaller resolution that go on at a larger one.

Progressive growing (Karras et al., ICLR 2018) without fading in: new blocks start so that both
networks compute what they computed before (Chen et al., "Net2Net", ICLR 2016). The generator's
images are its old ones, upsampled by its own filter; the discriminator's logits are its old ones
of the downsampled images. From there all weights are trained.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor

from latentpath.generators import StyleGAN2
from latentpath.training.discriminator import Discriminator, DiscriminatorBlock

State = Mapping[str, Tensor]
"""Tensors of a network by name."""

_LRELU_GAIN, _SLOPE = math.sqrt(2.0), 0.2


def grow_generator(generator: StyleGAN2, old: State) -> None:
    """Give `generator` the weights of one of its own or a smaller resolution.

    Args:
        generator: of the skip architecture, where it is the larger one: each block adds to the
            upsampled image of the blocks before. Blocks that `old` lacks keep their first
            weights, but for a zero toRGB: at first they add nothing.
        old: every tensor of the smaller generator, which has the same layers up to its resolution.
    """
    own = generator.state_dict()
    new = [
        r for r in generator.synthesis.block_resolutions if f"synthesis.b{r}.conv1.bias" not in old
    ]
    for resolution in new:
        for name in ("weight", "bias"):
            torgb = f"synthesis.b{resolution}.torgb.{name}"
            own[torgb] = torch.zeros_like(own[torgb])
    generator.load_state_dict({**own, **old})


def grow_discriminator(discriminator: Discriminator, old: State) -> None:
    """Give `discriminator` the weights of one of its own or a smaller resolution.

    Args:
        discriminator: its blocks begin with the largest resolution.
        old: every tensor of the smaller one, which has the same layers up to its resolution. Its
            fromRGB becomes part of the last new block. Where a new block has fewer than two
            channels for each of the image's, there is no room for that: all new blocks and fromRGB
            keep their first weights.
    """
    new = len(discriminator.blocks) - _count_blocks(old)
    state = discriminator.state_dict()
    for name, tensor in old.items():
        part, _, rest = name.partition(".")
        if part == "blocks":
            number, _, rest = rest.partition(".")
            name = f"blocks.{int(number) + new}.{rest}"
        if part != "fromrgb" or new == 0:
            state[name] = tensor
    if new:
        _carry_the_image(discriminator, state, old, new)
    discriminator.load_state_dict(state)


def _count_blocks(old: State) -> int:
    return len({name.split(".")[1] for name in old if name.startswith("blocks.")})


def _carry_the_image(
    discriminator: Discriminator, state: dict[str, Tensor], old: State, new: int
) -> None:
    """Set up fromRGB and the first `new` blocks so that they end in the old fromRGB's features.

    An activation keeps positive numbers and shrinks negative ones, so that a value x crosses it
    as the pair f(x), f(-x), whose difference is (1 + slope) x. The first two channels for each of
    the image's are such pairs; the others have their first weights, and no say yet.
    """
    weight, bias = old["fromrgb.weight"], old["fromrgb.bias"]
    channels = weight.shape[1]
    pairs = 2 * channels
    blocks = [cast(DiscriminatorBlock, block) for block in discriminator.blocks[:new]]
    if min(len(block.conv0.weight) for block in blocks) < pairs:
        return
    signs = torch.cat([torch.eye(channels), -torch.eye(channels)]).to(weight)  # [2C, C]
    from_pairs = signs.t() / (_LRELU_GAIN * (1 + _SLOPE))  # [C, 2C], x out of f(x), f(-x)
    rgb = state["fromrgb.weight"]
    rgb[:pairs, :, 0, 0] = signs / discriminator.fromrgb.weight_gain
    for number, block in enumerate(blocks):
        last = number == new - 1
        conv0, conv1 = (
            state[f"blocks.{number}.conv0.weight"],
            state[f"blocks.{number}.conv1.weight"],
        )
        conv0[:pairs] = 0
        conv0[:pairs, :pairs, 1, 1] = signs @ from_pairs / block.conv0.weight_gain
        # Of the last new block all outputs are the old fromRGB's, of the others the pairs alone.
        out = weight[:, :, 0, 0] / math.sqrt(channels) if last else signs
        rows = len(out)
        conv1[:rows] = 0
        # The block weighs its two ways by the root of a half.
        conv1[:rows, :pairs, 1, 1] = math.sqrt(2.0) * out @ from_pairs / block.conv1.weight_gain
        state[f"blocks.{number}.skip.weight"][:rows] = 0
        if last:
            state[f"blocks.{number}.conv1.bias"][:] = math.sqrt(2.0) * bias
