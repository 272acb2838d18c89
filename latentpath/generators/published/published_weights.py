"""From the records of a published pickle to the weights and arguments of a generator of ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from latentpath.generators.published.bounded_reading import (
    WANTED,
    BoundedReading,
    ForeignFileError,
    shown,
)
from latentpath.generators.published.network_configuration import (
    edition,
    stylegan2_configuration,
    stylegan3_configuration,
)
from latentpath.generators.published.pickle_records import NetworkRecord, TensorRecord
from latentpath.generators.weights import Weights

_GENERATORS = ("G_ema", "G")  # the averaged one is what the published code makes images with
_CLASS = "Generator"
_STYLEGAN3_LAYER = re.compile(r"L\d+_\d+_\d+")
_DEEPEST = 4  # synthesis, b4, conv1, affine


@dataclass(frozen=True)
class FoundGenerator:
    """A generator in a pickle, before its tensors are built."""

    kind: str
    """"stylegan2" or "stylegan3"."""
    config: dict[str, Any]
    """Keyword arguments of our class."""
    source: str
    """What it is from, in words."""
    name: str
    """Under which it lies in the pickle."""
    record: NetworkRecord
    """Its description."""


def generator_in(value: Any, reading: BoundedReading) -> FoundGenerator:
    """The generator in a pickle's value; arguments and errors as of `weights_of`."""
    name, network = _choose(value, reading)
    if kind_of(network, reading) == "stylegan3":
        config = stylegan3_configuration(network)
        source = f"published {edition(config)} pickle"
        return FoundGenerator("stylegan3", config, source, name, network)
    config = stylegan2_configuration(network)
    return FoundGenerator("stylegan2", config, "published StyleGAN2-ADA pickle", name, network)


def weights_of(value: Any, reading: BoundedReading) -> Weights:
    """The weights of the generator in a pickle's value.

    Args:
        value: what the pickle holds: a dict of networks, or one network.
        reading: bounds and errors.

    Raises:
        WeightsError: no generator, another model than StyleGAN2 and 3, or a contradictory one.
    """
    found = generator_in(value, reading)
    records = dict(_tensors(found.record, "", 0, reading))
    for record in records.values():
        reading.count_copied(record.cost())
    state = {key: _build(key, record, reading) for key, record in records.items()}
    notes = {"source": found.source, "network": found.name}
    return Weights(found.kind, found.config, notes, state)


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


def kind_of(network: NetworkRecord, reading: BoundedReading) -> str:
    """ "stylegan2" or "stylegan3"; raises ForeignFileError for any other network."""
    children = network.children()
    synthesis = children.get("synthesis")
    if network.class_name != _CLASS or synthesis is None or "mapping" not in children:
        raise _foreign(reading, network.title)
    layers = synthesis.children()
    alias_free = "input" in layers or any(_STYLEGAN3_LAYER.fullmatch(name) for name in layers)
    return "stylegan3" if alias_free else "stylegan2"


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
        fix="open a network-snapshot-*.pkl of the published StyleGAN2 or StyleGAN3 PyTorch code",
    )
