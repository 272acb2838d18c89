"""The networks of an experiment: those that ship, or trained in its folder where absent."""

from __future__ import annotations

from pathlib import Path

import torch

from latentpath.core import Progress, silent
from latentpath.data import ImageSet
from latentpath.experiments.recipe import TrainingConfig
from latentpath.production import FILES, Bundle, load_bundle, train_network

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
