"""From the records of published StyleGAN2 and StyleGAN3 networks to arguments of our own.

A published network says twice what it is: by the arguments that it was made with, and by the
attributes of its layers, which the published code runs by. Where the attributes are there, they
win; the arguments give the rest. StyleGAN2 networks that the StyleGAN3 code base wrote, whose
arguments have other defaults and no `synthesis_kwargs`, are read, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from latentpath.generators.published.bounded_reading import shown
from latentpath.generators.published.generator_options import (
    IDLE,
    PARTS,
    SIZES,
    checked_configuration,
    whole,
)
from latentpath.generators.published.pickle_records import NetworkRecord

_POSITIONAL = (*SIZES, *PARTS)  # of the published Generator.__init__, in its order


def configuration_of(
    network: NetworkRecord,
    synthesis_attributes: Callable[[NetworkRecord, dict[str, Any]], dict[str, Any]],
    kind: str,
) -> dict[str, Any]:
    """Keyword arguments of our network for a record of the published class `Generator`.

    Args:
        network: the record.
        synthesis_attributes: options of the synthesis network by its attributes, from the record
            and the options that were passed.
        kind: "stylegan2" or "stylegan3".

    Raises:
        WeightsError: arguments that are missing, unknown, of the wrong type, or contradicted by
            the network's own attributes.
    """
    given = arguments_of(network)
    sizes = {name: size_of(network, name, given.pop(name, None)) for name in SIZES}
    mapping, synthesis = (options_of(network, part, given.pop(part, None)) for part in PARTS)
    # The StyleGAN3 code base passes the synthesis network's options among the others.
    synthesis.update({name: value for name, value in given.items() if name not in IDLE})
    mapping.update(mapping_attributes(network))
    synthesis.update(synthesis_attributes(network, synthesis))
    return checked_configuration(
        {**sizes, "mapping_kwargs": mapping, "synthesis_kwargs": synthesis},
        lambda what: network.reading.damaged(f"{network.title} with {what}"),
        kind,
    )


def arguments_of(network: NetworkRecord) -> dict[str, Any]:
    """Arguments by name, whether they were passed by position or by keyword."""
    positional, keyword = network.attribute("_init_args"), network.attribute("_init_kwargs")
    positional = () if positional is None else positional
    keyword = {} if keyword is None else keyword
    if not isinstance(positional, (tuple, list)) or not isinstance(keyword, dict):
        raise network.reading.damaged(f"arguments of another form in {network.title}")
    if len(positional) > len(_POSITIONAL):
        raise network.reading.damaged(f"{len(positional)} positional arguments in {network.title}")
    given = dict(zip(_POSITIONAL, positional, strict=False))
    for name, value in keyword.items():
        if name in given or not isinstance(name, str):
            raise network.reading.damaged(f"the argument {shown(name)} twice in {network.title}")
        given[name] = value
    return given


def size_of(network: NetworkRecord, name: str, given: Any) -> Any:
    """One of `SIZES`, which the network's attribute and its argument agree on."""
    own = network.attribute(name)
    if own is not None and given is not None and whole(own) != whole(given):
        raise network.reading.damaged(
            f"{network.title} made with {name}={shown(given)}, whose {name} is {shown(own)}"
        )
    return given if own is None else own


def options_of(network: NetworkRecord, part: str, options: Any) -> dict[str, Any]:
    """The argument `part`, a dict of options."""
    if options is None:
        return {}
    if not isinstance(options, dict):
        raise network.reading.damaged(f"{shown(options)} as {part} of {network.title}")
    return dict(options)


def mapping_attributes(network: NetworkRecord) -> dict[str, Any]:
    """Options of the mapping network by its attributes and its layers'."""
    mapping = network.children().get("mapping")
    if mapping is None:
        return {}
    layers = [layer for name, layer in mapping.children().items() if name.startswith("fc")]
    return {
        **common(network, [mapping], "num_layers"),
        **common(network, [mapping], "w_avg_beta"),
        **common(network, layers, "activation"),
        **common(network, layers, "bias_gain", "lr_multiplier"),
    }


def common(
    network: NetworkRecord, parts: list[NetworkRecord], attribute: str, option: str | None = None
) -> dict[str, Any]:
    """{option: value} where all parts that have `attribute` have the same; {} if none has it."""
    values = [part.state[attribute] for part in parts if attribute in part.state]
    for value in values[1:]:
        if not _same(value, values[0]):
            raise network.reading.damaged(
                f"{network.title} with layers whose {attribute} is {shown(values[0])} here and "
                f"{shown(value)} there"
            )
    return {option or attribute: values[0]} if values else {}


def _same(first: Any, second: Any) -> bool:
    simple = (str, int, float, type(None))  # never a comparison of nested values
    return isinstance(first, simple) and isinstance(second, simple) and first == second


def stylegan2_configuration(network: NetworkRecord) -> dict[str, Any]:
    """Keyword arguments of `StyleGAN2` for a record of the published class `Generator`.

    Raises:
        WeightsError: arguments that are missing, unknown, of the wrong type, or contradicted by
            the network's own attributes.
    """
    return configuration_of(network, _stylegan2_attributes, "stylegan2")


def _stylegan2_attributes(network: NetworkRecord, given: dict[str, Any]) -> dict[str, Any]:
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


_OF_THE_NETWORK = ("num_layers", "num_critical", "margin_size", "output_scale", "num_fp16_res")


def stylegan3_configuration(network: NetworkRecord) -> dict[str, Any]:
    """Keyword arguments of `StyleGAN3` for a record of the published class `Generator`.

    Raises:
        WeightsError: arguments that are missing, unknown, of the wrong type, or contradicted by
            the network's own attributes.
    """
    return configuration_of(network, _stylegan3_attributes, "stylegan3")


def _stylegan3_attributes(network: NetworkRecord, _: dict[str, Any]) -> dict[str, Any]:
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
