"""Stand-ins for the published StyleGAN3 networks, under the published names.

They have the published attributes, parameters and buffers and no forward pass, and describe
themselves to pickle as the published `torch_utils.persistence` does.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn

from support import alias_free_reference as reference
from support.published_networks import MODULE_SOURCE, _reconstruct_persistent_obj

CONFIG_T = {"channel_base": 256, "channel_max": 4, "num_layers": 5, "margin_size": 3}
CONFIG_R = {**CONFIG_T, "conv_kernel": 1, "use_radial_filters": True}


class Network(nn.Module):
    """Any network: its class's name, its arguments, and what it remembers."""

    def __init__(self, class_name, arguments=None, **attributes):
        super().__init__()
        self.__dict__["class_name"] = class_name
        self.__dict__.update(attributes)
        self._init_args, self._init_kwargs = (), copy.deepcopy(arguments or {})

    def __reduce__(self):
        state = {name: value for name, value in self.__dict__.items() if name != "class_name"}
        meta = {"type": "class", "version": 6, "module_src": MODULE_SOURCE,
                "class_name": self.class_name, "state": state}  # fmt: skip
        return _reconstruct_persistent_obj, (meta,), None


def linear(inputs, outputs, lr_multiplier=1.0, bias=0.0):
    layer = Network("FullyConnectedLayer", activation="linear", bias_gain=lr_multiplier,
                    weight_gain=np.float64(lr_multiplier / np.sqrt(inputs)))  # fmt: skip
    layer.weight = nn.Parameter(torch.randn(outputs, inputs) / lr_multiplier)
    layer.bias = nn.Parameter(torch.randn(outputs) * 0.1 + bias)
    return layer


def mapping(z_dim, c_dim, w_dim, num_ws, num_layers=2):
    network = Network("MappingNetwork", z_dim=z_dim, c_dim=c_dim, w_dim=w_dim, num_ws=num_ws,
                      num_layers=num_layers, w_avg_beta=0.998)  # fmt: skip
    network.embed = linear(c_dim, w_dim) if c_dim else None
    for i in range(num_layers):
        inputs = z_dim + (w_dim if c_dim else 0) if i == 0 else w_dim
        layer = linear(inputs, w_dim, 0.01)
        layer.activation = "lrelu"
        setattr(network, f"fc{i}", layer)
    network.register_buffer("w_avg", torch.randn(w_dim) * 0.1)
    return network


def synthesis_layer(layer, w_dim, options):
    (up, up_taps), (down, down_taps) = reference.filters(layer, **options)
    kernel = 1 if layer.torgb else options.get("conv_kernel", 3)
    network = Network(
        "SynthesisLayer", w_dim=w_dim, is_torgb=layer.torgb, is_critically_sampled=layer.critical,
        use_fp16=True, in_channels=layer.channels[0], out_channels=layer.channels[1],
        in_size=np.broadcast_to(np.asarray(layer.sizes[0]), [2]),
        out_size=np.broadcast_to(np.asarray(layer.sizes[1]), [2]),
        in_cutoff=np.float64(layer.cutoffs[0]), conv_kernel=kernel, up_factor=up, down_factor=down,
        conv_clamp=options.get("conv_clamp", 256), magnitude_ema_beta=0.999, padding=[1, 2, 3, 4],
    )  # fmt: skip
    network.affine = linear(w_dim, layer.channels[0], bias=1.0)
    network.weight = nn.Parameter(torch.randn(*reversed(layer.channels), kernel, kernel))
    network.bias = nn.Parameter(torch.randn(layer.channels[1]) * 0.2)
    network.register_buffer("magnitude_ema", torch.rand([]) + 0.5)
    for name, taps in (("up_filter", up_taps), ("down_filter", down_taps)):
        network.register_buffer(name, None if taps is None else torch.from_numpy(taps))
    return network


def generator(seed=0, z_dim=6, c_dim=0, w_dim=5, img_resolution=16, img_channels=1, **options):
    """A network of the published class `Generator` of StyleGAN3, with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        options = options or CONFIG_T
        sizes = {"z_dim": z_dim, "c_dim": c_dim, "w_dim": w_dim,
                 "img_resolution": img_resolution, "img_channels": img_channels}  # fmt: skip
        network = Network("Generator", {**sizes, **options, "mapping_kwargs": {}}, **sizes)
        layers = reference.layers(img_resolution, img_channels, **options)
        inner = Network(
            "SynthesisNetwork", w_dim=w_dim, num_ws=len(layers) + 1, num_layers=len(layers) - 1,
            num_critical=options.get("num_critical", 2),
            margin_size=options.get("margin_size", 10),
            output_scale=options.get("output_scale", 0.25), num_fp16_res=4,
        )  # fmt: skip
        channels = layers[0].channels[0]
        features = Network(
            "SynthesisInput", w_dim=w_dim, channels=channels, bandwidth=np.float64(2),
            size=np.broadcast_to(np.asarray(layers[0].sizes[0]), [2]),
            sampling_rate=np.float64(layers[0].rates[0]),
        )  # fmt: skip
        features.weight = nn.Parameter(torch.randn(channels, channels))
        features.affine = linear(w_dim, 4, bias=0.5)
        features.register_buffer("transform", torch.eye(3))
        features.register_buffer("freqs", torch.randn(channels, 2))
        features.register_buffer("phases", torch.rand(channels) - 0.5)
        inner.input = features
        for layer in layers:
            setattr(inner, layer.name, synthesis_layer(layer, w_dim, options))
        network.synthesis, network.num_ws = inner, len(layers) + 1
        network.mapping = mapping(z_dim, c_dim, w_dim, network.num_ws)
        return network
