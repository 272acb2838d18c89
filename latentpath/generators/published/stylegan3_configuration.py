"""From the record of a published StyleGAN3 network to the keyword arguments of our `StyleGAN3`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from latentpath.generators.published.network_arguments import common, configuration_of
from latentpath.generators.published.pickle_records import NetworkRecord

_OF_THE_NETWORK = ("num_layers", "num_critical", "margin_size", "output_scale", "num_fp16_res")


def stylegan3_configuration(network: NetworkRecord) -> dict[str, Any]:
    """Keyword arguments of `StyleGAN3` for a record of the published class `Generator`.

    Raises:
        WeightsError: arguments that are missing, unknown, of the wrong type, or contradicted by
            the network's own attributes.
    """
    return configuration_of(network, _synthesis_attributes, "stylegan3")


def _synthesis_attributes(network: NetworkRecord, _: dict[str, Any]) -> dict[str, Any]:
    """Options that the network and its layers keep; the filters themselves are among the weights.

    toRGB, the last layer, has its own kernel and no filters.
    """
    synthesis = network.children()["synthesis"]
    layers = [layer for name, layer in synthesis.children().items() if name != "input"]
    inner = [layer for layer in layers if layer.attribute("is_torgb") is not True]
    own = {**common(network, layers, "conv_clamp"), **common(network, inner, "conv_kernel")}
    own.update(common(network, layers, "magnitude_ema_beta"))
    for name in _OF_THE_NETWORK:
        own.update(common(network, [synthesis], name))
    return own


def edition(config: Mapping[str, Any]) -> str:
    """StyleGAN3-T, StyleGAN3-R, or StyleGAN3 where it is neither of the published two.

    >>> edition({"synthesis_kwargs": {"conv_kernel": 1, "use_radial_filters": True}})
    'StyleGAN3-R'
    """
    options = config["synthesis_kwargs"]
    kernel, radial = options.get("conv_kernel", 3), options.get("use_radial_filters", False)
    return {(3, False): "StyleGAN3-T", (1, True): "StyleGAN3-R"}.get((kernel, radial), "StyleGAN3")
