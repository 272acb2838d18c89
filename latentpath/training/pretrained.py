"""A trained generator that another training starts from: fine-tuning, and growing."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from latentpath.core import (
    InputError,
    LatentpathWarning,
    WeightsError,
    hash_file,
    hash_tensors,
)
from latentpath.generators import (
    StyleGAN2,
    build_generator,
    load_generator,
    people_noted,
    read_generator,
)
from latentpath.training.checkpoint import read_checkpoint
from latentpath.training.generator_config import GeneratorConfig
from latentpath.training.growing import State

# Of the file beside a generator's checkpoint that holds the best weights of its training so far.
BEST_SUFFIX = ".best.safetensors"


@dataclass(frozen=True)
class Pretrained:
    """The networks that a training starts from."""

    generator: StyleGAN2
    """The moving average, which is the generator that weights files hold."""
    checksum: str
    """SHA-256 of its file, or of its tensors where there is no file."""
    images_seen: int | None = None
    """Images that it and the generators that it started from were trained on, where known."""
    raw: State | None = None
    """Weights of the generator as the discriminator knows it; None takes the moving average."""
    discriminator: State | None = None
    """Weights of the discriminator; None starts it afresh."""
    augment: float = 0.0
    """The augmentation's probability that the discriminator is used to."""
    people: str | None = None
    """Fingerprint of the people whom it was trained on, where its file notes that."""

    def notes(self) -> dict[str, Any]:
        """What a weights file says about where its training started."""
        seen = {} if self.images_seen is None else {"images seen": self.images_seen}
        return {
            "sha256": self.checksum,
            "resolution": self.generator.img_resolution,
            "discriminator": "fresh" if self.discriminator is None else "taken over",
            **seen,
            **({} if self.people is None else {"people": self.people}),
        }


def load_pretrained(path: str | Path) -> Pretrained:
    """Open a generator for a training to start from, and the discriminator that trained it.

    Args:
        path: what `load_generator` opens. Where a checkpoint of the same training lies beside it
            (with the suffix .checkpoint), the discriminator and the generator without averaging
            are taken from there: the checkpoint holds the same weights, or went on after these,
            which the training kept for the best (with the suffix .best.safetensors).

    Raises:
        WeightsError: as of `load_generator`, or a checkpoint that cannot be read.

    Warns:
        LatentpathWarning: there is no such checkpoint; the discriminator will start afresh.
    """
    path = Path(path)
    weights = read_generator(path)
    generator = _trainable(build_generator(weights, path))
    checksum = hash_file(path)
    seen, people = _images_seen(weights.notes), people_noted(weights.notes)
    pretrained = Pretrained(generator, checksum, seen, people=people)
    beside = path.with_suffix(".checkpoint")
    reason = f"no checkpoint {beside.name} lies beside the generator"
    if beside.is_file():
        saved = read_checkpoint(beside)
        if saved["config"].get("kind") != GeneratorConfig.__name__:
            reason = f"{beside.name} is no checkpoint of a generator's training"
        elif not _is_of_training(generator.state_dict(), saved["state"]["ema"], path):
            reason = f"{beside.name} holds other weights than the generator"
        else:
            state = saved["state"]
            return replace(
                pretrained,
                raw=state["generator"],
                discriminator=state["discriminator"],
                augment=float(state["counters"]["p"]),
            )
    warnings.warn(f"{reason}: the discriminator starts afresh", LatentpathWarning, stacklevel=2)
    return pretrained


def as_pretrained(initial: object) -> Pretrained:
    """What `train_generator` takes as `initial`, as `Pretrained`; InputError if it is neither."""
    if isinstance(initial, Pretrained):
        return initial
    generator = _trainable(initial)
    return Pretrained(generator, hash_tensors(generator.state_dict()))


def _trainable(generator: object) -> StyleGAN2:
    """A generator if it is of the kind that is trained here."""
    if isinstance(generator, StyleGAN2):
        return generator
    raise InputError(
        expected="a StyleGAN2, or what load_pretrained returns, to start from",
        got=f"a {type(generator).__name__}",
        fix="other generators make images here and are not trained: put the file into the weights "
        "folder with `latentpath convert`, or start from a StyleGAN2",
    )


def config_of(
    pretrained: Pretrained,
    config: GeneratorConfig,
    *,
    resolution: int,
    channels: int,
    num_classes: int,
) -> GeneratorConfig:
    """`config` with what it leaves open taken from a generator that it is known to fit.

    Args:
        pretrained: the generator to start from.
        config: how to train; sizes of 0 are open.
        resolution: side of the training images, pixels.
        channels: of the training images.
        num_classes: of the training images.

    Raises:
        WeightsError: the generator is larger than the images, of other channels, of other classes,
            or of other sizes than `config` names; or it cannot grow.
    """
    own = pretrained.generator
    _check_images(own, resolution, channels)
    c_dim = num_classes if config.conditional else 0
    if own.c_dim != c_dim:
        if own.c_dim == 0:
            fix = "pass --no-conditional, for a generator that knows no classes"
        elif config.conditional:
            fix = "give data of as many classes, or start from another generator"
        else:
            fix = "leave --no-conditional out"
        raise _misfit(_class_count(c_dim), _class_count(own.c_dim), fix)
    sizes = sizes_of(own)
    for name in ("z_dim", "w_dim", "mapping_layers"):
        asked = getattr(config, name)
        if asked not in (0, sizes[name]):
            option = "--" + name.replace("_", "-")
            fix = f"leave {option} out, or pass {option} {sizes[name]}"
            raise _misfit(f"of {name} {asked}", str(sizes[name]), fix)
    base, most = (getattr(config, n) or sizes[n] for n in ("channel_base", "channel_max"))
    for block in own.synthesis.blocks():
        side = block.conv1.resolution
        asked, width = min(base // side, most), len(block.conv1.weight)
        if asked != width:
            raise _misfit(
                f"with {asked} channels at {side}x{side}, as of channel_base {base} and "
                f"channel_max {most}",
                str(width),
                f"leave these options out, or pass --channel-base {sizes['channel_base']} "
                f"--channel-max {sizes['channel_max']}",
            )
    sizes |= {"channel_base": base, "channel_max": most}
    return replace(config, **sizes)  # type: ignore[arg-type]


def sizes_of(generator: StyleGAN2) -> dict[str, int]:
    """The sizes of a generator, under the names of `GeneratorConfig`."""
    synthesis = generator.init_kwargs["synthesis_kwargs"]
    return {
        "z_dim": generator.z_dim,
        "w_dim": generator.w_dim,
        "mapping_layers": generator.mapping.num_layers,
        # The published defaults, where a file does not name them.
        "channel_base": synthesis.get("channel_base", 32768),
        "channel_max": synthesis.get("channel_max", 512),
    }


def _check_images(own: StyleGAN2, resolution: int, channels: int) -> None:
    if own.img_channels != channels:
        kinds = {1: "grey (1 channel)", 3: "colour (3 channels)"}
        raise _misfit(
            f"of {kinds[channels]} images, as the data",
            kinds.get(own.img_channels, f"{own.img_channels} channels"),
            f"turn the data into its kind with --channels {own.img_channels}"
            if own.img_channels in kinds
            else "start from another generator",
        )
    if own.img_resolution > resolution:
        raise _misfit(
            f"of at most {resolution}x{resolution} pixels, as the data",
            f"{own.img_resolution}x{own.img_resolution}",
            f"pass --resolution {own.img_resolution}, or start from a smaller generator",
        )
    architecture = own.synthesis.b4.architecture
    if own.img_resolution < resolution and architecture != "skip":
        raise _misfit(
            f"of {resolution}x{resolution} pixels, or of the skip architecture, which can grow",
            f"{own.img_resolution}x{own.img_resolution} of the {architecture} architecture",
            f"pass --resolution {own.img_resolution}",
        )


def _class_count(c_dim: int) -> str:
    return f"of {c_dim} classes" if c_dim else "without classes"


def _misfit(expected: str, got: str, fix: str) -> WeightsError:
    return WeightsError(expected=f"a generator to start from {expected}", got=got, fix=fix)


def _images_seen(notes: Mapping[str, Any]) -> int | None:
    """Images that a weights file's generator was trained on, by its notes."""
    own = notes.get("result")
    before = notes.get("initial")
    found = [part.get("images seen") for part in (own, before) if isinstance(part, Mapping)]
    counts = [int(count) for count in found if isinstance(count, int | float)]
    return sum(counts) if counts else None


def _is_of_training(own: State, last: State, path: Path) -> bool:
    """Whether a file's weights are the last of the training beside it, or its best."""
    if _same_weights(own, last):
        return True
    best = path.with_suffix(BEST_SUFFIX)
    return best.is_file() and _same_weights(own, load_generator(best).state_dict())


def _same_weights(own: State, other: State) -> bool:
    """Whether a file's tensors are a checkpoint's, as they are or stored as float16."""
    return own.keys() == other.keys() and all(
        torch.equal(own[name], tensor) or torch.equal(own[name], tensor.half().float())
        for name, tensor in other.items()
    )
