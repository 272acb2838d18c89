"""Which networks of a weights folder have to be trained, how, and in which order.

Those that are absent, or not as they are asked for. Weights that `ready_networks` trained note what
was asked for. Others, of `latentpath train` or of other projects, are taken as they are.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from latentpath.core import flat_values, plain_values
from latentpath.generators import read_header
from latentpath.production.bundle import FILES, NEEDED, load_bundle
from latentpath.production.judgement import files_beside, judged_beside
from latentpath.production.network_training import (
    WITHOUT_HELD_OUT,
    check_validation,
    kept_line,
)
from latentpath.training import (
    ClassifierConfig,
    EncoderConfig,
    GeneratorConfig,
    IdentityConfig,
    SurrogateConfig,
    read_checkpoint,
)

# Those that are trained where absent, in the order in which they need each other.
NETWORKS = (*NEEDED, "surrogate")


@dataclass(frozen=True)
class TrainingConfig:
    """How the networks are trained that a weights folder lacks."""

    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    """The GAN that images come from."""
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    """Images to latents."""
    identity: IdentityConfig = field(default_factory=IdentityConfig)
    """Which real person an image looks like."""
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)
    """Which class an image belongs to."""
    surrogate: SurrogateConfig = field(default_factory=SurrogateConfig)
    """What the classifiers see at a latent."""
    validation: float = 0.1
    """Share of the people, 0 to 0.25, whom generator and class classifier never meet, to judge the
    networks by; at least 20 people, 0 for none."""

    def __post_init__(self) -> None:
        check_validation(self.validation)

    def asked(self, network: str) -> dict[str, Any]:
        """What is asked of one network's training, as plain values by dotted names.

        Args:
            network: its name.
        """
        config = flat_values(asdict(getattr(self, network)))
        if network in WITHOUT_HELD_OUT:
            config["validation"] = self.validation
        return plain_values(config)


_LENGTH = "total_images"
_STEPS = "steps"  # the length of all other trainings, and their schedule
_BEFORE = "before"
# Network -> those that it is trained for.
DEPENDENT: dict[str, tuple[str, ...]] = {
    "encoder": ("generator",),
    "surrogate": NEEDED,
    "predictor": NEEDED,
}


@dataclass(frozen=True)
class DueTraining:
    """A training that a weights folder needs."""

    network: str
    """Which."""
    why: str = ""
    """Why weights that are there do not do; empty where there are none."""
    anew: bool = False
    """Whether it begins afresh; else it goes on, or begins where there is nothing."""
    asked: bool = False
    """Whether other options are asked for than the weights were trained with."""
    share: float = 1.0
    """Of the whole training that is left to do."""

    @property
    def line(self) -> str:
        """What will be done, where there are weights."""
        kept = f"; what there was stays as {aside(self.network)}" if self.anew else ""
        return f"{self.network}: trained {'anew' if self.anew else 'on'}, {self.why}{kept}"


def due_trainings(
    folder: Path, config: TrainingConfig, wanted: Sequence[str] = NEEDED
) -> list[DueTraining]:
    """What has to be trained, in the order of need.

    Args:
        folder: the weights folder.
        config: how its networks are asked for.
        wanted: names of the networks.
    """
    due: dict[str, DueTraining] = {}
    for network in wanted:
        if not (folder / FILES[network]).exists():
            due[network] = DueTraining(network)
        elif (changed := _changed(folder, network, config)) is not None:
            due[network] = changed
        elif network in DEPENDENT and (
            any(name in due for name in DEPENDENT[network]) or fits(folder, network) is False
        ):
            due[network] = DueTraining(network, "since what it was trained for changes", anew=True)
    return list(due.values())


def kept_lines(folder: Path, config: TrainingConfig) -> list[str]:
    """A line for each network that was trained for longer than is asked for now, and is kept.

    Args:
        folder: the weights folder.
        config: how its networks are asked for.
    """
    network = "generator"  # any other length is another schedule, and trained anew
    if not (folder / FILES[network]).exists():
        return []
    before, now = _told(folder, network).get(_LENGTH, 0), config.generator.total_images
    if now >= before or _changed(folder, network, config) is not None:
        return []
    return [kept_line(before, now)]


def begun_otherwise(
    folder: Path, config: TrainingConfig, wanted: Sequence[str] = NEEDED
) -> list[str]:
    """Networks without weights whose trainings were begun with other numbers of steps.

    Args:
        folder: the weights folder.
        config: how its networks are asked for.
        wanted: names of the networks.
    """
    found = []
    for network in wanted:
        checkpoint = folder / f"{network}.checkpoint"
        if (folder / FILES[network]).exists() or not checkpoint.exists():
            continue
        begun = read_checkpoint(checkpoint)["config"]
        if begun.get(_STEPS) != getattr(getattr(config, network), _STEPS, None):
            found.append(network)
    return found


def is_as_asked(folder: Path, network: str, config: TrainingConfig) -> bool:
    """Whether a network is one that this configuration trained, and could train on from its end.

    Args:
        folder: the weights folder.
        network: which; it is there.
        config: how its networks are asked for.
    """
    there = (folder / f"{network}.checkpoint").exists()
    return there and bool(_told(folder, network)) and _changed(folder, network, config) is None


def untold(folder: Path) -> list[str]:
    """Networks that are there and of which nobody knows what was asked for."""
    return [
        name for name in NETWORKS if (folder / FILES[name]).exists() and not _told(folder, name)
    ]


def _told(folder: Path, network: str) -> Mapping[str, Any]:
    """What was asked for when a network was trained; empty where that is not known."""
    weights = read_header(folder / FILES[network])[0]
    told = None if weights is None else weights.notes.get("asked")
    return told if isinstance(told, Mapping) else {}


def _changed(folder: Path, network: str, config: TrainingConfig) -> DueTraining | None:
    """The training of a network of which something else is asked now."""
    told, asked = _told(folder, network), config.asked(network)
    # A version that has an option more asks for nothing else by its default.
    others = [name for name in asked if name in told and told[name] != asked[name]]
    if network == "generator" and others == [_LENGTH]:
        before, now = told[_LENGTH], asked[_LENGTH]
        if now < before:  # has what is asked for, and more
            return None
        if (folder / f"{network}.checkpoint").exists():
            why = f"from {before:,} to {now:,} images"
            return DueTraining(network, why, asked=True, share=(now - before) / now)
    if not others:
        return None
    why = " and ".join(f"with {name} {asked[name]} instead of {told[name]}" for name in others)
    return DueTraining(network, why, anew=True, asked=True)


def fits(folder: Path, network: str) -> bool | None:
    """Whether a network was trained, or its figures taken, with those that lie beside it now.

    Args:
        folder: the weights folder.
        network: which; it is there.

    Returns:
        None where nobody noted with which it was.
    """
    if network not in ("surrogate", "predictor"):
        noted = judged_beside(folder, network)
        return None if noted is None else noted == files_beside(folder, network)
    if any(not (folder / FILES[name]).exists() for name in NEEDED):
        return False
    weights = read_header(folder / FILES[network])[0]
    networks = load_bundle(folder, without=("surrogate", "predictor")).networks
    return weights is not None and weights.notes.get("trained_for") == networks.fingerprint()


def aside(network: str) -> str:
    """Name of the file of weights that others take the place of."""
    path = Path(FILES[network])
    return f"{path.stem}.{_BEFORE}{path.suffix}"


def put_aside(folder: Path, network: str) -> None:
    """Keep a network's weights and checkpoint under another name; what lay there is replaced.

    Args:
        folder: the weights folder.
        network: which.
    """
    pairs = (
        (f"{network}.checkpoint", f"{network}.{_BEFORE}.checkpoint"),
        (FILES[network], aside(network)),
    )
    for name, before in pairs:  # the weights last: until then it is known that they are due
        if (folder / name).exists():
            os.replace(folder / name, folder / before)
