"""The autoencoder of latent diffusion models, `AutoencoderKL`: its two halves as modules of ours.

Names of parameters and arithmetic are those of diffusers' class of that name, so that its weights
load by name and diffusers is not needed. Latents are kept as diffusion models keep them, scaled to
about unit variance, in one axis: [M, D] with D the product of the latent shape.

Source: Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models", CVPR 2022,
appendix G.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentpath.core import (
    InputError,
    ShapeError,
    check_finite,
    check_whole,
    check_within,
    colour_of,
)
from latentpath.generators.protocol import check_rows

_MOST_BLOCKS, _MOST_LAYERS, _WIDEST, _LARGEST_SIDE = 8, 16, 1 << 14, 1 << 14
_EPSILON = 1e-6  # of every normalisation


class _Residual(nn.Module):
    """Two normalised 3x3 convolutions beside the input."""

    def __init__(self, inputs: int, outputs: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, inputs, eps=_EPSILON)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, outputs, eps=_EPSILON)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        if inputs != outputs:
            self.conv_shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:  # [M, I, H, W] -> [M, O, H, W]
        y = self.conv1(F.silu(self.norm1(x)))
        y = self.conv2(F.silu(self.norm2(y)))
        return y + (self.conv_shortcut(x) if hasattr(self, "conv_shortcut") else x)


class _Attention(nn.Module):
    """Every pixel looks at every other, with one head."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.group_norm = nn.GroupNorm(groups, width, eps=_EPSILON)
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x: Tensor) -> Tensor:  # [M, C, H, W]
        pixels = self.group_norm(x).flatten(2).transpose(1, 2)  # [M, H * W, C]
        seen = F.scaled_dot_product_attention(
            self.to_q(pixels), self.to_k(pixels), self.to_v(pixels)
        )
        return x + self.to_out[0](seen).transpose(1, 2).reshape(x.shape)


class _Middle(nn.Module):
    def __init__(self, width: int, groups: int, attention: bool) -> None:
        super().__init__()
        self.attentions = nn.ModuleList([_Attention(width, groups)] if attention else [])
        self.resnets = nn.ModuleList([_Residual(width, width, groups) for _ in range(2)])

    def forward(self, x: Tensor) -> Tensor:
        x = self.resnets[0](x)
        for attention in self.attentions:
            x = attention(x)
        return self.resnets[1](x)


class _Resampler(nn.Module):
    """A 3x3 convolution after doubling the size, or one that halves it."""

    def __init__(self, width: int, up: bool) -> None:
        super().__init__()
        self.up = up
        self.conv = nn.Conv2d(width, width, 3, stride=1 if up else 2, padding=1 if up else 0)

    def forward(self, x: Tensor) -> Tensor:
        if self.up:
            return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return self.conv(F.pad(x, [0, 1, 0, 1]))


class _Block(nn.Module):
    """Residual layers of one resolution, and the way to the next."""

    def __init__(
        self, inputs: int, outputs: int, layers: int, groups: int, up: bool, last: bool
    ) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(
            [_Residual(inputs if i == 0 else outputs, outputs, groups) for i in range(layers)]
        )
        self.following = "upsamplers" if up else "downsamplers"
        if not last:
            setattr(self, self.following, nn.ModuleList([_Resampler(outputs, up)]))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.resnets:
            x = layer(x)
        for resampler in getattr(self, self.following, ()):
            x = resampler(x)
        return x


class _Half(nn.Module):
    """One half of an autoencoder: what both have in common."""

    def __init__(
        self, inputs: int, outputs: int, widths: Sequence[int], layers: int, groups: int,
        attention: bool, up: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.up, self.blocks_name = up, "up_blocks" if up else "down_blocks"
        self.conv_in = nn.Conv2d(inputs, widths[0], 3, padding=1)
        middle = widths[0] if up else widths[-1]
        self.mid_block = _Middle(middle, groups, attention)
        blocks = [
            _Block(widths[max(i - 1, 0)], width, layers, groups, up, i == len(widths) - 1)
            for i, width in enumerate(widths)
        ]
        setattr(self, self.blocks_name, nn.ModuleList(blocks))
        self.conv_norm_out = nn.GroupNorm(groups, widths[-1], eps=_EPSILON)
        self.conv_out = nn.Conv2d(widths[-1], outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        if self.up:
            x = self.mid_block(x)
        for block in getattr(self, self.blocks_name):
            x = block(x)
        if not self.up:
            x = self.mid_block(x)
        return self.conv_out(F.silu(self.conv_norm_out(x)))


def latent_scaling(config: Mapping[str, Any]) -> dict[str, np.ndarray]:  # [C, 1, 1] each
    """Mean and spread of the autoencoder's own latents for a configuration of `AutoencoderHalf`.

    In NumPy: on the meta device arithmetic would load all of torch.compile.
    """
    channels = config["latent_channels"]
    mean = np.asarray(config["latents_mean"] or [0.0] * channels) + config["shift_factor"]
    spread = np.asarray(config["latents_std"] or [1.0] * channels) / config["scaling_factor"]
    parts = {"mean": mean, "spread": spread}
    return {name: part.astype(np.float32)[:, None, None] for name, part in parts.items()}


class AutoencoderHalf(nn.Module):
    """What both halves know: sizes, and how latents are scaled.

    Args:
        channels: of the images, 1 grey, 3 colour.
        latent_channels: of the latents.
        block_out_channels: widths of the resolutions, the largest resolution first.
        layers_per_block: residual layers of each; the decoder has one more.
        norm_num_groups: groups of every normalisation.
        sample_size: side of the images, pixels.
        scaling_factor: latents are the autoencoder's own, less the shift, times this.
        shift_factor: see above.
        latents_mean, latents_std: mean and standard deviation of every channel of its own latents,
            where they are scaled by these besides; empty for none.
        mid_block_add_attention: whether pixels look at each other in the middle.
        use_post_quant_conv: whether a 1x1 convolution lies between latents and network.

    Raises:
        InputError: sizes that fit no network, or each other.
    """

    def __init__(
        self,
        channels: int = 3,
        latent_channels: int = 4,
        block_out_channels: Sequence[int] = (64,),
        layers_per_block: int = 1,
        norm_num_groups: int = 32,
        sample_size: int = 32,
        scaling_factor: float = 0.18215,
        shift_factor: float = 0.0,
        latents_mean: Sequence[float] = (),
        latents_std: Sequence[float] = (),
        mid_block_add_attention: bool = True,
        use_post_quant_conv: bool = True,
    ) -> None:
        super().__init__()
        widths = list(block_out_channels)
        self.init_kwargs: dict[str, Any] = {
            "channels": channels,
            "latent_channels": latent_channels,
            "block_out_channels": widths,
            "layers_per_block": layers_per_block,
            "norm_num_groups": norm_num_groups,
            "sample_size": sample_size,
            "scaling_factor": scaling_factor,
            "shift_factor": shift_factor,
            "latents_mean": list(latents_mean),
            "latents_std": list(latents_std),
            "mid_block_add_attention": mid_block_add_attention,
            "use_post_quant_conv": use_post_quant_conv,
        }
        self.config = self.init_kwargs
        check_whole(1, norm_num_groups=norm_num_groups)
        check_within(1, _WIDEST, latent_channels=latent_channels)
        check_within(1, _MOST_LAYERS, layers_per_block=layers_per_block)
        check_within(1, _MOST_BLOCKS, **{"resolutions of block_out_channels": len(widths)})
        check_within(1, _LARGEST_SIDE, sample_size=sample_size)
        for width in widths:
            check_within(1, _WIDEST, block_out_channels=width)
        check_finite(scaling_factor=scaling_factor, shift_factor=shift_factor)
        self.reduction = 1 << (len(widths) - 1)
        wrong = [width for width in widths if width % norm_num_groups]
        stated = {len(latents_mean), len(latents_std)} <= {0, latent_channels}
        if wrong or sample_size % self.reduction or scaling_factor == 0 or not stated:
            raise InputError(
                expected=f"widths that norm_num_groups={norm_num_groups} divides, a sample_size "
                f"that {self.reduction} divides, a scaling_factor that is not 0, and a mean and "
                "standard deviation for every channel of the latents or none",
                got=f"{widths}, {sample_size}, {scaling_factor}, {len(latents_mean)} and "
                f"{len(latents_std)}",
                fix="give the configuration that the weights were trained with",
            )
        if channels not in (1, 3):
            raise InputError(
                expected="images of 1 or 3 channels",
                got=str(channels),
                fix="choose an autoencoder of grey or colour images",
            )
        self.img_channels, self.img_resolution = channels, sample_size
        side = sample_size // self.reduction
        self.latent_shape = (latent_channels, side, side)
        self.latent_dim = math.prod(self.latent_shape)
        # Among the weights, so that networks that differ in them alone are told apart.
        for name, values in latent_scaling(self.init_kwargs).items():
            self.register_buffer(name, torch.as_tensor(values))

    mean: Tensor  # [C, 1, 1] of the autoencoder's own latents
    spread: Tensor  # [C, 1, 1]

    def described(self) -> list[str]:
        """What it is, for a terminal."""
        g, parameters = self, sum(p.numel() for p in self.parameters())
        widths = ", ".join(map(str, self.init_kwargs["block_out_channels"]))
        return [
            f"images: {g.img_resolution}x{g.img_resolution} pixels, {colour_of(g.img_channels)}",
            f"latents: {g.latent_dim}, of the shape {'x'.join(map(str, g.latent_shape))}, "
            f"scaling factor {self.init_kwargs['scaling_factor']:g}",
            f"network: {parameters:,} parameters, channels {widths} from {g.img_resolution}x"
            f"{g.img_resolution} down",
        ]


class AutoencoderGenerator(AutoencoderHalf):
    """The decoder, as a `Generator`; arguments as of `AutoencoderHalf`.

    >>> import torch
    >>> g = AutoencoderGenerator(1, 2, (8, 8), norm_num_groups=4, sample_size=16)
    >>> g.synthesize(torch.zeros(3, g.latent_dim)).shape, g.latent_shape
    (torch.Size([3, 1, 16, 16]), (2, 8, 8))
    """

    kind: ClassVar[str] = "autoencoder"
    c_dim: ClassVar[int] = 0  # it knows no classes

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        own = self.init_kwargs
        self.decoder = _Half(
            own["latent_channels"], self.img_channels, own["block_out_channels"][::-1],
            own["layers_per_block"] + 1, own["norm_num_groups"], own["mid_block_add_attention"],
            up=True,
        )  # fmt: skip
        if own["use_post_quant_conv"]:
            self.post_quant_conv = nn.Conv2d(own["latent_channels"], own["latent_channels"], 1)

    def synthesize(self, w: Tensor) -> Tensor:  # [M, D] -> [M, C, H, H]
        """Images of latents."""
        check_rows(w, self.latent_dim, "latents")
        z = w.view(-1, *self.latent_shape) * self.spread + self.mean
        if hasattr(self, "post_quant_conv"):
            z = self.post_quant_conv(z)
        return self.decoder(z)

    @torch.no_grad()
    def sample(self, n: int, labels: Tensor | None = None) -> Tensor:  # -> [n, D]
        """White noise of unit variance, which diffusion models start from.

        An autoencoder has no prior that its images come from, and no classes: of such latents it
        makes textures.
        """
        return torch.randn(n, self.latent_dim, device=self.mean.device)


class AutoencoderEncoder(AutoencoderHalf):
    """The encoder: images [M, C, H, H] in [-1, 1] to the mean of their latents, [M, D].

    Arguments as of `AutoencoderHalf`.
    """

    kind: ClassVar[str] = "autoencoder encoder"
    centre: Tensor  # [D]
    scale: Tensor  # [D]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # About how latents lie: what scaling is for.
        self.register_buffer("centre", torch.zeros(self.latent_dim), persistent=False)
        self.register_buffer("scale", torch.ones(self.latent_dim), persistent=False)
        own = self.init_kwargs
        self.encoder = _Half(
            self.img_channels, 2 * own["latent_channels"], own["block_out_channels"],
            own["layers_per_block"], own["norm_num_groups"], own["mid_block_add_attention"],
            up=False,
        )  # fmt: skip
        if own["use_post_quant_conv"]:
            self.quant_conv = nn.Conv2d(2 * own["latent_channels"], 2 * own["latent_channels"], 1)

    def forward(self, images: Tensor) -> Tensor:
        side = self.img_resolution
        if images.shape[1:] != (self.img_channels, side, side):
            raise ShapeError(
                expected=f"images [M, {self.img_channels}, {side}, {side}]",
                got=str(list(images.shape)),
                fix="resize them to the autoencoder's resolution",
            )
        z = self.encoder(images)
        if hasattr(self, "quant_conv"):
            z = self.quant_conv(z)
        mean, _ = z.chunk(2, dim=1)  # the other half is its logarithmic variance
        return ((mean - self.mean) / self.spread).flatten(1)
