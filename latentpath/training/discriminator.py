"""The discriminator that trains the generator; it is never shipped or used afterwards."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from latentpath.generators import Conv2dLayer, FullyConnectedLayer, normalize_2nd_moment


class DiscriminatorBlock(nn.Module):
    """Residual block that halves the resolution."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv0 = Conv2dLayer(in_channels, in_channels, 3, activation="lrelu")
        self.conv1 = Conv2dLayer(in_channels, out_channels, 3, activation="lrelu", down=2)
        self.skip = Conv2dLayer(in_channels, out_channels, 1, bias=False, down=2)

    def forward(self, x: Tensor) -> Tensor:  # [M, I, H, W] -> [M, O, H/2, W/2]
        gain = math.sqrt(0.5)
        return self.conv1(self.conv0(x), gain=gain) + self.skip(x, gain=gain)


def minibatch_std(x: Tensor, group: int = 4) -> Tensor:
    """Append to x [M, C, H, W] one channel: the standard deviation over groups of `group` samples.

    Source: Karras et al., "Progressive Growing of GANs", ICLR 2018, section 3. The last
    samples of a batch that `group` does not divide form groups of what is left.
    """
    m, _, height, width = x.shape
    size = math.gcd(m, group)
    deviation = x.reshape(size, m // size, -1).var(dim=0, unbiased=False).add(1e-8).sqrt()
    channel = deviation.mean(dim=1).repeat(size)
    return torch.cat([x, channel.reshape(m, 1, 1, 1).expand(-1, 1, height, width)], dim=1)


class Discriminator(nn.Module):
    """Images [M, C, H, W] (and labels c [M, c_dim]) to realness logits [M].

    The residual discriminator of StyleGAN2; with labels, the logit is the projection of the
    image's features on the label's embedding (Miyato & Koyama, ICLR 2018).
    """

    def __init__(
        self,
        c_dim: int,
        img_resolution: int,
        img_channels: int,
        channel_base: int = 1024,
        channel_max: int = 64,
    ) -> None:
        super().__init__()
        self.c_dim = c_dim
        log2 = img_resolution.bit_length() - 1
        width = {2**i: min(channel_base // 2**i, channel_max) for i in range(2, log2 + 1)}
        self.fromrgb = Conv2dLayer(img_channels, width[img_resolution], 1, activation="lrelu")
        resolutions = [2**i for i in range(log2, 2, -1)]
        self.blocks = nn.ModuleList(
            DiscriminatorBlock(width[r], width[r // 2]) for r in resolutions
        )
        self.conv = Conv2dLayer(width[4] + 1, width[4], 3, activation="lrelu")
        self.fc = FullyConnectedLayer(width[4] * 16, width[4], activation="lrelu")
        self.out = FullyConnectedLayer(width[4], width[4] if c_dim else 1)
        if c_dim:
            self.embed = FullyConnectedLayer(c_dim, width[4])

    def forward(self, images: Tensor, c: Tensor | None = None) -> Tensor:  # -> [M]
        x = self.fromrgb(images)
        for block in self.blocks:
            x = block(x)
        x = self.out(self.fc(self.conv(minibatch_std(x)).flatten(1)))
        if self.c_dim:
            assert c is not None
            label = normalize_2nd_moment(self.embed(c))
            return (x * label).sum(dim=1) / math.sqrt(x.shape[1])
        return x.squeeze(1)
