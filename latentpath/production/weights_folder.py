"""All networks of a weights folder: what is absent is trained, in the order of need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from latentpath.core import Progress, WeightsError, silent
from latentpath.data import PEOPLE_MET, ImageSet
from latentpath.generators import inspect_weights, read_header
from latentpath.production.bundle import (
    FACTORIES,
    FILES,
    NEEDED,
    Bundle,
    check_trained_on,
    load_bundle,
    people_fingerprint,
    people_met,
)
from latentpath.production.judgement import read_judgement
from latentpath.production.network_training import (
    check_classes,
    check_validation,
    side_to_train_at,
    train_network,
)
from latentpath.production.prepared_endpoints import at_resolution
from latentpath.training import (
    ClassifierConfig,
    EncoderConfig,
    GeneratorConfig,
    IdentityConfig,
    SurrogateConfig,
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


def absent_networks(folder: Path, wanted: Sequence[str] = NEEDED) -> list[str]:
    """Networks out of the wanted ones that the folder has no weights of, in the order of need."""
    return [name for name in wanted if not (folder / FILES[name]).exists()]


def folder_lines(folder: Path) -> list[str]:
    """What is known of a weights folder as a whole: what it lacks, and how good its networks are.

    Args:
        folder: the weights folder.
    """
    lines = []
    if absent := absent_networks(folder):
        lines.append(f"needs: {', '.join(absent)}: `latentpath train` with this folder as --out")
    judgement = read_judgement(folder, FILES)
    if judgement is not None:
        lines += [f"judged {figure.state}: {figure.words}" for figure in judgement.figures]
        lines += [f"not judged: {clause}" for clause in judgement.missing]
    return lines


def ready_networks(
    data: ImageSet,
    folder: Path,
    config: TrainingConfig,
    *,
    wanted: Sequence[str] = NEEDED,
    resolution: int = 0,
    sheet_images: int = 0,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
    say: Callable[[str], None] | None = None,
) -> Bundle:
    """Train what is absent and open all of it; checkpoints beside the weights let it go on.

    Args:
        data: the private people.
        folder: the weights folder.
        config: how to train.
        wanted: names of the networks to train; the surrogate alone may be left out.
        resolution: of the generator, pixels; see `train_network`.
        sheet_images: images between two sheets of the generator's samples; see `train_network`.
        device: where to train.
        progress: told after every step.
        say: shows lines about what was trained and where an interrupted training goes on.

    Raises:
        StoppedError: Ctrl-C or SIGTERM asked to stop; the checkpoint holds the last step.
        WeightsError: the weights are of another set or of other people, or a checkpoint is of
            another configuration.
    """
    check_classes(data)
    strangers = _check_present(folder, data, resolution)
    if strangers and say is not None:
        say(f"{', '.join(strangers)}: {PEOPLE_MET['unknown']}; the set will say so")
    for network in absent_networks(folder, wanted):
        line = train_network(
            network,
            data,
            folder,
            config=getattr(config, network),
            resolution=resolution if network == "generator" else 0,
            sheet_images=sheet_images if network == "generator" else 0,
            half=True,
            validation=config.validation,
            device=device,
            progress=progress,
            say=say,
        )
        if say is not None:
            say(line)
    bundle = replace(load_bundle(folder, device), strangers=strangers)
    bundle.check(data)
    return bundle


def _check_present(folder: Path, data: ImageSet, resolution: int) -> tuple[str, ...]:
    """Find out before the others are trained whether the networks that are there fit the data.

    Returns:
        those of which nobody noted whom they were trained on.

    Raises:
        WeightsError: a file of another kind, of another kind of data, or of other people.
    """
    there = [name for name in NETWORKS if (folder / FILES[name]).exists()]
    for name in there:
        if name in FACTORIES:
            read_header(folder / FILES[name], kind=tuple(FACTORIES[name]))
    met = people_met(folder)
    side = 0 if "generator" in there else resolution
    real = at_resolution(data, side_to_train_at("surrogate", data, folder, side))
    own = people_fingerprint(real) if met else ""
    if others := [name for name in there if met.get(name, own) != own]:
        raise WeightsError(
            expected=f"networks in {folder} that were trained on the people behind the set, as "
            "they were read, and on nobody else",
            got=f"{', '.join(others)} trained on other people or images: people who are held out "
            "of the set may be among them",
            fix="move "
            + " and ".join(f"{FILES[name]} with {name}.checkpoint" for name in others)
            + " away: the same command trains them anew",
        )
    for name in there:
        if name in FACTORIES:
            facts = inspect_weights(folder / FILES[name])
            if name == "generator":  # may know other classes, or none
                facts = replace(facts, classes=None)
            check_trained_on(facts, data, FILES[name])
    return tuple(name for name in there if name not in met)
