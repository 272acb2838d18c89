"""From the record of a published StyleGAN3 network to the keyword arguments of our `StyleGAN3`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from latentpath.generators.published.generator_options import (
    IDLE,
    PARTS,
    SIZES,
    checked_configuration,
)
from latentpath.generators.published.network_arguments import (
    arguments_of,
    common,
    mapping_attributes,
    options_of,
    size_of,
)
from latentpath.generators.published.pickle_records import NetworkRecord

_OF_THE_NETWORK = ("num_layers", "num_critical", "margin_size", "output_scale", "num_fp16_res")


def stylegan3_configuration(network: NetworkRecord) -> dict[str, Any]:
    """Keyword arguments of `StyleGAN3` for a record of the published class `Generator`.

    Raises:
        WeightsError: arguments that are missing, unknown, of the wrong type, or contradicted by
            the network's own attributes.
    """
    given = arguments_of(network)
    sizes = {name: size_of(network, name, given.pop(name, None)) for name in SIZES}
    mapping, synthesis = (options_of(network, part, given.pop(part, None)) for part in PARTS)
    synthesis.update({name: value for name, value in given.items() if name not in IDLE})
    mapping.update(mapping_attributes(network))
    synthesis.update(_synthesis_attributes(network))
    return checked_configuration(
        {**sizes, "mapping_kwargs": mapping, "synthesis_kwargs": synthesis},
        lambda what: network.reading.damaged(f"{network.title} with {what}"),
        "stylegan3",
    )


def _synthesis_attributes(network: NetworkRecord) -> dict[str, Any]:
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
