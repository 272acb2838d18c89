"""Opening a generator from disk, and writing one of another format as safetensors of ours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from latentpath.core import InputError, OutputExistsError, WeightsError, require_extra
from latentpath.generators.autoencoder import AutoencoderEncoder, AutoencoderGenerator
from latentpath.generators.diffusers_folder import CONFIG, open_folder
from latentpath.generators.psp_checkpoint import psp_weights
from latentpath.generators.psp_encoder import PspEncoder
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
    read_json,
    read_safetensors,
    read_torch,
    weights_in,
)
from latentpath.generators.stylegan import StyleGAN2, StyleGAN3, StyleGenerator
from latentpath.generators.weights import (
    Weights,
    build,
    is_ours,
    read_weights,
    save_encoder,
    save_generator,
)

LoadedGenerator = StyleGenerator | AutoencoderGenerator
"""What is opened here: all of them follow `Generator`."""

GENERATORS: dict[str, type[StyleGenerator] | type[AutoencoderGenerator]] = {
    "stylegan2": StyleGAN2,
    "stylegan3": StyleGAN3,
    "autoencoder": AutoencoderGenerator,
}
"""Kinds of weights that are generators, with what they build."""

LoadedEncoder = AutoencoderEncoder | PspEncoder
"""Other projects' encoders that are opened here."""

ENCODERS: dict[str, type[AutoencoderEncoder] | type[PspEncoder]] = {
    "autoencoder encoder": AutoencoderEncoder,
    "psp encoder": PspEncoder,
}
"""Kinds of weights that are other projects' encoders, with what they build."""


def load_generator(
    path: str | Path,
    device: torch.device | str = "cpu",
    *,
    config: Configuration | None = None,
) -> LoadedGenerator:
    """Open a generator. Nothing that the file says is ever run.

    Args:
        path: a `.pkl` of the published StyleGAN2-ADA or StyleGAN3 (PyTorch) code; a safetensors
            file written by `latentpath train generator` or `latentpath convert`; a file of
            `torch.save` with `g_ema` in rosinality's form, or a checkpoint of pSp, whose decoder
            is one; a folder in which diffusers saved an `AutoencoderKL` (or a pipeline that has
            one), whose decoder is taken; or a plain state dict with the published names, in
            safetensors or of `torch.save`. Names with other suffixes are told apart by content.
        device: where to put it.
        config: for a plain state dict, the keyword arguments of `StyleGAN2` or a JSON file that
            holds them; left out, the file with the suffix `.json` beside it is taken. For an
            autoencoder's folder, what is to differ from its `config.json`, such as
            `{"sample_size": 256}` for images of that side.

    Returns:
        The generator in eval mode, without gradients for its weights.

    Raises:
        WeightsError: no such file, damaged, of another kind, of the wrong shape, or a pickle that
            asks for anything but a generator
            (`latentpath.generators.published.UnsafePickleError`).
        InputError: `config` for a file that holds its own.
    """
    return build_generator(read_generator(path, config), path).to(device)


def build_generator(weights: Weights, source: str | Path) -> LoadedGenerator:
    """The generator of `read_generator`'s weights, on the CPU."""
    remedy = "check the configuration, or get the file again from whoever made it"
    factory: Callable[..., Any] = GENERATORS[weights.kind]
    return build(weights, factory, source=source, remedy=remedy)


def read_generator(path: str | Path, config: Configuration | None = None) -> Weights:
    """Configuration and weights of a generator; see `load_generator`."""
    path = Path(path)
    kind = kind_of_file(path)
    if kind == "autoencoder":
        return _autoencoder("autoencoder", path, config)
    if kind == "torch":
        return weights_in(path, read_torch(path), config)
    if kind == "safetensors":
        return weights_in(path, read_safetensors(path), config)
    if config is not None:
        raise needs_no_configuration(path)
    if kind == "pickle":
        return read_published(path)
    weights = read_weights(path, kind=tuple(GENERATORS))
    if weights.kind == "autoencoder":
        return weights
    checked = checked_configuration(
        weights.config, lambda what: impossible(path, what), weights.kind
    )
    return replace(weights, config=checked)


def load_encoder(
    path: str | Path, device: torch.device | str = "cpu", *, config: Configuration | None = None
) -> LoadedEncoder:
    """Open the encoder that another project's file holds beside its generator.

    Args:
        path: a folder in which diffusers saved an `AutoencoderKL`; a checkpoint of pSp, e4e or
            ReStyle; or weights of ours that `latentpath convert --encoder` wrote.
        device: where to put it.
        config: see `load_generator`.

    Returns:
        The encoder in eval mode, images [M, C, H, H] in [-1, 1] to latents [M, D] of the generator
        that `load_generator` opens from the same file; where it answers with a latent for every
        layer, as most of pSp's do, of that generator's `per_layer()`.

    Raises:
        WeightsError: as of `load_generator`, or a file without an encoder.
    """
    path = Path(path)
    weights = read_encoder(path, config)
    remedy = "check the configuration, or get the file again from whoever made it"
    factory: Callable[..., Any] = ENCODERS[weights.kind]
    return build(weights, factory, source=path, remedy=remedy).to(device)


def read_encoder(path: Path, config: Configuration | None = None) -> Weights:
    """Configuration and weights of an encoder; see `load_encoder`."""
    kind = kind_of_file(path)
    if kind == "autoencoder":
        return _autoencoder("autoencoder encoder", path, config)
    if kind == "ours":
        return read_weights(path, kind=tuple(ENCODERS))
    if kind == "torch":
        return psp_weights(path, read_torch(path))
    raise WeightsError(
        expected=f"an encoder in {path}",
        got="a file that holds none",
        fix="train one for the generator: latentpath train encoder",
    )


def _autoencoder(kind: str, path: Path, config: Configuration | None) -> Weights:
    folder = open_folder(path, None if config is None else read_json(config))
    suffix = folder.weights.suffix
    read = read_safetensors if suffix == ".safetensors" else read_torch
    return folder.part(kind, read(folder.weights))


def kind_of_file(path: Path) -> str:
    """How to read a file: "autoencoder", "pickle", "torch", "ours" or other "safetensors".

    An autoencoder is a folder, or a safetensors file with diffusers' configuration beside it.
    """
    if path.is_dir():
        return "autoencoder"
    if path.suffix in (".pkl", ".pickle"):
        return "pickle"
    if path.suffix == ".safetensors":
        return _kind_of_safetensors(path)
    if not path.is_file():
        return "pickle"  # whose reader says what is there instead
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if is_torch_file(head):
        return "torch"
    return _kind_of_safetensors(path) if is_safetensors(head) else "pickle"


def _kind_of_safetensors(path: Path) -> str:
    if is_ours(path):
        return "ours"
    beside = (path.parent / CONFIG).is_file() and not path.with_suffix(".json").is_file()
    return "autoencoder" if beside else "safetensors"


@dataclass(frozen=True)
class Converted:
    """What `convert_generator` wrote."""

    path: Path
    """The safetensors file."""
    generator: LoadedGenerator
    """What is in it."""
    source: str
    """What it was read from, in words."""
    encoder: Path | None = None
    """The safetensors file of the encoder that was beside it, where that was asked for."""

    def lines(self) -> list[str]:
        """What it is, for a terminal."""
        lines = [f"generator: {self.path}, from {self.source}", *self.generator.described()]
        if self.encoder is not None:
            lines.append(f"encoder: {self.encoder}")
        return lines


def convert_generator(
    source: str | Path,
    target: str | Path,
    *,
    config: Configuration | None = None,
    half: bool = False,
    overwrite: bool = False,
    encoder: str | Path | None = None,
) -> Converted:
    """Read a generator as `load_generator` does and write it as safetensors.

    Args:
        source: what `load_generator` takes.
        target: the safetensors file, which appears whole or not at all.
        config: for a plain state dict; see `load_generator`.
        half: store the weights as float16.
        overwrite: replace a file that is there.
        encoder: where to write the encoder that `source` holds beside the generator; where it
            answers with a latent for each layer, the generator is written to take such latents.

    Raises:
        WeightsError: `source` cannot be read as a generator, or holds no encoder.
        OutputExistsError: `target` exists, and `overwrite` is not set.
        InputError: `target` is no place for a file, or is `source`.
    """
    source, target = Path(source), Path(target)
    second = None if encoder is None else Path(encoder)
    targets = [target] if second is None else [target, second]
    for place in targets:
        _check_target(source, place, overwrite)
    if second is not None and second.resolve() == target.resolve():
        raise InputError(
            expected="two places for two results", got=f"{target} twice", fix="name another file"
        )
    require_extra("safetensors.torch", "pipeline")  # before the work
    weights = read_generator(source, config)
    generator = build_generator(weights, source)
    beside = None if second is None else load_encoder(source, config=config)
    if beside is not None and beside.latent_dim != generator.latent_dim:
        # A latent for each layer, as most encoders of pSp answer.
        generator = generator.per_layer() if isinstance(generator, StyleGenerator) else generator
    for place in targets:
        _check_target(source, place, overwrite)
    save_generator(target, generator, notes=weights.notes, half=half)
    if second is not None and beside is not None:
        save_encoder(second, beside, notes=weights.notes, half=half)
    title = str(weights.notes.get("source", "latentpath weights"))
    return Converted(target, generator, title, second)


def _check_target(source: Path, target: Path, overwrite: bool) -> None:
    if target.exists() and source.exists() and target.samefile(source):
        raise InputError(
            expected="another place for the result", got=f"{target} twice", fix="name a new file"
        )
    if target.suffix != ".safetensors":
        raise InputError(
            expected="a name that ends in .safetensors for the result",
            got=str(target),
            fix="add the suffix, by which the format is known",
        )
    if target.is_dir() or (target.exists() and not overwrite):
        raise OutputExistsError(
            expected="a new file for the result",
            got=f"{target}, which exists",
            fix="choose another name"
            if target.is_dir()
            else "choose another name, or overwrite it",
        )
