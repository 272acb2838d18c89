"""Writing a generator of another format as safetensors that carry their configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from latentpath.core import InputError, OutputExistsError, require_extra
from latentpath.generators.load import (
    LoadedGenerator,
    build_generator,
    load_encoder,
    read_generator,
)
from latentpath.generators.mapping import StyleGenerator
from latentpath.generators.state_dict import Configuration
from latentpath.generators.weights import save_encoder, save_generator


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
