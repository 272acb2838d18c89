"""Stand-ins for the published StyleGAN2-ADA (PyTorch) networks, under the published names.

They have the published classes' attributes, parameters and buffers and no forward pass, and
describe themselves to pickle as the published `torch_utils.persistence` does.
"""

from __future__ import annotations

import copy
import sys
import types
import warnings
from contextlib import contextmanager
from unittest import mock

import numpy as np
import torch
from torch import nn

SENTINEL = "LATENTPATH_TEST_SENTINEL"
# What the published loader would run. Whoever runs it is found out by the tests.
MODULE_SOURCE = (
    f"import os\nos.environ[{SENTINEL!r}] = 'module_src was run'\n"
    "raise SystemExit('module_src was run')\n" + "# a module of realistic length\n" * 1300
)


class EasyDict(dict):
    """As `dnnlib.util.EasyDict`."""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name, value):
        self[name] = value

    def __delattr__(self, name):
        del self[name]


EasyDict.__module__, EasyDict.__qualname__ = "dnnlib.util", "EasyDict"


def _reconstruct_persistent_obj(meta):
    """As `torch_utils.persistence._reconstruct_persistent_obj`, without running the source."""
    network = STAND_INS[meta["class_name"]].__new__(STAND_INS[meta["class_name"]])
    network.__setstate__(meta["state"])
    return network


_reconstruct_persistent_obj.__module__ = "torch_utils.persistence"


@contextmanager
def published_modules():
    """The published modules' names, importable as long as the context lasts."""
    modules = {}
    for name, values in {
        "dnnlib": {},
        "dnnlib.util": {"EasyDict": EasyDict},
        "torch_utils": {},
        "torch_utils.persistence": {"_reconstruct_persistent_obj": _reconstruct_persistent_obj},
    }.items():
        modules[name] = types.ModuleType(name)
        vars(modules[name]).update(values)
    with mock.patch.dict(sys.modules, modules), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's, about the storages that it pickles itself
        yield


STAND_INS: dict[str, type] = {}


def persistent(cls):
    """Make a class remember its arguments and pickle as a description of itself."""

    class Persistent(cls):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self._init_args = copy.deepcopy(args)
            self._init_kwargs = copy.deepcopy(kwargs)

        def __reduce__(self):
            meta = {
                "type": "class",
                "version": 6,
                "module_src": MODULE_SOURCE,
                "class_name": cls.__name__,
                "state": self.__dict__,
            }
            return _reconstruct_persistent_obj, (meta,), None

    Persistent.__name__ = cls.__name__
    STAND_INS[cls.__name__] = Persistent
    return Persistent


def taps(filter_taps):
    """As the published `setup_filter`: a square below eight taps, a row from eight on."""
    f = torch.as_tensor((1,) if filter_taps is None else filter_taps, dtype=torch.float32)
    f = f.outer(f) if f.ndim == 1 and f.numel() < 8 else f
    return f / f.sum()


def gain(activation):
    return np.sqrt(2) if activation in ("relu", "lrelu", "swish") else 1


def layout(channels_last):
    return torch.channels_last if channels_last else torch.contiguous_format


@persistent
class FullyConnectedLayer(nn.Module):
    def __init__(
        self, in_features, out_features, bias=True, activation="linear", lr_multiplier=1,
        bias_init=0,
    ):  # fmt: skip
        super().__init__()
        self.activation = activation
        self.weight = nn.Parameter(torch.randn([out_features, in_features]) / lr_multiplier)
        self.bias = nn.Parameter(torch.full([out_features], np.float32(bias_init)))
        self.weight_gain = lr_multiplier / np.sqrt(in_features)
        self.bias_gain = lr_multiplier


@persistent
class Conv2dLayer(nn.Module):
    def __init__(
        self, in_channels, out_channels, kernel_size, bias=True, activation="linear", up=1, down=1,
        resample_filter=(1, 3, 3, 1), conv_clamp=None, channels_last=False, trainable=True,
    ):  # fmt: skip
        super().__init__()
        self.activation, self.up, self.down, self.conv_clamp = activation, up, down, conv_clamp
        self.register_buffer("resample_filter", taps(resample_filter))
        self.padding = kernel_size // 2
        self.weight_gain = 1 / np.sqrt(in_channels * kernel_size**2)
        self.act_gain = gain(activation)
        weight = torch.randn([out_channels, in_channels, kernel_size, kernel_size])
        self.weight = nn.Parameter(weight.to(memory_format=layout(channels_last)))
        self.bias = nn.Parameter(torch.zeros([out_channels])) if bias else None


@persistent
class MappingNetwork(nn.Module):
    def __init__(
        self, z_dim, c_dim, w_dim, num_ws, num_layers=8, embed_features=None, layer_features=None,
        activation="lrelu", lr_multiplier=0.01, w_avg_beta=0.995,
    ):  # fmt: skip
        super().__init__()
        self.z_dim, self.c_dim, self.w_dim, self.num_ws = z_dim, c_dim, w_dim, num_ws
        self.num_layers, self.w_avg_beta = num_layers, w_avg_beta
        embed = 0 if c_dim == 0 else (embed_features or w_dim)
        widths = [z_dim + embed] + [layer_features or w_dim] * (num_layers - 1) + [w_dim]
        if c_dim > 0:
            self.embed = FullyConnectedLayer(c_dim, embed)
        for i in range(num_layers):
            layer = FullyConnectedLayer(
                widths[i], widths[i + 1], activation=activation, lr_multiplier=lr_multiplier
            )
            setattr(self, f"fc{i}", layer)
        if num_ws is not None and w_avg_beta is not None:
            self.register_buffer("w_avg", torch.zeros([w_dim]))


@persistent
class SynthesisLayer(nn.Module):
    def __init__(
        self, in_channels, out_channels, w_dim, resolution, kernel_size=3, up=1, use_noise=True,
        activation="lrelu", resample_filter=(1, 3, 3, 1), conv_clamp=None, channels_last=False,
    ):  # fmt: skip
        super().__init__()
        self.resolution, self.up, self.use_noise = resolution, up, use_noise
        self.activation, self.conv_clamp = activation, conv_clamp
        self.register_buffer("resample_filter", taps(resample_filter))
        self.padding = kernel_size // 2
        self.act_gain = gain(activation)
        self.affine = FullyConnectedLayer(w_dim, in_channels, bias_init=1)
        weight = torch.randn([out_channels, in_channels, kernel_size, kernel_size])
        self.weight = nn.Parameter(weight.to(memory_format=layout(channels_last)))
        if use_noise:
            self.register_buffer("noise_const", torch.randn([resolution, resolution]))
            self.noise_strength = nn.Parameter(torch.zeros([]))
        self.bias = nn.Parameter(torch.zeros([out_channels]))


@persistent
class ToRGBLayer(nn.Module):
    def __init__(
        self, in_channels, out_channels, w_dim, kernel_size=1, conv_clamp=None, channels_last=False
    ):
        super().__init__()
        self.conv_clamp = conv_clamp
        self.affine = FullyConnectedLayer(w_dim, in_channels, bias_init=1)
        weight = torch.randn([out_channels, in_channels, kernel_size, kernel_size])
        self.weight = nn.Parameter(weight.to(memory_format=layout(channels_last)))
        self.bias = nn.Parameter(torch.zeros([out_channels]))
        self.weight_gain = 1 / np.sqrt(in_channels * kernel_size**2)


@persistent
class SynthesisBlock(nn.Module):
    def __init__(
        self, in_channels, out_channels, w_dim, resolution, img_channels, is_last,
        architecture="skip", resample_filter=(1, 3, 3, 1), conv_clamp=None, use_fp16=False,
        fp16_channels_last=False, **layer_kwargs,
    ):  # fmt: skip
        super().__init__()
        self.in_channels, self.w_dim, self.resolution = in_channels, w_dim, resolution
        self.img_channels, self.is_last, self.architecture = img_channels, is_last, architecture
        self.use_fp16, self.channels_last = use_fp16, use_fp16 and fp16_channels_last
        self.register_buffer("resample_filter", taps(resample_filter))
        self.num_conv = self.num_torgb = 0
        common = {"conv_clamp": conv_clamp, "channels_last": self.channels_last}
        if in_channels == 0:
            self.const = nn.Parameter(torch.randn([out_channels, resolution, resolution]))
        else:
            self.conv0 = SynthesisLayer(
                in_channels, out_channels, w_dim=w_dim, resolution=resolution, up=2,
                resample_filter=resample_filter, **common, **layer_kwargs,
            )  # fmt: skip
            self.num_conv += 1
        self.conv1 = SynthesisLayer(
            out_channels, out_channels, w_dim=w_dim, resolution=resolution, **common,
            **layer_kwargs,
        )  # fmt: skip
        self.num_conv += 1
        if is_last or architecture == "skip":
            self.torgb = ToRGBLayer(out_channels, img_channels, w_dim=w_dim, **common)
            self.num_torgb += 1
        if in_channels != 0 and architecture == "resnet":
            self.skip = Conv2dLayer(
                in_channels, out_channels, kernel_size=1, bias=False, up=2,
                resample_filter=resample_filter, channels_last=self.channels_last,
            )  # fmt: skip


@persistent
class SynthesisNetwork(nn.Module):
    def __init__(
        self, w_dim, img_resolution, img_channels, channel_base=32768, channel_max=512,
        num_fp16_res=0, **block_kwargs,
    ):  # fmt: skip
        super().__init__()
        self.w_dim, self.img_resolution, self.img_channels = w_dim, img_resolution, img_channels
        self.img_resolution_log2 = int(np.log2(img_resolution))
        self.block_resolutions = [2**i for i in range(2, self.img_resolution_log2 + 1)]
        channels = {res: min(channel_base // res, channel_max) for res in self.block_resolutions}
        half_from = max(2 ** (self.img_resolution_log2 + 1 - num_fp16_res), 8)
        self.num_ws = 0
        for res in self.block_resolutions:
            block = SynthesisBlock(
                channels.get(res // 2, 0), channels[res], w_dim=w_dim, resolution=res,
                img_channels=img_channels, is_last=res == img_resolution,
                use_fp16=res >= half_from, **block_kwargs,
            )  # fmt: skip
            self.num_ws += block.num_conv + (block.num_torgb if res == img_resolution else 0)
            setattr(self, f"b{res}", block)


@persistent
class Generator(nn.Module):
    def __init__(
        self, z_dim, c_dim, w_dim, img_resolution, img_channels, mapping_kwargs=None,
        synthesis_kwargs=None,
    ):  # fmt: skip
        super().__init__()
        self.z_dim, self.c_dim, self.w_dim = z_dim, c_dim, w_dim
        self.img_resolution, self.img_channels = img_resolution, img_channels
        self.synthesis = SynthesisNetwork(
            w_dim=w_dim, img_resolution=img_resolution, img_channels=img_channels,
            **(synthesis_kwargs or {}),
        )  # fmt: skip
        self.num_ws = self.synthesis.num_ws
        self.mapping = MappingNetwork(
            z_dim=z_dim, c_dim=c_dim, w_dim=w_dim, num_ws=self.num_ws, **(mapping_kwargs or {})
        )


@persistent
class Discriminator(nn.Module):
    """Enough of one to have other parts than a generator."""

    def __init__(self, c_dim, img_resolution, img_channels, **kwargs):
        super().__init__()
        self.c_dim, self.img_resolution, self.img_channels = c_dim, img_resolution, img_channels
        self.fromrgb = Conv2dLayer(img_channels, 4, kernel_size=1, activation="lrelu")
        self.conv = Conv2dLayer(4, 4, kernel_size=3, down=2, trainable=False)
        self.out = FullyConnectedLayer(4, 1)


@persistent
class AugmentPipe(nn.Module):
    def __init__(self, **kwargs):
        super().__init__()
        self.register_buffer("p", torch.ones([]))
        self.xflip, self.rotate_max, self.imgfilter_bands = 1.0, 1, [1, 1, 1, 1]
        self.register_buffer("Hz_geom", torch.randn(12))
        self.register_buffer("Hz_fbank", torch.randn(4, 25))
