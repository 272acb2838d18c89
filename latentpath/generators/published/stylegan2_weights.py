"""From the records of a published pickle to the weights and arguments of our `StyleGAN2`.

A published network says twice what it is: by the arguments that it was made with, and by the
attributes of its layers, which the published code runs by. Where the attributes are there, they
win; the arguments give the rest. That also reads StyleGAN2 networks that the StyleGAN3 code base
wrote, whose arguments have other defaults and no `synthesis_kwargs`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from latentpath.generators.published.bounded_reading import (
    WANTED,
    BoundedReading,
    ForeignFileError,
    shown,
)
from latentpath.generators.published.pickle_records import NetworkRecord, TensorRecord
from latentpath.generators.published.stylegan2_options import (
    IDLE,
    PARTS,
    SIZES,
    checked_configuration,
    whole,
)
from latentpath.generators.weights import Weights

_POSITIONAL = (*SIZES, *PARTS)  # of the published Generator.__init__, in its order
_GENERATORS = ("G_ema", "G")  # the averaged one is what the published code makes images with
_CLASS = "Generator"
_STYLEGAN3_LAYER = re.compile(r"L\d+_\d+_\d+")
_DEEPEST = 4  # synthesis, b4, conv1, affine


def configuration(network: NetworkRecord) -> dict[str, Any]:
    """Keyword arguments of `StyleGAN2` for a record of the published class `Generator`.

    Raises:
        WeightsError: arguments that are missing, unknown, of the wrong type, or contradicted by
            the network's own attributes.
    """
    given = _arguments(network)
    sizes = {name: _size(network, name, given.pop(name, None)) for name in SIZES}
    mapping, synthesis = (_options(network, part, given.pop(part, None)) for part in PARTS)
    # The StyleGAN3 code base passes the synthesis network's options among the others.
    synthesis.update({name: value for name, value in given.items() if name not in IDLE})
    mapping.update(_mapping_attributes(network))
    synthesis.update(_synthesis_attributes(network, synthesis))
    return checked_configuration(
        {**sizes, "mapping_kwargs": mapping, "synthesis_kwargs": synthesis},
        lambda what: network.reading.damaged(f"{network.title} with {what}"),
    )


def _arguments(network: NetworkRecord) -> dict[str, Any]:
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


def _size(network: NetworkRecord, name: str, given: Any) -> Any:
    own = network.attribute(name)
    if own is not None and given is not None and whole(own) != whole(given):
        raise network.reading.damaged(
            f"{network.title} made with {name}={shown(given)}, whose {name} is {shown(own)}"
        )
    return given if own is None else own


def _options(network: NetworkRecord, part: str, options: Any) -> dict[str, Any]:
    if options is None:
        return {}
    if not isinstance(options, dict):
        raise network.reading.damaged(f"{shown(options)} as {part} of {network.title}")
    return dict(options)


def _mapping_attributes(network: NetworkRecord) -> dict[str, Any]:
    mapping = network.children().get("mapping")
    if mapping is None:
        return {}
    layers = [layer for name, layer in mapping.children().items() if name.startswith("fc")]
    return {
        **_common(network, [mapping], "num_layers"),
        **_common(network, [mapping], "w_avg_beta"),
        **_common(network, layers, "activation"),
        **_common(network, layers, "bias_gain", "lr_multiplier"),
    }


def _synthesis_attributes(network: NetworkRecord, given: dict[str, Any]) -> dict[str, Any]:
    blocks = _blocks(network)
    inner = [block.children() for block in blocks.values()]
    layers = [child[name] for child in inner for name in ("conv0", "conv1") if name in child]
    colours = [child["torgb"] for child in inner if "torgb" in child]
    own = {
        **_common(network, list(blocks.values()), "architecture"),
        **_common(network, layers, "use_noise"),
        **_common(network, layers, "activation"),
        **_common(network, [*layers, *colours], "conv_clamp"),
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


def _common(
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


def weights_of(value: Any, reading: BoundedReading) -> Weights:
    """The weights of the generator in a pickle's value.

    Args:
        value: what the pickle holds: a dict of networks, or one network.
        reading: bounds and errors.

    Raises:
        WeightsError: no generator, another model than StyleGAN2, or a contradictory one.
    """
    name, network = _choose(value, reading)
    _check_is_stylegan2(network, reading)
    config = configuration(network)
    records = dict(_tensors(network, "", 0, reading))
    for record in records.values():
        reading.count_copied(record.cost())
    state = {key: _build(key, record, reading) for key, record in records.items()}
    notes = {"source": "published StyleGAN2-ADA pickle", "network": name}
    return Weights("stylegan2", config, notes, state)


def _choose(value: Any, reading: BoundedReading) -> tuple[str, NetworkRecord]:
    if isinstance(value, NetworkRecord):
        return "itself", value
    if not isinstance(value, dict):
        raise _foreign(reading, f"{shown(value)}")
    for name in _GENERATORS:
        if isinstance(network := value.get(name), NetworkRecord):
            return name, network
        if network is not None:
            raise _foreign(reading, f"{shown(network)} as {name}")
    keys = ", ".join(shown(key) for key in list(value)[:8])
    raise _foreign(reading, f"a dict without G_ema or G, of the keys {keys or 'none'}")


def _check_is_stylegan2(network: NetworkRecord, reading: BoundedReading) -> None:
    children = network.children()
    synthesis = children.get("synthesis")
    layers = {} if synthesis is None else synthesis.children()
    if "input" in layers or any(_STYLEGAN3_LAYER.fullmatch(name) for name in layers):
        raise _foreign(reading, "a StyleGAN3 generator, which has no blocks of one resolution")
    if network.class_name != _CLASS or synthesis is None or "mapping" not in children:
        raise _foreign(reading, network.title)


def _tensors(
    network: NetworkRecord, prefix: str, depth: int, reading: BoundedReading
) -> Iterator[tuple[str, TensorRecord]]:
    """Parameters and buffers by their names in a state dict."""
    if depth > _DEEPEST:  # a network may contain itself, or the same part many times
        raise reading.damaged(f"a network nested more than {_DEEPEST} deep in {network.title}")
    tensors, children = network.tensors(), network.children()
    reading.count_items(1 + len(tensors))
    for name, record in tensors.items():
        yield prefix + name, record
    for name, child in children.items():
        yield from _tensors(child, f"{prefix}{name}.", depth + 1, reading)


def _build(name: str, record: TensorRecord, reading: BoundedReading) -> Tensor:
    if not record.storage.dtype.is_floating_point:
        raise reading.damaged(f"{shown(name)} of type {record.storage.dtype}")
    tensor = record.build().to(torch.float32)
    if name.endswith(".resample_filter") and tensor.ndim == 1:
        # Filters of eight and more taps are kept as one row, to be applied twice.
        return tensor.outer(tensor)
    return tensor


def _foreign(reading: BoundedReading, got: str) -> ForeignFileError:
    return ForeignFileError(
        expected=f"{WANTED} in {reading.path}",
        got=got,
        fix="open a StyleGAN2 network-snapshot-*.pkl of the published PyTorch code",
    )
