"""From the records of a published pickle to the weights of our `StyleGAN2`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from latentpath.generators.published.configuration import configuration
from latentpath.generators.published.errors import ForeignFileError, shown
from latentpath.generators.published.reading import WANTED, Reading
from latentpath.generators.published.records import NetworkRecord, TensorRecord
from latentpath.generators.weights import Weights

_GENERATORS = ("G_ema", "G")  # the averaged one is what the published code makes images with
_CLASS = "Generator"
_STYLEGAN3_LAYER = re.compile(r"L\d+_\d+_\d+")
_DEEPEST = 4  # synthesis, b4, conv1, affine


def weights_of(value: Any, reading: Reading) -> Weights:
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


def _choose(value: Any, reading: Reading) -> tuple[str, NetworkRecord]:
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


def _check_is_stylegan2(network: NetworkRecord, reading: Reading) -> None:
    children = network.children()
    synthesis = children.get("synthesis")
    layers = {} if synthesis is None else synthesis.children()
    if "input" in layers or any(_STYLEGAN3_LAYER.fullmatch(name) for name in layers):
        raise _foreign(reading, "a StyleGAN3 generator, which has no blocks of one resolution")
    if network.class_name != _CLASS or synthesis is None or "mapping" not in children:
        raise _foreign(reading, network.title)


def _tensors(
    network: NetworkRecord, prefix: str, depth: int, reading: Reading
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


def _build(name: str, record: TensorRecord, reading: Reading) -> Tensor:
    if not record.storage.dtype.is_floating_point:
        raise reading.damaged(f"{shown(name)} of type {record.storage.dtype}")
    tensor = record.build().to(torch.float32)
    if name.endswith(".resample_filter") and tensor.ndim == 1:
        # Filters of eight and more taps are kept as one row, to be applied twice.
        return tensor.outer(tensor)
    return tensor


def _foreign(reading: Reading, got: str) -> ForeignFileError:
    return ForeignFileError(
        expected=f"{WANTED} in {reading.path}",
        got=got,
        fix="open a StyleGAN2 network-snapshot-*.pkl of the published PyTorch code",
    )
