"""The networks of an experiment: those that ship, or trained in its folder where absent."""

from __future__ import annotations

from pathlib import Path

import torch

from latentpath.core import Progress, WeightsError, silent
from latentpath.data import ImageSet
from latentpath.experiments.recipe import TrainingConfig
from latentpath.generators import read_weights
from latentpath.production import FILES, Bundle, check_classes, load_bundle, train_network

# In the order in which they need each other, with their kinds.
NETWORKS = {
    "generator": "stylegan2",
    "encoder": "encoder",
    "identity": "identity",
    "classifier": "classifier",
    "surrogate": "surrogate",
}


def absent_networks(folder: Path) -> list[str]:
    """Networks that the folder has no weights of, in the order of training."""
    return [name for name, kind in NETWORKS.items() if not (folder / FILES[kind]).exists()]


def ready_networks(
    data: ImageSet,
    folder: Path,
    config: TrainingConfig,
    *,
    device: torch.device | str = "cpu",
    progress: Progress = silent,
) -> Bundle:
    """Train what is absent and open all of it; checkpoints beside the weights let it go on.

    Args:
        data: the private people.
        folder: the weights folder.
        config: how to train.
        device: where to train.
        progress: told after every step.

    Raises:
        WeightsError: the weights are of another set, or a checkpoint is of another configuration.
    """
    check_classes(data)
    _check_present(folder, data)
    for network in absent_networks(folder):
        train_network(
            network,
            data,
            folder,
            config=getattr(config, network),
            half=True,
            device=device,
            progress=progress,
        )
    bundle = load_bundle(folder, device)
    bundle.check(data)
    return bundle


def _check_present(folder: Path, data: ImageSet) -> None:
    """Find out before the others are trained whether the networks that are there fit the data."""
    for name, key, what, given in (
        ("generator", "img_channels", "channels per image", data.channels),
        ("encoder", "img_channels", "channels per image", data.channels),
        ("identity", "num_classes", "people", data.num_identities),
        ("classifier", "num_classes", "classes", data.num_classes),
    ):
        path = folder / FILES[NETWORKS[name]]
        if not path.exists():
            continue
        trained = read_weights(path, kind=NETWORKS[name]).config.get(key, given)
        if trained != given:
            raise WeightsError(
                expected=f"a data set of {trained} {what}, as the {name} in the weights folder was "
                "trained on",
                got=f"{given}",
                fix="name another weights folder, or remove that file to have it trained",
            )
