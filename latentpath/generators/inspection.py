"""What a weights file is, told without loading its weights.

Of safetensors the header is read, of files of `torch.save` the list of their tensors, of folders
that diffusers saved the configuration and the header. A published pickle has no header: it is read
through, and no tensor of it is built. Nothing of a file is run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentpath.core import WeightsError
from latentpath.generators.checkpoint_forms import form_of, refused, rosinality_configured
from latentpath.generators.diffusers_folder import open_folder
from latentpath.generators.load import ENCODERS, GENERATORS, kind_of_file
from latentpath.generators.published.bounded_reading import shown
from latentpath.generators.published.published_file import find_published
from latentpath.generators.state_dict import (
    Configuration,
    read_configuration,
    read_json,
    read_safetensors,
    read_torch,
)
from latentpath.generators.weights import Shapes, TrainedOn, Weights, read_header, sketch

_CHECKPOINT = {"format", "config", "data", "rng", "state"}
_MOST_TAPS = 64 * 64
_CONVERT = "latentpath convert"
_FOLDER = (
    "an encoder, an identity and a class classifier for it: put it into a weights folder with "
    f"`{_CONVERT}` and name the folder as --out of `latentpath train`"
)

_WITH_ENCODER = (
    f"no encoder of ours: `{_CONVERT}` with --encoder takes its own along into a weights folder",
    "an identity and a class classifier: `latentpath train`",
)


@dataclass(frozen=True)
class WeightsFacts(TrainedOn):
    """What a file holds."""

    path: Path
    """The file or folder."""
    title: str
    """What it is, in a few words."""
    lines: tuple[str, ...] = ()
    """What is in it."""
    needs: tuple[str, ...] = ()
    """What it takes to make images, or a set, with it."""
    side: int | None = None
    """Of its images, pixels."""

    def report(self) -> list[str]:
        """All of it, a line for each finding."""
        needs = [f"needs: {each}" for each in self.needs]
        return [f"file: {self.path}", f"what: {self.title}", *self.lines, *needs]


def inspect_weights(path: str | Path, config: Configuration | None = None) -> WeightsFacts:
    """Say what a weights file is, without loading its weights.

    Args:
        path: any file or folder that `load_generator` or `load_encoder` opens, and all weights and
            checkpoints of latentpath.
        config: as of `load_generator`.

    Raises:
        WeightsError: no such file, damaged, hostile, or nothing of the kind; the message says what
            it is instead.
    """
    path = Path(path)
    kind = kind_of_file(path)
    if kind == "ours":
        weights, shapes = read_header(path)
        if weights is None:
            raise refused(path, "safetensors without our metadata")
        return header_facts(path, weights, shapes)
    if kind == "autoencoder":
        return _autoencoder(path, config)
    if kind == "pickle":
        found = find_published(path)
        return _generator(path, found.source, found.kind, found.config)
    if kind == "safetensors":
        return _tensors(path, _sketched(path), config)
    value = read_torch(path)
    if isinstance(value, Mapping) and value.keys() == _CHECKPOINT:
        made = value["config"].get("kind") if isinstance(value["config"], Mapping) else None
        title = f"a checkpoint of a training by latentpath ({shown(made)})"
        needs = "its place beside the weights, where the same `latentpath train` goes on from it"
        return WeightsFacts(path, title, (), (needs,))
    return _tensors(path, value, config)


def _tensors(path: Path, value: Any, config: Configuration | None) -> WeightsFacts:
    form = form_of(path, value)
    beside: tuple[str, ...] = ()
    if form.encoder:
        beside = ("encoder: beside it, of the same checkpoint",)
    if form.rosinality:
        facts = _generator(path, form.title, "stylegan2", rosinality_configured(path, form))
        average = "in the file" if form.average is not None else "of 10,000 draws, not in the file"
        lines = (*facts.lines, f"average of w: {average}", *beside)
        needs = _WITH_ENCODER if form.encoder else facts.needs
        return WeightsFacts(**{**vars(facts), "lines": lines, "needs": needs})
    numbers = sum(tensor.numel() for tensor in form.state.values())
    content = f"content: {len(form.state):,} tensors, {numbers:,} numbers"
    try:
        found = read_configuration(path, config)
    except WeightsError as error:
        if config is not None or path.with_suffix(".json").is_file():
            raise
        needs = (f"a configuration: {error.fix}",)
        return WeightsFacts(path, f"{form.title}, of names alone", (content, *beside), needs)
    return _generator(path, form.title, "stylegan2", found)


def _generator(
    path: Path, title: str, kind: str, config: dict[str, Any], needs: tuple[str, ...] = (_FOLDER,)
) -> WeightsFacts:
    network: Any = sketch(kind, GENERATORS[kind], config, path)
    return WeightsFacts(
        path,
        f"a generator, {title}",
        tuple(network.described()),
        needs,
        channels=network.img_channels,
        side=network.img_resolution,
        classes=network.c_dim,
    )


def _autoencoder(path: Path, config: Configuration | None) -> WeightsFacts:
    folder = open_folder(path, None if config is None else read_json(config))
    title = "diffusers' AutoencoderKL"
    return _generator(path, title, "autoencoder", folder.config, _WITH_ENCODER)


def header_facts(path: Path, weights: Weights, shapes: Shapes) -> WeightsFacts:
    """What a file of ours holds, by its header.

    Args:
        path: of the file.
        weights: what `read_header` returned.
        shapes: likewise.
    """
    if weights.kind in GENERATORS:
        facts = _generator(path, f"{weights.kind} of latentpath", weights.kind, weights.config)
        source = weights.notes.get("source")
        lines = _tried(weights) if source is None else [f"source: {source}", *_tried(weights)]
        return _with(facts, *lines)
    numbers = sum(torch.Size(shape).numel() for shape in shapes.values())
    content = f"content: {len(shapes):,} tensors, {numbers:,} numbers"
    config = {name: value for name, value in weights.config.items() if name != "source"}
    sizes = ", ".join(f"{name} {value}" for name, value in config.items())
    names = weights.notes.get("class_names")
    known = weights.config.get("num_classes")
    identity = weights.kind == "identity"
    return WeightsFacts(
        path,
        f"{weights.kind} of latentpath",
        (content, f"sizes: {sizes}", *_made(weights)),
        ("the generator that lay in its weights folder",) if weights.kind in _OF_A_FOLDER else (),
        channels=weights.config.get("img_channels", weights.config.get("channels")),
        side=weights.config.get("img_resolution", weights.config.get("sample_size")),
        classes=known if weights.kind == "classifier" else None,
        people=known if identity else None,
        class_names=tuple(map(str, names)) if isinstance(names, list) and not identity else (),
    )


_OF_A_FOLDER = ("encoder", "surrogate", "predictor", *ENCODERS)


def _made(weights: Weights) -> list[str]:
    """How it was made, by its notes."""
    told = []
    if (images := weights.notes.get("images")) is not None:
        told.append(f"trained on: {shown(images)} images")
    if isinstance(result := weights.notes.get("result"), Mapping):
        figures = ", ".join(f"{name} {value:.4g}" for name, value in result.items()
                            if isinstance(value, int | float))  # fmt: skip
        told.append(f"result: {figures}")
    return told + _tried(weights)


def _tried(weights: Weights) -> list[str]:
    """That a trial trained it, where one did."""
    return ["trained by a trial, far too short"] if weights.notes.get("trial") is True else []


def _with(facts: WeightsFacts, *lines: str) -> WeightsFacts:
    return WeightsFacts(**{**vars(facts), "lines": (*facts.lines, *lines)})


def _sketched(path: Path) -> dict[str, Tensor]:
    """A safetensors file's tensors by name, of numbers only the filters, which are small."""
    shapes = read_header(path)[1]
    small = [
        name
        for name, shape in shapes.items()
        if name.endswith(".kernel") and torch.Size(shape).numel() <= _MOST_TAPS
    ]
    filters = read_safetensors(path, small)
    return {
        name: filters[name] if name in filters else torch.empty(shape, device="meta")
        for name, shape in shapes.items()
    }
