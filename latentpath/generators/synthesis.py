"""StyleGAN2's synthesis network: from one latent per layer to images.

The arithmetic is arranged differently from the published one: modulation scales the activations
before and after a plain convolution instead of making one set of weights per sample (Karras et
al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020, equations 1 to 3; both
forms are equal in exact arithmetic).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentpath.core import InputError, ShapeError, check_whole
from latentpath.generators import fused_synthesis, prepared_weights
from latentpath.generators.layers import (
    Conv2dLayer,
    FullyConnectedLayer,
    bias_act,
    check_activation,
    conv2d_up,
    setup_filter,
    standard_normal,
    upsample2d,
    widened,
)
from latentpath.generators.precision import autocast_dtype, float32_asked
from latentpath.ops import is_transformed

NoiseMode = Literal["const", "none", "random"]
_NOISE_MODES = ("const", "none", "random")
_ARCHITECTURES = ("skip", "resnet", "orig")


def modulated_conv2d(
    x: Tensor,  # [M, I, H, W]
    weight: Tensor,  # [O, I, k, k]
    styles: Tensor,  # [M, I]
    *,
    demodulate: bool = True,
    up_filter: Tensor | None = None,  # [K, K]: upsample by 2 with this filter
) -> Tensor:  # [M, O, H', W']
    """Style-modulated convolution, with the styles on the activations.

    Weight modulation followed by demodulation multiplies weight[o, i] by s_i and divides by
    the norm over (i, k, k). Both factors move out of the convolution: s_i scales the input's
    channels, the norm scales the output's. One plain convolution then serves the whole batch.
    """
    scale = None
    if demodulate:
        if x.dtype == torch.float16:  # keep x * s and the sums inside float16's range
            weight = weight / weight.abs().amax(dim=[1, 2, 3], keepdim=True)
            styles = styles / styles.abs().amax(dim=1, keepdim=True)
        squares = widened(weight).square().sum(dim=[2, 3])  # [O, I]
        scale = (widened(styles).square() @ squares.t() + 1e-8).rsqrt()  # [M, O]
    x = x * styles.to(x.dtype)[:, :, None, None]
    weight = weight.to(x.dtype)
    if up_filter is not None:
        x = conv2d_up(x, weight, up_filter)
    else:
        x = F.conv2d(x, weight, padding=weight.shape[-1] // 2)
    return x if scale is None else x * scale.to(x.dtype)[:, :, None, None]


class SynthesisLayer(nn.Module):
    """Modulated 3x3 convolution, noise, bias, activation; upsamples by 2 if `up` is 2."""

    noise_const: Tensor
    resample_filter: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        w_dim: int,
        resolution: int,
        kernel_size: int = 3,
        up: int = 1,
        use_noise: bool = True,
        activation: str = "lrelu",
        resample_filter: Sequence[float] | None = (1, 3, 3, 1),
        conv_clamp: float | None = None,
    ) -> None:
        super().__init__()
        self.resolution, self.up, self.use_noise = resolution, up, use_noise
        self.activation, self.conv_clamp = check_activation(activation), conv_clamp
        self.register_buffer("resample_filter", setup_filter(resample_filter))
        self.affine = FullyConnectedLayer(w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(
            standard_normal(out_channels, in_channels, kernel_size, kernel_size)
        )
        if use_noise:
            self.register_buffer("noise_const", standard_normal(resolution, resolution))
            self.noise_strength = nn.Parameter(torch.zeros([]))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(
        self,
        x: Tensor,  # [M, I, H, W]
        w: Tensor,  # [M, w_dim]
        noise_mode: NoiseMode = "random",
        gain: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:  # [M, O, up*H, up*W]
        up_filter = self.resample_filter if self.up == 2 else None
        x = modulated_conv2d(x, self.weight, self.affine(w), up_filter=up_filter)
        if self.use_noise and noise_mode != "none":
            noise = self.noise_const
            if noise_mode == "random":
                shape = (x.shape[0], 1, self.resolution, self.resolution)
                noise = torch.randn(shape, device=x.device, generator=generator)
            x = x + (noise * self.noise_strength).to(x.dtype)
        return bias_act(x, self.bias, self.activation, gain=gain, clamp=self.conv_clamp)


class ToRGBLayer(nn.Module):
    """Modulated 1x1 convolution to image channels, without demodulation."""

    def __init__(
        self, in_channels: int, out_channels: int, w_dim: int, conv_clamp: float | None = None
    ) -> None:
        super().__init__()
        self.conv_clamp = conv_clamp
        self.affine = FullyConnectedLayer(w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(standard_normal(out_channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.weight_gain = 1.0 / math.sqrt(in_channels)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:  # [M, I, H, W] -> [M, C, H, W]
        styles = self.affine(w) * self.weight_gain
        x = modulated_conv2d(x, self.weight, styles, demodulate=False)
        return bias_act(x, self.bias, clamp=self.conv_clamp)


class SynthesisBlock(nn.Module):
    """All layers of one resolution."""

    resample_filter: Tensor

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        w_dim: int,
        resolution: int,
        img_channels: int,
        is_last: bool,
        architecture: str = "skip",
        resample_filter: Sequence[float] | None = (1, 3, 3, 1),
        conv_clamp: float | None = None,
        use_fp16: bool = False,
        fp16_channels_last: bool = False,
        **layer_kwargs: Any,
    ) -> None:
        super().__init__()
        self.architecture, self.use_fp16 = architecture, use_fp16
        self.channels_last = use_fp16 and fp16_channels_last
        self.register_buffer("resample_filter", setup_filter(resample_filter))
        shared = {"resample_filter": resample_filter, "conv_clamp": conv_clamp, **layer_kwargs}
        self.num_conv = 1
        if in_channels == 0:
            self.const = nn.Parameter(standard_normal(out_channels, resolution, resolution))
        else:
            self.conv0 = SynthesisLayer(
                in_channels, out_channels, w_dim, resolution, up=2, **shared
            )
            self.num_conv = 2
        # As published: conv1 does not resample, so its filter is always the default one.
        same = {**shared, "resample_filter": (1, 3, 3, 1)}
        self.conv1 = SynthesisLayer(out_channels, out_channels, w_dim, resolution, **same)
        self.num_torgb = int(is_last or architecture == "skip")
        if self.num_torgb:
            self.torgb = ToRGBLayer(out_channels, img_channels, w_dim, conv_clamp=conv_clamp)
        if in_channels != 0 and architecture == "resnet":
            self.skip = Conv2dLayer(
                in_channels,
                out_channels,
                1,
                bias=False,
                up=2,
                resample_filter=resample_filter,
            )

    def forward(
        self,
        x: Tensor | None,  # [M, I, H, W]; None in the first block
        img: Tensor | None,  # [M, C, H, W]
        ws: Tensor,  # [M, num_conv + num_torgb, w_dim]
        noise_mode: NoiseMode,
        generator: torch.Generator | None,
        dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor | None]:
        own = self.conv1.weight.dtype
        half = self.channels_last and dtype == torch.float16
        layout = torch.channels_last if half else torch.contiguous_format
        w = ws.unbind(dim=1)
        if x is None:
            x = self.const.to(dtype=dtype).expand(ws.shape[0], -1, -1, -1)
            x = self.conv1(x.contiguous(memory_format=layout), w[0], noise_mode, 1.0, generator)
        else:
            x = x.to(dtype=dtype, memory_format=layout)
            residual = self.architecture == "resnet"
            gain = math.sqrt(0.5) if residual else 1.0
            y = self.skip(x, gain=gain) if residual else None
            x = self.conv0(x, w[0], noise_mode, 1.0, generator)
            x = self.conv1(x, w[1], noise_mode, gain, generator)
            x = x if y is None else x + y
        if img is not None:
            img = upsample2d(img, self.resample_filter)
        if self.num_torgb:
            y = self.torgb(x, w[self.num_conv]).to(own)
            img = y if img is None else img + y
        return x, img

    def convolutions(self) -> list[SynthesisLayer]:
        """The block's modulated 3x3 convolutions, in their order."""
        return [self.conv1] if self.num_conv == 1 else [self.conv0, self.conv1]


class SynthesisNetwork(nn.Module):
    """Latents ws [M, num_ws, w_dim] to images [M, img_channels, img_resolution, img_resolution].

    Where no gradient of a weight can be wanted, `latentpath.generators.fused_synthesis` computes
    the images in fewer visits of the memory; it knows no second derivatives. With `fused = False`
    this module always computes them itself.
    """

    fused = True
    b4: SynthesisBlock

    def __init__(
        self,
        w_dim: int,
        img_resolution: int,
        img_channels: int,
        channel_base: int = 32768,
        channel_max: int = 512,
        num_fp16_res: int = 0,
        architecture: str = "skip",
        **block_kwargs: Any,
    ) -> None:
        super().__init__()
        check_whole(1, w_dim=w_dim, img_channels=img_channels)
        check_whole(4, img_resolution=img_resolution)
        check_whole(0, num_fp16_res=num_fp16_res)
        if img_resolution & (img_resolution - 1):
            raise InputError(
                expected="img_resolution, a power of two of at least 4 pixels",
                got=str(img_resolution),
                fix="choose 16, 32, 64, ...",
            )
        if architecture not in _ARCHITECTURES:
            raise InputError(
                expected=f"architecture out of {_ARCHITECTURES}",
                got=repr(architecture),
                fix="use one of these names",
            )
        if channel_base < img_resolution or channel_max < 1:
            raise InputError(
                expected=f"channel_base of at least the resolution {img_resolution} and "
                "channel_max of at least 1",
                got=f"channel_base={channel_base}, channel_max={channel_max}",
                fix="raise them, so that every layer has a channel",
            )
        self.w_dim, self.img_resolution, self.img_channels = w_dim, img_resolution, img_channels
        log2 = img_resolution.bit_length() - 1
        self.block_resolutions = [2**i for i in range(2, log2 + 1)]
        fp16_from = max(2 ** (log2 + 1 - num_fp16_res), 8)
        self.num_ws = 0
        channels = 0
        for res in self.block_resolutions:
            out_channels = min(channel_base // res, channel_max)
            is_last = res == img_resolution
            block = SynthesisBlock(
                channels,
                out_channels,
                w_dim,
                res,
                img_channels,
                is_last,
                architecture,
                use_fp16=res >= fp16_from,
                **block_kwargs,
            )
            self.num_ws += block.num_conv + (block.num_torgb if is_last else 0)
            setattr(self, f"b{res}", block)
            channels = out_channels

    def forward(
        self,
        ws: Tensor,  # [M, num_ws, w_dim], or [M, w_dim] for all layers
        noise_mode: NoiseMode = "random",
        force_fp32: bool = False,
        generator: torch.Generator | None = None,
        fused_modconv: bool | None = None,
    ) -> Tensor:  # [M, img_channels, img_resolution, img_resolution]
        """Images; `generator` draws the noise of `noise_mode="random"`.

        Blocks that `num_fp16_res` marks run in float16 on GPUs unless `force_fp32`; under
        autocast all blocks run in its dtype. Images come back in the parameters' dtype.

        `fused_modconv` is taken for compatibility and changes nothing: both forms of the
        modulation are equal, and ours always scales the activations.
        """
        if ws.shape[1:] not in ((self.num_ws, self.w_dim), (self.w_dim,)):
            raise ShapeError(
                expected=f"ws [M, {self.num_ws}, {self.w_dim}]",
                got=str(list(ws.shape)),
                fix="repeat w for every layer, or call synthesize(w) which does",
            )
        if noise_mode not in _NOISE_MODES:
            raise InputError(
                expected=f"noise_mode out of {_NOISE_MODES}",
                got=repr(noise_mode),
                fix="use 'const' for a deterministic generator",
            )
        ws = ws.to(self.b4.conv1.weight.dtype)
        dtypes = self.dtypes(ws.device.type, force_fp32)
        prepared = prepared_weights.prepare(self, dtypes) if self._may_run_fused(ws) else None
        if prepared is not None:
            return fused_synthesis.synthesize(prepared, ws, noise_mode, generator)
        with torch.autocast(ws.device.type, enabled=False):
            return self._plain(ws, dtypes, noise_mode, generator)

    def blocks(self) -> list[SynthesisBlock]:
        """The blocks, from the smallest resolution to the largest."""
        return [getattr(self, f"b{resolution}") for resolution in self.block_resolutions]

    def dtypes(self, device_type: str, force_fp32: bool = False) -> tuple[torch.dtype, ...]:
        """What every block computes in on a type of device, as things stand."""
        own = self.b4.conv1.weight.dtype
        force_fp32 = force_fp32 or float32_asked()
        asked = None if force_fp32 else autocast_dtype(device_type)
        if asked is not None and own == torch.float32:
            return (asked,) * len(self.block_resolutions)
        half_on_gpu = device_type == "cuda" and not force_fp32
        return tuple(
            torch.float16 if block.use_fp16 and half_on_gpu else own for block in self.blocks()
        )

    def _may_run_fused(self, ws: Tensor) -> bool:
        if not self.fused or torch.compiler.is_compiling() or is_transformed(ws):
            return False
        return prepared_weights.fits(self) and prepared_weights.is_frozen(self)

    def _plain(
        self,
        ws: Tensor,  # [M, num_ws, w_dim] or [M, w_dim]
        dtypes: tuple[torch.dtype, ...],
        noise_mode: NoiseMode,
        generator: torch.Generator | None,
    ) -> Tensor:
        if ws.ndim == 2:
            ws = ws.unsqueeze(1).expand(-1, self.num_ws, -1)
        x: Tensor | None = None
        img: Tensor | None = None
        first = 0
        for block, dtype in zip(self.blocks(), dtypes, strict=True):
            # toRGB shares its latent with the next block's first convolution.
            taken = ws[:, first : first + block.num_conv + block.num_torgb]
            x, img = block(x, img, taken, noise_mode, generator, dtype)
            first += block.num_conv
        assert img is not None
        return img

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> SynthesisNetwork:
        # A weight that moves there and back may lie where it lay, with other values.
        prepared_weights.forget(self)
        return super()._apply(fn, recurse)
