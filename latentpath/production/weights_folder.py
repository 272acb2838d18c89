"""All networks of a weights folder: what is absent is trained, in the order of need."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from latentpath.core import Progress, Say, WeightsError, silent, unsaid
from latentpath.data import PEOPLE_MET, ImageSet
from latentpath.generators import WeightsFacts, header_facts, read_header
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
    side_to_train_at,
    train_network,
)
from latentpath.production.prepared_endpoints import at_resolution
from latentpath.production.training_needs import (
    DEPENDENT,
    NETWORKS,
    DueTraining,
    TrainingConfig,
    begun_otherwise,
    due_trainings,
    fits,
    is_as_asked,
    kept_lines,
    put_aside,
    untold,
)


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
        lines += [f"judged {figure.state_words}: {figure.words}" for figure in judgement.figures]
        lines += [f"not judged: {clause}" for clause in judgement.missing]
    return lines


def ready_networks(
    data: ImageSet,
    folder: Path,
    config: TrainingConfig,
    *,
    wanted: Sequence[str] = NEEDED,
    resolution: int = 0,
    of_unknown_people: tuple[str, ...] | None = None,
    renew: bool = False,
    trial: bool = False,
    sheet_images: int = 0,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
    say: Say | None = None,
) -> Bundle:
    """Train what is absent and open all of it; checkpoints beside the weights let it go on.

    Args:
        data: the private people.
        folder: the weights folder.
        config: how to train.
        wanted: names of the networks to train; the surrogate alone may be left out.
        resolution: of the generator, pixels; see `train_network`.
        of_unknown_people: what `check_networks` returned, where it was called.
        renew: also train what an earlier call trained with other options than these, and what
            depends on it: a generator goes on to more images, all else is trained anew. Weights
            that were trained otherwise stay.
        trial: note of what is trained that it is a trial's.
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
    say = say or unsaid
    if of_unknown_people is None:
        of_unknown_people = check_networks(folder, data, resolution)
    if of_unknown_people:
        say(f"{', '.join(of_unknown_people)}: {PEOPLE_MET['unknown']}; the set will say so")

    def train(network: str) -> str:
        return train_network(
            network,
            data,
            folder,
            config=getattr(config, network),
            resolution=resolution if network == "generator" else 0,
            sheet_images=sheet_images if network == "generator" else 0,
            half=True,
            validation=config.validation,
            asked=config.asked(network),
            trial=trial,
            device=device,
            progress=progress,
            say=say,
        )

    if renew:
        due = due_trainings(folder, config, wanted)
        for line in kept_lines(folder, config):
            say(line)
        if others := untold(folder):
            say(f"not trained by this command, and taken as they are: {', '.join(others)}")
    else:
        due = [DueTraining(network) for network in absent_networks(folder, wanted)]
    for each in due:
        if each.why:
            say(each.line)
    for each in due:
        network = each.network
        if network in DEPENDENT and each.why and not each.asked and fits(folder, network):
            continue  # what it was trained for came out as it was
        if each.anew or (renew and network in begun_otherwise(folder, config, [network])):
            put_aside(folder, network)
        say(train(network))
    if renew:
        _judge_again(folder, config, train, say)
        for network in ("surrogate", "predictor"):
            if (folder / FILES[network]).exists() and not fits(folder, network):
                put_aside(folder, network)
                say(f"{network}: put aside, since it was trained for other networks than these")
    bundle = load_bundle(folder, device)
    bundle.check(data)
    return replace(
        bundle, of_unknown_people=tuple(n for n in of_unknown_people if n not in bundle.people)
    )


def _judge_again(
    folder: Path, config: TrainingConfig, train: Callable[[str], str], say: Say
) -> None:
    """Take the figures anew of classifiers that were judged beside other networks than these."""
    for network in ("identity", "classifier"):
        if fits(folder, network) is False and is_as_asked(folder, network, config):
            say(train(network))  # its checkpoint is at the end: nothing is trained


def check_networks(folder: Path, data: ImageSet, resolution: int = 0) -> tuple[str, ...]:
    """Find out before the others are trained whether the networks that are there fit the data.

    Args:
        folder: the weights folder.
        data: the private people.
        resolution: of the generator, pixels, where there is none yet; see `train_network`.

    Returns:
        those of which nobody noted whom they were trained on.

    Raises:
        WeightsError: a file of another kind, of another kind of data, or of other people.
    """
    facts: dict[str, WeightsFacts] = {}
    notes: dict[str, Mapping[str, Any]] = {}
    for name in NETWORKS:
        path, kinds = folder / FILES[name], FACTORIES.get(name)
        if not path.exists():
            continue
        weights, shapes = read_header(path, kind=None if kinds is None else tuple(kinds))
        notes[name] = {} if weights is None else weights.notes
        if weights is not None and kinds is not None:
            facts[name] = header_facts(path, weights, shapes)
    met, there = people_met(notes), list(notes)
    side = facts["generator"].side if "generator" in facts else 0
    side = side or side_to_train_at("generator", data, folder, resolution)
    real = at_resolution(data, side)
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
    for name, known in facts.items():
        # A generator may know other classes, or none.
        fitting = replace(known, classes=None) if name == "generator" else known
        check_trained_on(fitting, data, FILES[name])
    return tuple(name for name in there if name not in met)
