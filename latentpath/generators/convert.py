"""Writing a generator of another format as safetensors that carry their configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from latentpath.core import InputError, OutputExistsError, require_extra
from latentpath.generators.load import build_generator, read_generator
from latentpath.generators.mapping import StyleGenerator
from latentpath.generators.state_dict import Configuration
from latentpath.generators.weights import save_generator


@dataclass(frozen=True)
class Converted:
    """What `convert_generator` wrote."""

    path: Path
    """The safetensors file."""
    generator: StyleGenerator
    """What is in it."""
    source: str
    """What it was read from, in words."""

    def lines(self) -> list[str]:
        """What it is, for a terminal."""
        g = self.generator
        labels = f"{g.c_dim} classes" if g.c_dim else "no classes"
        colours = {1: "grey", 3: "colour"}.get(g.img_channels, f"{g.img_channels} channels")
        weights = sum(p.numel() for p in g.parameters())
        return [
            f"generator: {self.path}, from {self.source}",
            f"images: {g.img_resolution}x{g.img_resolution} pixels, {colours}, {labels}",
            f"latents: z {g.z_dim}, w {g.w_dim}, {g.num_ws} layers",
            f"network: {g.form()}, {weights:,} parameters, channels "
            f"{', '.join(map(str, g.channels()))} {g.from_where}",
        ]


def convert_generator(
    source: str | Path,
    target: str | Path,
    *,
    config: Configuration | None = None,
    half: bool = False,
    overwrite: bool = False,
) -> Converted:
    """Read a generator as `load_generator` does and write it as safetensors.

    Args:
        source: what `load_generator` takes.
        target: the safetensors file, which appears whole or not at all.
        config: for a plain state dict; see `load_generator`.
        half: store the weights as float16.
        overwrite: replace a file that is there.

    Raises:
        WeightsError: `source` cannot be read as a generator.
        OutputExistsError: `target` exists, and `overwrite` is not set.
        InputError: `target` is no place for a file, or is `source`.
    """
    source, target = Path(source), Path(target)
    _check_target(source, target, overwrite)
    require_extra("safetensors.torch", "pipeline")  # before the work
    weights = read_generator(source, config)
    generator = build_generator(weights, source)
    _check_target(source, target, overwrite)
    save_generator(target, generator, notes=weights.notes, half=half)
    return Converted(target, generator, str(weights.notes.get("source", "latentpath weights")))


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
