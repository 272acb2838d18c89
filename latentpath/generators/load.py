"""Opening a generator from disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from latentpath.generators.mapping import StyleGenerator
from latentpath.generators.published.generator_options import checked_configuration
from latentpath.generators.published.published_file import (
    HEAD_BYTES,
    is_safetensors,
    is_torch_file,
    read_published,
)
from latentpath.generators.state_dict import (
    Configuration,
    impossible,
    needs_no_configuration,
    read_safetensors,
    read_torch,
    weights_in,
)
from latentpath.generators.stylegan2 import StyleGAN2
from latentpath.generators.stylegan3 import StyleGAN3
from latentpath.generators.weights import Weights, build, is_ours, read_weights

GENERATORS: dict[str, type[StyleGenerator]] = {
    "stylegan2": StyleGAN2,
    "stylegan3": StyleGAN3,
}
"""Kinds of weights that are generators, with what they build."""


def load_generator(
    path: str | Path,
    device: torch.device | str = "cpu",
    *,
    config: Configuration | None = None,
) -> StyleGenerator:
    """Open a generator. Nothing that the file says is ever run.

    Args:
        path: a `.pkl` of the published StyleGAN2-ADA or StyleGAN3 (PyTorch) code; a safetensors
            file written by `latentpath train generator` or `latentpath convert`; a file of
            `torch.save` with `g_ema` in rosinality's form, or a checkpoint of pSp, whose decoder
            is one; or a plain state dict with the published names, in safetensors or of
            `torch.save`. Names with other suffixes are told apart by content.
        device: where to put it.
        config: for a plain state dict, the keyword arguments of `StyleGAN2` or a JSON file that
            holds them; left out, the file with the suffix `.json` beside it is taken.

    Returns:
        The generator in eval mode, without gradients for its weights.

    Raises:
        WeightsError: no such file, damaged, of another kind, of the wrong shape, or a pickle that
            asks for anything but a generator
            (`latentpath.generators.published.UnsafePickleError`).
        InputError: `config` for a file that holds its own.
    """
    return build_generator(read_generator(path, config), path).to(device)


def build_generator(weights: Weights, source: str | Path) -> StyleGenerator:
    """The generator of `read_generator`'s weights, on the CPU."""
    remedy = "check the configuration, or get the file again from whoever made it"
    return build(weights, GENERATORS[weights.kind], source=source, remedy=remedy)


def read_generator(path: str | Path, config: Configuration | None = None) -> Weights:
    """Configuration and weights of a generator; see `load_generator`."""
    path = Path(path)
    kind = _kind(path)
    if kind == "torch":
        return weights_in(path, read_torch(path), config)
    if kind == "safetensors" and not is_ours(path):
        return weights_in(path, read_safetensors(path), config)
    if config is not None:
        raise needs_no_configuration(path)
    if kind == "pickle":
        return read_published(path)
    weights = read_weights(path, kind=tuple(GENERATORS))
    checked = checked_configuration(
        weights.config, lambda what: impossible(path, what), weights.kind
    )
    return replace(weights, config=checked)


def _kind(path: Path) -> str:
    """How to read a file: "pickle", "torch" or "safetensors"."""
    if path.suffix in (".pkl", ".pickle"):
        return "pickle"
    if path.suffix == ".safetensors":
        return "safetensors"
    if not path.is_file():
        return "pickle"  # whose reader says what is there instead
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if is_torch_file(head):
        return "torch"
    return "safetensors" if is_safetensors(head) else "pickle"
