"""StyleGAN3's synthesis network: from one latent per layer to images, free of aliasing.

Every layer knows its signal's sampling rate and the frequencies in it; its activation is computed
at a multiple of that rate between two low-pass filters, so that pixels carry no information of
their own. As in `latentpath.generators.synthesis`, modulation scales the activations before and
after a plain convolution, which equals the published scaling of weights in exact arithmetic.

Source: Karras et al., "Alias-Free Generative Adversarial Networks", NeurIPS 2021.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentpath.core import InputError, ShapeError, check_above_zero, check_whole, check_within
from latentpath.generators.layers import FullyConnectedLayer, standard_normal, widened
from latentpath.generators.precision import autocast_dtype, float32_asked
from latentpath.generators.resampling import lowpass_filter, resample, resample_separably
from latentpath.generators.synthesis import NoiseMode

# Beyond what any network takes, and what a hostile file might ask for.
_MOST_LAYERS = 256
_WIDEST_MARGIN = 1024  # pixels
_FASTEST = 16  # times a layer's rate


class FourierInput(nn.Module):
    """Fourier features of the image plane, turned and moved as w says, and mixed by a matrix.

    Args:
        w_dim: width of w.
        channels: number of features.
        size: rows and columns, margins included.
        sampling_rate: pixels per unit of the plane.
        bandwidth: largest frequency of the features.
    """

    transform: Tensor
    freqs: Tensor
    phases: Tensor

    def __init__(
        self, w_dim: int, channels: int, size: int, sampling_rate: float, bandwidth: float
    ) -> None:
        super().__init__()
        self.channels, self.size = channels, size
        self.sampling_rate, self.bandwidth = sampling_rate, bandwidth
        self.weight = nn.Parameter(standard_normal(channels, channels))
        self.affine = FullyConnectedLayer(w_dim, 4)
        with torch.no_grad():  # to begin with, w changes nothing
            self.affine.weight.zero_()
            self.affine.bias.copy_(torch.tensor([1.0, 0.0, 0.0, 0.0]))
        self.register_buffer("transform", torch.as_tensor(np.eye(3, dtype=np.float32)))
        self.register_buffer("freqs", _frequencies(channels, bandwidth))
        self.register_buffer("phases", torch.empty(channels).uniform_(-0.5, 0.5))

    def forward(self, w: Tensor) -> Tensor:  # [M, w_dim] -> [M, channels, size, size]
        t = self.affine(w)  # cosine, sine, and a shift by columns and rows
        t = t / t[:, :2].norm(dim=1, keepdim=True)
        cosine, sine, across, along = t.unbind(dim=1)
        # The picture is turned, then moved, then transformed by the buffer; the plane's
        # coordinates go the other way.
        turn = torch.stack([cosine, -sine, sine, cosine], dim=1).view(-1, 2, 2)
        shift = turn @ torch.stack([-across, -along], dim=1)[:, :, None]  # [M, 2, 1]
        linear = turn @ self.transform[:2, :2]
        shift = turn @ self.transform[:2, 2:] + shift
        freqs = self.freqs @ linear  # [M, channels, 2]
        phases = self.phases + (self.freqs @ shift).squeeze(2)  # [M, channels]
        # Frequencies that the transform has pushed out of band fade before they alias.
        beyond = (freqs.norm(dim=2) - self.bandwidth) / (self.sampling_rate / 2 - self.bandwidth)
        amplitudes = (1 - beyond).clamp(0, 1)
        places = torch.arange(self.size, device=w.device, dtype=freqs.dtype)
        places = (places + 0.5 - self.size / 2) / self.sampling_rate
        columns = freqs[:, None, :, 0] * places[:, None] + phases[:, None]  # [M, size, channels]
        rows = freqs[:, None, :, 1] * places[:, None]
        angles = columns[:, None] + rows[:, :, None]  # [M, rows, columns, channels]
        x = torch.sin(angles * (2 * math.pi)) * amplitudes[:, None, None]
        return (x @ (self.weight.t() / math.sqrt(self.channels))).permute(0, 3, 1, 2)


def _frequencies(number: int, bandwidth: float) -> Tensor:  # -> [number, 2]
    """Frequencies spread evenly over a disc of radius `bandwidth`."""
    drawn = standard_normal(number, 2)
    if drawn.is_meta:  # where even arithmetic would load all of torch.compile
        return drawn
    radii = drawn.square().sum(dim=1, keepdim=True).sqrt()
    return drawn * (bandwidth / (radii * radii.square().exp().pow(0.25)))


class AliasFreeLayer(nn.Module):
    """Modulated convolution, bias, and a leaky ReLU between an up- and a downsampling filter.

    The last layer, toRGB, has no demodulation, no filters and no activation.

    Args:
        w_dim: width of w.
        is_torgb: whether it is the last layer.
        is_critically_sampled: whether its frequencies fill its sampling rate.
        use_fp16: whether it computes in float16 on GPUs.
        in_channels, out_channels: features before and after.
        in_size, out_size: rows and columns before and after, margins included.
        in_sampling_rate, out_sampling_rate: pixels per unit of the plane.
        in_cutoff, out_cutoff: of the filters, in cycles per unit.
        in_half_width, out_half_width: of the filters' transition bands.
        conv_kernel: side of the convolution.
        filter_size: taps per value of the lower of the two rates.
        lrelu_upsampling: at how many times the higher rate the activation is computed.
        use_radial_filters: rotation-symmetric downsampling filters where it is not critically
            sampled.
        conv_clamp: largest size of its result, None for any.
        magnitude_ema_beta: of training, which this package does not do; taken and kept.
    """

    magnitude_ema: Tensor
    up_filter: Tensor | None
    down_filter: Tensor | None

    def __init__(
        self,
        w_dim: int,
        is_torgb: bool,
        is_critically_sampled: bool,
        use_fp16: bool,
        in_channels: int,
        out_channels: int,
        in_size: int,
        out_size: int,
        in_sampling_rate: int,
        out_sampling_rate: int,
        in_cutoff: float,
        out_cutoff: float,
        in_half_width: float,
        out_half_width: float,
        conv_kernel: int = 3,
        filter_size: int = 6,
        lrelu_upsampling: int = 2,
        use_radial_filters: bool = False,
        conv_clamp: float | None = 256,
        magnitude_ema_beta: float = 0.999,
    ) -> None:
        super().__init__()
        check_whole(
            1, conv_kernel=conv_kernel, filter_size=filter_size, lrelu_upsampling=lrelu_upsampling
        )
        check_within(1, _FASTEST, lrelu_upsampling=lrelu_upsampling)
        self.is_torgb, self.use_fp16, self.conv_clamp = is_torgb, use_fp16, conv_clamp
        self.in_size, self.out_size = in_size, out_size
        self.kernel = 1 if is_torgb else conv_kernel
        self.affine = FullyConnectedLayer(w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(
            standard_normal(out_channels, in_channels, self.kernel, self.kernel)
        )
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.register_buffer("magnitude_ema", torch.ones([]))
        rate = max(in_sampling_rate, out_sampling_rate) * (1 if is_torgb else lrelu_upsampling)
        self.up, self.down = rate // in_sampling_rate, rate // out_sampling_rate
        up_taps, down_taps = (
            filter_size * factor if factor > 1 and not is_torgb else 1
            for factor in (self.up, self.down)
        )
        radial = use_radial_filters and not is_critically_sampled
        self.register_buffer(
            "up_filter", lowpass_filter(up_taps, in_cutoff, 2 * in_half_width, rate)
        )
        self.register_buffer(
            "down_filter", lowpass_filter(down_taps, out_cutoff, 2 * out_half_width, rate, radial)
        )
        # What the convolution and the filters add to the size and take from it, shared out so that
        # sample positions keep their places in the plane (appendix C.3).
        wanted = (out_size - 1) * self.down + 1 + up_taps + down_taps - 2
        there = (in_size + self.kernel - 1) * self.up
        self.before = (wanted - there + self.up) // 2
        self.between = (out_size - 1) * self.down + down_taps  # size of the activation
        self.up_taps, self.down_taps = up_taps, down_taps

    def forward(self, x: Tensor, w: Tensor, dtype: torch.dtype) -> Tensor:
        """x [M, I, in_size, in_size], w [M, w_dim] -> [M, O, out_size, out_size] in `dtype`."""
        styles, weight, scale = self.affine(w), widened(self.weight), None
        if self.is_torgb:
            styles = styles / math.sqrt(self.weight.shape[1] * self.kernel**2)
        else:
            # Of size one, so that neither x * styles nor the sums leave float16's range.
            weight = weight * weight.square().mean(dim=[1, 2, 3], keepdim=True).rsqrt()
            styles = styles * styles.square().mean(dim=1, keepdim=True).rsqrt()
            squares = weight.square().sum(dim=[2, 3])  # [O, I]
            scale = (styles.square() @ squares.t() + 1e-8).rsqrt()  # [M, O]
        styles = styles * self.magnitude_ema.rsqrt()
        x = x.to(dtype) * styles.to(dtype)[:, :, None, None]
        x = F.conv2d(x, weight.to(dtype), padding=self.kernel - 1)
        if scale is not None:
            x = x * scale.to(dtype)[:, :, None, None]
        x = self._upsampled(x + self.bias.to(dtype)[:, None, None])
        if not self.is_torgb:
            x = F.leaky_relu(x, 0.2) * math.sqrt(2.0)
        if self.conv_clamp is not None:
            x = x.clamp(-self.conv_clamp, self.conv_clamp)
        return self._downsampled(x)

    def _upsampled(self, x: Tensor) -> Tensor:
        size, lead = (self.between, self.between), self.up_taps - 1 - self.before
        if self.up_filter is None:
            taps = x.new_ones(1, 1)
            return resample(x, taps, (self.up, self.up), (1, 1), (lead, lead), size) * self.up**2
        taps = self.up_filter * self.up  # for what the zeros between the values take away
        return resample_separably(x, taps, self.up, 1, (lead, lead), size)

    def _downsampled(self, x: Tensor) -> Tensor:
        size, lead = (self.out_size, self.out_size), self.down_taps - 1
        if self.down_filter is None:
            return x[:, :, :: self.down, :: self.down]
        if self.down_filter.ndim == 2:
            taps, down = self.down_filter, (self.down, self.down)
            return resample(x, taps, (1, 1), down, (lead, lead), size)
        return resample_separably(x, self.down_filter, 1, self.down, (lead, lead), size)


class AliasFreeSynthesis(nn.Module):
    """Latents ws [M, num_ws, w_dim] to images [M, img_channels, img_resolution, img_resolution].

    Args:
        w_dim: width of w.
        img_resolution: height and width in pixels.
        img_channels: 1 grey, 3 colour.
        channel_base: how many channels there are in all; a layer has this divided by twice its
            cutoff.
        channel_max: the most that a layer has.
        num_layers: layers between the Fourier features and toRGB.
        num_critical: how many of them, at the end, are critically sampled.
        first_cutoff: of the first layer, in cycles per image.
        first_stopband: where its filter lets nothing through.
        last_stopband_rel: the same of the last layer, relative to its cutoff.
        margin_size: pixels outside the image, at each side.
        output_scale: what images are multiplied by.
        num_fp16_res: how many of the highest rates run in float16 on GPUs.
        layer_kwargs: options of `AliasFreeLayer`.
    """

    input: FourierInput

    def __init__(
        self,
        w_dim: int,
        img_resolution: int,
        img_channels: int,
        channel_base: int = 32768,
        channel_max: int = 512,
        num_layers: int = 14,
        num_critical: int = 2,
        first_cutoff: float = 2,
        first_stopband: float = 2**2.1,
        last_stopband_rel: float = 2**0.3,
        margin_size: int = 10,
        output_scale: float = 0.25,
        num_fp16_res: int = 4,
        **layer_kwargs: Any,
    ) -> None:
        super().__init__()
        check_whole(1, w_dim=w_dim, img_channels=img_channels, num_layers=num_layers)
        check_whole(4, img_resolution=img_resolution)
        check_whole(0, num_critical=num_critical)
        check_within(0, _WIDEST_MARGIN, margin_size=margin_size)
        check_whole(0, num_fp16_res=num_fp16_res)
        check_above_zero(
            channel_base=channel_base,
            channel_max=channel_max,
            first_cutoff=first_cutoff,
            first_stopband=first_stopband,
            last_stopband_rel=last_stopband_rel,
        )
        if not num_critical < num_layers <= _MOST_LAYERS:
            raise InputError(
                expected=f"more layers than num_critical={num_critical}, up to {_MOST_LAYERS}",
                got=f"num_layers={num_layers}",
                fix="raise num_layers; the published networks have 14, of which 2 are critical",
            )
        self.w_dim, self.img_resolution, self.img_channels = w_dim, img_resolution, img_channels
        self.output_scale, self.num_ws = output_scale, num_layers + 2
        last_cutoff = img_resolution / 2
        last_stopband = last_cutoff * last_stopband_rel
        steps = np.minimum(np.arange(num_layers + 1) / (num_layers - num_critical), 1)
        cutoffs = first_cutoff * (last_cutoff / first_cutoff) ** steps
        stopbands = first_stopband * (last_stopband / first_stopband) ** steps
        rates = np.exp2(np.ceil(np.log2(np.minimum(stopbands * 2, img_resolution))))
        half_widths = np.maximum(stopbands, rates / 2) - cutoffs
        sizes = rates + margin_size * 2
        sizes[-2:] = img_resolution
        channels = np.rint(np.minimum((channel_base / 2) / cutoffs, channel_max))
        if (
            channels.min() < 1
            or half_widths.min() <= 0
            or not 1 <= rates.min() <= rates.max() <= img_resolution
        ):
            raise InputError(
                expected="layers of at least one channel, whose stopbands lie above their cutoffs, "
                "and an image of a power of two",
                got=f"channels {channels.astype(int).tolist()}, img_resolution {img_resolution}, "
                f"stopbands {first_stopband:g} and {last_stopband:g}",
                fix="raise channel_base and channel_max, or leave the stopbands at their defaults",
            )
        channels[-1] = img_channels
        self.input = FourierInput(
            w_dim, int(channels[0]), int(sizes[0]), float(rates[0]), float(cutoffs[0])
        )
        self.layer_names: list[str] = []
        for i in range(num_layers + 1):
            before = max(i - 1, 0)
            layer = AliasFreeLayer(
                w_dim,
                is_torgb=i == num_layers,
                is_critically_sampled=i >= num_layers - num_critical,
                use_fp16=bool(rates[i] * 2**num_fp16_res > img_resolution),
                in_channels=int(channels[before]),
                out_channels=int(channels[i]),
                in_size=int(sizes[before]),
                out_size=int(sizes[i]),
                in_sampling_rate=int(rates[before]),
                out_sampling_rate=int(rates[i]),
                in_cutoff=float(cutoffs[before]),
                out_cutoff=float(cutoffs[i]),
                in_half_width=float(half_widths[before]),
                out_half_width=float(half_widths[i]),
                **layer_kwargs,
            )
            name = f"L{i}_{int(sizes[i])}_{int(channels[i])}"
            setattr(self, name, layer)
            self.layer_names.append(name)

    def forward(
        self,
        ws: Tensor,  # [M, num_ws, w_dim], or [M, w_dim] for all layers
        noise_mode: NoiseMode = "random",
        force_fp32: bool = False,
    ) -> Tensor:  # [M, img_channels, img_resolution, img_resolution]
        """Images. There is no noise in StyleGAN3: `noise_mode` is taken and changes nothing.

        Layers that `num_fp16_res` marks run in float16 on GPUs unless `force_fp32`; under autocast
        all layers run in its dtype. Images come back in the parameters' dtype.
        """
        if ws.shape[1:] not in ((self.num_ws, self.w_dim), (self.w_dim,)):
            raise ShapeError(
                expected=f"ws [M, {self.num_ws}, {self.w_dim}]",
                got=str(list(ws.shape)),
                fix="repeat w for every layer, or call synthesize(w) which does",
            )
        own = self.input.weight.dtype
        force_fp32 = force_fp32 or float32_asked()
        asked = None if force_fp32 or own != torch.float32 else autocast_dtype(ws.device.type)
        half_on_gpu = ws.device.type == "cuda" and not force_fp32
        ws = ws.to(own)
        if ws.ndim == 2:
            ws = ws[:, None].expand(-1, self.num_ws, -1)
        first, *others = ws.unbind(dim=1)
        with torch.autocast(ws.device.type, enabled=False):
            x = self.input(first)
            for layer, w in zip(self.layers(), others, strict=True):
                plain = torch.float16 if layer.use_fp16 and half_on_gpu else own
                x = layer(x, w, plain if asked is None else asked)
            return x.to(own) * self.output_scale

    def layers(self) -> list[AliasFreeLayer]:
        """The layers, toRGB the last."""
        return [getattr(self, name) for name in self.layer_names]
