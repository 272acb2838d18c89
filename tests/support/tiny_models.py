"""A made-up private set and random networks of its shape, for the tests of the whole pipeline."""

from __future__ import annotations

import dataclasses
import typing
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image
from torch import nn

from latentpath.data import ImageSet
from latentpath.generators import StyleGAN2, save_generator
from latentpath.generators.weights import save_weights
from latentpath.models import Classifier, Encoder, image_networks, image_networks as encoder_module
from latentpath.production import Bundle, ProduceConfig
from latentpath.similarity import LPIPS

CLASSES = ("left", "middle", "right")
SIDE = 16

# The gate lets everything through: random networks make nothing that it should.
OPEN_GATE = {"gate_quantile": 0.0, "gate_identity": 1.0, "gate_class": False}


def private_set(sizes=(20, 14, 10), *, channels=1, per_person=1, seed=0) -> ImageSet:
    """People of three classes, by where they are bright; `sizes` people in each."""
    rng = np.random.default_rng(seed)
    people = np.arange(sum(sizes)).repeat(per_person)
    labels = np.arange(len(sizes)).repeat(sizes)[people]
    images = rng.integers(0, 90, (len(people), SIDE, SIDE, channels))
    for label in range(len(sizes)):
        columns = slice(5 * label, 5 * label + 5)
        images[labels == label, :, columns] += 150
    order = rng.permutation(len(people))
    return ImageSet(
        images[order].astype(np.uint8), labels[order], people[order], CLASSES[: len(sizes)]
    )


def generator(*, latent_dim=8, channels=1, side=SIDE, seed=0) -> StyleGAN2:
    torch.manual_seed(seed)
    widths = {"channel_base": 64, "channel_max": 4}
    network = StyleGAN2(4, 0, latent_dim, side, channels, {"num_layers": 1}, widths)
    return network.eval().requires_grad_(False)


def plain_trunk(channels: int, _side: int, width: int) -> nn.Module:
    """Features as wide as those of `residual_trunk`, without MONAI."""
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3, stride=2, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 8 * width, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


def bundle_for(
    data: ImageSet,
    *,
    latent_dim: int = 8,
    side: int = SIDE,
    seed: int = 0,
    lpips=None,
    monai: bool = True,
) -> Bundle:
    """Random networks of the shapes that `data` needs.

    Without `monai` they cannot be saved, and other processes open them without importing it,
    which takes each of them three seconds.
    """
    made = generator(latent_dim=latent_dim, channels=data.channels, side=side, seed=seed)
    shape = (data.channels, side, 2)
    with ExitStack() as patched:
        if not monai:
            for module in (image_networks, encoder_module):
                patched.enter_context(patch.object(module, "residual_trunk", plain_trunk))
        networks = [
            Encoder(latent_dim, *shape),
            Classifier(data.num_identities, *shape),
            Classifier(data.num_classes, *shape),
        ]
    encoder, identity, classifier = (n.eval().requires_grad_(False) for n in networks)
    return Bundle(made, encoder, identity, classifier, lpips or LPIPS.load())


def save_bundle(folder: Path, bundle: Bundle) -> Path:
    """The bundle as a weights folder."""
    save_generator(folder / "generator.safetensors", bundle.generator)
    for kind in ("encoder", "identity", "classifier"):
        network = getattr(bundle, kind)
        save_weights(folder / f"{kind}.safetensors", network, kind=kind, config=network.config)
    return folder


def quick_config(**options) -> ProduceConfig:
    """Few steps, the gate open unless asked otherwise; options as on the command line."""
    return produce_config(
        **{"k": 3, "steps": 5, "passes": 1.0, "optim_steps": 1, **OPEN_GATE, **options}
    )


def produce_config(**options) -> ProduceConfig:
    """A configuration by the names that its options have on the command line, with _ for -."""
    made = nested(ProduceConfig, options, "")
    assert not options, options
    return made


def nested(kind, options, prefix):
    types, values = typing.get_type_hints(kind), {}
    for item in dataclasses.fields(kind):
        name = item.metadata.get("option", item.name)
        if dataclasses.is_dataclass(types[item.name]):
            inner = f"{prefix}{name}_" if name else prefix
            values[item.name] = nested(types[item.name], options, inner)
        elif prefix + name in options:
            values[item.name] = options.pop(prefix + name)
    return kind(**values)


def write_folder(root: Path, data: ImageSet) -> Path:
    """Write a set as an image folder with one folder per class."""
    for row, (image, label) in enumerate(zip(data.images, data.labels, strict=True)):
        path = root / data.class_names[label] / f"person{row:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(path)
    return root
