"""The encoders of pSp and of its descendants, which look at an image and answer with latents of w.

All have a residual trunk and heads on its features: one head for each layer's latent, or one for a
single latent. ReStyle looks again, at the image beside what the generator made of its last answer.
Names of parameters are the published ones, so that their weights load by name.

Source: Richardson et al., "Encoding in Style: a StyleGAN Encoder for Image-to-Image Translation",
CVPR 2021; Alaluf et al., "ReStyle: A Residual-Based StyleGAN Encoder via Iterative Refinement",
ICCV 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentpath.core import InputError, ShapeError, check_one_of, check_within
from latentpath.generators.layers import FullyConnectedLayer
from latentpath.generators.stylegan import StyleGAN2
from latentpath.generators.weights import sketch

TRUNKS = ("irse", "ir", "resnet")
HEADS = ("pyramid", "styles", "w", "w+")
_STAGES, _MOST, _WIDEST = 4, 64, 1 << 13
_COARSE, _MIDDLE = 3, 7  # styles of the pyramid that see its smallest and its middle features
_POOLED = 7  # side of the features that the head "w+" sees


class _SqueezeExcite(nn.Module):
    """Channels weighted by what is in all of the picture."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(width, inner, 1, bias=False)
        self.fc2 = nn.Conv2d(inner, width, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        pooled = F.relu(self.fc1(x.mean(dim=(2, 3), keepdim=True)))
        return x * torch.sigmoid(self.fc2(pooled))


class _FaceBlock(nn.Module):
    """A residual block of ArcFace's network."""

    def __init__(self, inputs: int, width: int, stride: int, squeeze: int) -> None:
        super().__init__()
        if inputs != width:
            self.shortcut_layer = nn.Sequential(
                nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )
        else:
            self.shortcut_layer = nn.MaxPool2d(1, stride)  # type: ignore[assignment]
        layers = [
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, width, 3, 1, 1, bias=False),
            nn.PReLU(width),
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
        ]
        if squeeze:
            layers.append(_SqueezeExcite(width, max(width // squeeze, 1)))
        self.res_layer = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.res_layer(x) + self.shortcut_layer(x)


class _PlainBlock(nn.Module):
    """A residual block of ResNet-34."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        if stride != 1 or inputs != width:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (self.downsample(x) if hasattr(self, "downsample") else x))


class _StyleHead(nn.Module):
    """Features of 2^n pixels a side to one latent, by n convolutions that halve them."""

    def __init__(self, inputs: int, width: int, halvings: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i in range(halvings):
            layers += [nn.Conv2d(inputs if i == 0 else width, width, 3, 2, 1), nn.LeakyReLU()]
        self.convs = nn.Sequential(*layers)
        self.linear = FullyConnectedLayer(width, width)

    def forward(self, x: Tensor) -> Tensor:  # [M, C, S, S] -> [M, width]
        return self.linear(self.convs(x).flatten(1))


class _Network(nn.Module):
    """Trunk and heads: images [M, C, S, S] to [M, styles, width]."""

    def __init__(
        self, trunk: str, head: str, channels: int, widths: Sequence[int], blocks: Sequence[int],
        squeeze: int, styles: int, width: int, halvings: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.trunk, self.head, self.blocks, self.style_count = trunk, head, list(blocks), styles
        first, last = widths[0], widths[-1]
        if trunk == "resnet":
            self.conv1 = nn.Conv2d(channels, first, 7, 2, 3, bias=False)
            self.bn1, self.relu = nn.BatchNorm2d(first), nn.PReLU(first)
        else:
            self.input_layer = nn.Sequential(
                nn.Conv2d(channels, first, 3, 1, 1, bias=False),
                nn.BatchNorm2d(first),
                nn.PReLU(first),
            )
        body: list[nn.Module] = []
        for stage, (size, count) in enumerate(zip(widths, blocks, strict=True)):
            for i in range(count):
                inputs = widths[max(stage - 1, 0)] if i == 0 else size
                stride = 2 if i == 0 else 1
                if trunk == "resnet":
                    body.append(_PlainBlock(inputs, size, 1 if stage == 0 else stride))
                else:
                    body.append(_FaceBlock(inputs, size, stride, squeeze))
        self.body = nn.Sequential(*body)
        if head in ("pyramid", "styles"):
            deeper = [halvings + self._level(j) for j in range(styles)]
            self.styles = nn.ModuleList(_StyleHead(last, width, n) for n in deeper)
        if head == "pyramid":
            self.latlayer1 = nn.Conv2d(widths[-2], last, 1)
            self.latlayer2 = nn.Conv2d(widths[-3], last, 1)
        if head == "w":
            self.linear = FullyConnectedLayer(last, width)
        if head == "w+":
            self.output_layer_2 = nn.Sequential(
                nn.BatchNorm2d(last),
                nn.AdaptiveAvgPool2d((_POOLED, _POOLED)),
                nn.Flatten(),
                nn.Linear(last * _POOLED**2, width),
            )
            self.linear = FullyConnectedLayer(width, width * styles)

    def _level(self, style: int) -> int:
        """How many doublings of the last features a style of the pyramid sees."""
        if self.head != "pyramid" or style < _COARSE:
            return 0
        return 1 if style < _MIDDLE else 2

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x))) if self.trunk == "resnet" else self.input_layer(x)
        ends, stages, done = [sum(self.blocks[: i + 1]) for i in range(_STAGES)], [], 0
        for end in ends:
            for i in range(done, end):
                x = self.body[i](x)
            stages.append(x)
            done = end
        if self.head == "w":
            return self.linear(x.mean(dim=(2, 3)))[:, None]
        if self.head == "w+":
            return self.linear(self.output_layer_2(x)).view(len(x), self.style_count, -1)
        levels = [x]
        if self.head == "pyramid":
            levels.append(_added(x, self.latlayer1(stages[-2])))
            levels.append(_added(levels[-1], self.latlayer2(stages[-3])))
        return torch.stack(
            [style(levels[self._level(j)]) for j, style in enumerate(self.styles)], dim=1
        )


def _added(coarse: Tensor, fine: Tensor) -> Tensor:
    size = list(fine.shape[2:])
    return F.interpolate(coarse, size=size, mode="bilinear", align_corners=True) + fine


class PspEncoder(nn.Module):
    """Images [M, C, H, W] in [-1, 1] to latents [M, D] of the generator that it was trained with.

    D is the width of w where one latent serves all layers, else their number times it: a generator
    with `latents="w+"` takes them.

    Args:
        trunk: "irse" or "ir", ArcFace's network with and without squeeze and excitation, or
            "resnet".
        head: "pyramid" (one latent a layer, from features of three sizes), "styles" (one a layer,
            from the last features), "w" (one latent) or "w+" (one a layer, from one vector).
        generator: keyword arguments of the `StyleGAN2` that it answers to.
        passes: how often it looks; more than once, it sees six channels: the image and what the
            generator made of its last answer.
        widths: channels of the trunk's four stages.
        blocks: residual blocks of the four stages.
        squeeze: by what the channels inside squeeze and excitation are divided.
        styles: latents that it answers with.
        halvings: convolutions of the first head.
        progressive: whether the heads after the first say what their latents add to its own, as in
            e4e (Tov et al., "Designing an Encoder for StyleGAN Image Manipulation", 2021).

    Raises:
        InputError: sizes that fit no network, or each other.
    """

    kind: ClassVar[str] = "psp encoder"
    scale: Tensor  # [D]
    latent_avg: Tensor  # [styles, width]

    def __init__(
        self,
        trunk: str,
        head: str,
        generator: dict[str, Any],
        passes: int = 1,
        widths: Sequence[int] = (64, 128, 256, 512),
        blocks: Sequence[int] = (3, 4, 14, 3),
        squeeze: int = 16,
        styles: int = 18,
        halvings: int = 4,
        progressive: bool = False,
    ) -> None:
        super().__init__()
        check_one_of(TRUNKS, trunk=trunk)
        check_one_of(HEADS, head=head)
        check_within(1, _MOST, passes=passes, styles=styles, squeeze=squeeze)
        check_within(1, 10, halvings=halvings)
        for sizes, most in ((widths, _WIDEST), (blocks, _MOST)):
            check_within(_STAGES, _STAGES, stages=len(sizes))
            for size in sizes:
                check_within(1, most, size=size)
        self.init_kwargs: dict[str, Any] = {
            "trunk": trunk, "head": head, "generator": generator, "passes": passes,
            "widths": list(widths), "blocks": list(blocks), "squeeze": squeeze, "styles": styles,
            "halvings": halvings, "progressive": progressive,
        }  # fmt: skip
        self.config = self.init_kwargs
        # Where it looks once, nothing of the generator is wanted but its sizes.
        network = (
            StyleGAN2(**generator)
            if passes > 1
            else sketch("stylegan2", StyleGAN2, generator, "the encoder's configuration")
        )
        width = network.w_dim
        if styles not in (1, network.num_ws) or (head == "w") != (styles == 1):
            raise InputError(
                expected=f"one latent, or one for each of the generator's {network.num_ws} layers",
                got=f"{styles} latents of a head {head!r}",
                fix="give the generator that the encoder was trained with",
            )
        self.img_channels, self.img_resolution = network.img_channels, network.img_resolution
        self.passes, self.latent_dim = passes, styles * width
        self.progressive = progressive
        # Four stages halve the image four times; the first head halves what is left to one pixel.
        self.side = 16 << halvings
        channels = network.img_channels * (2 if passes > 1 else 1)
        self.encoder = _Network(
            trunk, head, channels, widths, blocks, squeeze if trunk == "irse" else 0, styles, width,
            halvings,
        )  # fmt: skip
        if passes > 1:
            self.decoder = network
        self.register_buffer("latent_avg", torch.zeros(styles, width))
        self.register_buffer("scale", torch.ones(self.latent_dim), persistent=False)

    def forward(self, images: Tensor) -> Tensor:  # -> [M, D]
        if images.ndim != 4 or images.shape[1] != self.img_channels:
            raise ShapeError(
                expected=f"images [M, {self.img_channels}, H, W]",
                got=str(list(images.shape)),
                fix="use weights made for images of these channels",
            )
        x = _resized(images, self.side)
        latents = self.latent_avg.expand(len(x), -1, -1)
        if self.passes == 1:
            return (latents + self._answer(x)).flatten(1)
        for i in range(self.passes):
            shown = self._shown(latents[:1]).expand_as(x) if i == 0 else self._shown(latents)
            latents = latents + self._answer(torch.cat([x, shown], dim=1))
        return latents.flatten(1)

    @property
    def centre(self) -> Tensor:  # [D]
        """Where it starts from, as `latentpath.models.Encoder` has it."""
        return self.latent_avg.flatten()

    def _answer(self, x: Tensor) -> Tensor:  # -> [M, styles, width]
        found = self.encoder(x)
        if self.progressive:
            found = torch.cat([found[:, :1], found[:, :1] + found[:, 1:]], dim=1)
        return found

    def _shown(self, latents: Tensor) -> Tensor:
        ws = latents if latents.shape[1] > 1 else latents[:, 0]
        return F.adaptive_avg_pool2d(self.decoder.synthesis(ws, noise_mode="const"), self.side)


def _resized(images: Tensor, side: int) -> Tensor:
    if images.shape[2:] == (side, side):
        return images
    size = [side, side]
    return F.interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False)
