"""From the record of a published StyleGAN2 network to the keyword arguments of our `StyleGAN2`.

That also reads StyleGAN2 networks that the StyleGAN3 code base wrote, whose arguments have other
defaults and no `synthesis_kwargs`.
"""

from __future__ import annotations

from typing import Any

from latentpath.generators.published.generator_options import whole
from latentpath.generators.published.network_arguments import common, configuration_of
from latentpath.generators.published.pickle_records import NetworkRecord


def stylegan2_configuration(network: NetworkRecord) -> dict[str, Any]:
    """Keyword arguments of `StyleGAN2` for a record of the published class `Generator`.

    Raises:
        WeightsError: arguments that are missing, unknown, of the wrong type, or contradicted by
            the network's own attributes.
    """
    return configuration_of(network, _synthesis_attributes, "stylegan2")


def _synthesis_attributes(network: NetworkRecord, given: dict[str, Any]) -> dict[str, Any]:
    blocks = _blocks(network)
    inner = [block.children() for block in blocks.values()]
    layers = [child[name] for child in inner for name in ("conv0", "conv1") if name in child]
    colours = [child["torgb"] for child in inner if "torgb" in child]
    own = {
        **common(network, list(blocks.values()), "architecture"),
        **common(network, layers, "use_noise"),
        **common(network, layers, "activation"),
        **common(network, [*layers, *colours], "conv_clamp"),
    }
    half = {side: block.attribute("use_fp16") for side, block in blocks.items()}
    if half and all(isinstance(flag, bool) for flag in half.values()):
        own.update(_half_precision(network, half, given))
        if any(block.attribute("channels_last") is True for block in blocks.values()):
            own["fp16_channels_last"] = True
    return own


def _half_precision(
    network: NetworkRecord, half: dict[int, bool], given: dict[str, Any]
) -> dict[str, Any]:
    """`num_fp16_res` from the blocks that use half precision: some of the largest, never 4x4."""
    sides = [side for side, flag in half.items() if flag]
    if sides != list(half)[len(half) - len(sides) :] or 4 in sides:
        raise network.reading.damaged(
            f"half precision in the blocks {sides} of {network.title}, which num_fp16_res cannot "
            "say"
        )
    asked = whole(given.get("num_fp16_res"))
    if asked is not None and min(asked, len(half) - 1) == len(sides):
        return {}  # it may well have asked for more blocks than there are
    return {"num_fp16_res": len(sides)}


def _blocks(network: NetworkRecord) -> dict[int, NetworkRecord]:
    """Blocks of the synthesis network by resolution, smallest first."""
    synthesis = network.children().get("synthesis")
    children = {} if synthesis is None else synthesis.children()
    blocks = {}
    for name, block in children.items():
        digits = name[1:]
        if name[:1] == "b" and digits.isascii() and digits.isdigit() and len(digits) < 8:
            blocks[int(digits)] = block
    return dict(sorted(blocks.items()))
