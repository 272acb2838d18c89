"""Plain state dicts: tensors by name, with the configuration beside them."""

from __future__ import annotations

import argparse
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentpath.core import InputError, WeightsError, require_extra
from latentpath.generators.checkpoint_forms import (
    check_plain,
    form_of,
    refused,
    rosinality_weights,
)
from latentpath.generators.published.bounded_reading import shown
from latentpath.generators.published.generator_options import checked_configuration
from latentpath.generators.weights import Weights

Configuration = Mapping[str, Any] | str | Path
"""Keyword arguments of `StyleGAN2`, or a JSON file that holds them."""

_CONFIG_BYTES = 1 << 20
_LONGEST_REASON = 200


def weights_in(path: str | Path, value: Any, config: Configuration | None = None) -> Weights:
    """The generator among a file's tensors, with the configuration that belongs to it.

    Args:
        path: the file.
        value: its content: tensors by name, or a dict of such dicts.
        config: for a plain state dict, keyword arguments of `StyleGAN2`, or a JSON file with them;
            left out, the file beside `path` with its name and the suffix `.json`.

    Raises:
        WeightsError: tensors that are no generator's weights, or no usable configuration.
        InputError: `config` for a file whose form tells its own.
    """
    path = Path(path)
    form = form_of(path, value)
    check_plain(path, form)
    if not form.rosinality:
        notes = {"source": form.title}
        return Weights("stylegan2", read_configuration(path, config), notes, form.state)
    if config is not None:
        raise needs_no_configuration(path)
    return rosinality_weights(path, form)


def needs_no_configuration(path: Path) -> InputError:
    """The error for config= where a file tells its own."""
    return InputError(
        expected="config= for a plain state dict alone",
        got=f"{path}, which holds its own configuration",
        fix="leave config= out",
    )


def read_configuration(path: Path, config: Configuration | None = None) -> dict[str, Any]:
    """Keyword arguments of `StyleGAN2` for the weights at `path`; see `weights_in`."""
    if config is None:
        config = path.with_suffix(".json")
        if not config.is_file():
            raise WeightsError(
                expected=f"a configuration for the state dict {path}",
                got=f"neither config= nor a file {config.name} beside it",
                fix="pass the keyword arguments of StyleGAN2 as config={...}, or write them to "
                "that file",
            )
    place = "config=" if isinstance(config, Mapping) else config
    return checked_configuration(read_json(config), lambda what: impossible(place, what))


def read_json(config: Configuration) -> dict[str, Any]:
    """A configuration as a dict, read from its file where it is one's path.

    Raises:
        WeightsError: no file with a JSON object of a sensible size.
        InputError: neither a dict nor a path.
    """
    if isinstance(config, Mapping):
        return dict(config)
    if not isinstance(config, (str, Path)):
        raise InputError(
            expected="config as a dict, or the path of a JSON file",
            got=f"a {type(config).__name__}",
            fix="pass the keyword arguments of StyleGAN2",
        )
    try:
        with Path(config).open("rb") as file:
            text = file.read(_CONFIG_BYTES + 1)
        found = json.loads(text) if len(text) <= _CONFIG_BYTES else None
    except (OSError, ValueError, RecursionError) as error:
        raise impossible(config, str(error)) from error
    if not isinstance(found, dict):
        raise impossible(config, "no JSON object of a sensible size")
    return found


def impossible(place: object, got: str) -> WeightsError:
    """The error for a configuration that cannot be."""
    return WeightsError(
        expected=f"keyword arguments of StyleGAN2 in {place}",
        got=got,
        fix='write {"z_dim": 512, "c_dim": 0, "w_dim": 512, "img_resolution": 256, '
        '"img_channels": 3, "mapping_kwargs": {...}, "synthesis_kwargs": {...}}',
    )


def read_safetensors(path: Path, names: Sequence[str] | None = None) -> dict[str, Tensor]:
    """Tensors by name from a safetensors file, all or `names`; WeightsError if it is none."""
    safetensors = require_extra("safetensors", "pipeline")
    try:
        with safetensors.safe_open(path, framework="pt", device="cpu") as file:
            wanted = file.keys() if names is None else names
            return {name: file.get_tensor(name) for name in wanted}
    except (safetensors.SafetensorError, OSError) as error:
        raise refused(path, str(error)) from error


def read_torch(path: Path) -> Any:
    """The content of a file of `torch.save`, by its reader that runs nothing.

    Besides tensors and plain values it may hold `argparse.Namespace`, which training scripts save
    their options as: a bag of attributes that does nothing. Tensors of the present format lie
    where they are on the disk until they are used.

    Raises:
        WeightsError: damaged, or holding anything else.
    """
    try:
        lazily = zipfile.is_zipfile(path)
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=lazily or None)
    except Exception as error:  # of a dozen kinds, by where the file is damaged
        raise refused(path, _reason(error)) from error


def _reason(error: Exception) -> str:
    """What is wrong with a file, without `torch.load`'s advice to run what is in it."""
    text = str(error)
    if named := re.search(r"GLOBAL (\S+)", text):
        return f"the name {shown(named[1])}, which no state dict holds"
    text = text.rpartition("WeightsUnpickler error:")[2].strip()
    return text.splitlines()[0][:_LONGEST_REASON] if text else type(error).__name__
