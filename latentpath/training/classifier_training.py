"""Training classifiers: of classes, of identities (one class per real person), and the witness.

AdamW with a one-cycle learning rate over a fixed number of steps, so that sets of different sizes
are trained equally long; random augmentation, which for identities with a single image is all
that lets the classifier recognise a person in a changed picture. The witness is an identity
classifier that the walk has never met.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentpath.core import (
    LARGEST_BATCH,
    WIDEST,
    Progress,
    SummedProgress,
    check_above_zero,
    check_at_least,
    check_within,
    place,
    seeded,
    side_by_side,
    silent,
)
from latentpath.generators import Precision
from latentpath.models import Classifier, Witness, balanced_accuracy
from latentpath.training.augmentation import AugmentConfig, augment
from latentpath.training.checkpoint import Checkpointer, fingerprint
from latentpath.training.gan import check_training_images
from latentpath.training.training_steps import Figures, check_precision, one_cycle


@dataclass(frozen=True)
class ClassifierConfig:
    """How a class classifier is built and trained."""

    steps: int = 1500
    """Optimiser steps."""
    batch: int = 64
    """Images per step."""
    width: int = 16
    """Channels of the network's first stage; features are 8 times as wide."""
    lr: float = 4e-3
    """Highest learning rate of the one-cycle schedule."""
    weight_decay: float = 0.02
    """AdamW's decoupled weight decay."""
    label_smoothing: float = 0.0
    """Share of the target that is spread over all classes."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Random changes of the training images."""
    precision: str = "tf32"
    """In which the network computes: float32; tf32, which is float32 on processors and lets GPUs
    take products with 10 bits of mantissa; or bfloat16. Weights and sums stay in float32."""
    seed: int = 0
    """Seed of weights, order and augmentation."""

    def __post_init__(self) -> None:
        check_precision(self.precision)
        check_at_least(1, steps=self.steps)
        check_within(1, WIDEST, width=self.width)
        check_within(2, LARGEST_BATCH, batch=self.batch)
        check_at_least(0, weight_decay=self.weight_decay, seed=self.seed)
        check_within(0, 1, label_smoothing=self.label_smoothing)
        check_above_zero(lr=self.lr)


@dataclass(frozen=True)
class IdentityConfig(ClassifierConfig):
    """How an identity classifier is built and trained: longer, over many more classes."""

    steps: int = 8000
    """Optimiser steps."""
    batch: int = 128
    """Images per step."""


def train_classifier(
    images: Tensor,  # [n, C, H, H] in [-1, 1]
    labels: Tensor,  # [n]
    *,
    num_classes: int,
    config: ClassifierConfig | None = None,
    checkpoint: str | Path | None = None,
    validation: tuple[Tensor, Tensor] | None = None,  # [m, C, H, H] and [m]
    progress: Progress = silent,
) -> Classifier:
    """Train a classifier and return it in eval mode, without gradients for its weights.

    Args:
        images: training images, float in [-1, 1].
        labels: class (or person) of each image, 0 to num_classes - 1.
        num_classes: number of classes (or people).
        config: network and schedule; `IdentityConfig` for people.
        checkpoint: file to continue from, saved to about once a minute and at the end.
        validation: images and labels of other people: the weights of the step that knows most of
            these in the second half of the training are kept; those of the last step if None.
        progress: told after every step, with loss and accuracy on the augmented batches.

    Raises:
        DataError: images or labels of the wrong shape or range.
        WeightsError: `checkpoint` belongs to another run.
    """
    config = config or ClassifierConfig()
    check_training_images(images, labels, num_classes)
    saver = Checkpointer(checkpoint, config=config, data=fingerprint(images, labels))
    _, channels, resolution, _ = images.shape
    with seeded(config.seed, images.device):
        model = Classifier(num_classes, channels, resolution, config.width)
    place(model, images.device)
    stage = "identity" if isinstance(config, IdentityConfig) else "classifier"
    best = None if validation is None else _Best(*validation)
    fit_classifier(model, images, labels, config, saver, progress, stage=stage, best=best)
    return model.eval().requires_grad_(False)


def train_classifiers(
    images: Tensor,  # [n, C, H, H] in [-1, 1]
    labels: Tensor,  # [n]
    *,
    num_classes: int,
    config: ClassifierConfig | None = None,
    seeds: Sequence[int],
    progress: Progress = silent,
) -> list[Classifier]:
    """Train a classifier for each of `seeds`, on a processor several at a time.

    The other arguments and the errors are those of `train_classifier`; `progress` is told of all
    of them as of one training.
    """
    config = config or ClassifierConfig()
    together = SummedProgress(progress, len(seeds))

    def train(numbered: tuple[int, int]) -> Classifier:
        number, seed = numbered
        return train_classifier(
            images,
            labels,
            num_classes=num_classes,
            config=replace(config, seed=seed),
            progress=together.part(number),
        )

    if images.device.type != "cpu":
        return [train(numbered) for numbered in enumerate(seeds)]
    return side_by_side(train, list(enumerate(seeds)))


def fit_classifier(
    model: nn.Module,  # images [M, C, H, H] to logits [M, num_classes]
    images: Tensor,  # [n, C, H, H]
    labels: Tensor,  # [n]
    config: ClassifierConfig,
    saver: Checkpointer,
    progress: Progress,
    *,
    stage: str,
    best: _Best | None = None,
) -> None:
    """Train a model's weights in place, from the saved step on if there is one.

    With `best` they end as those of the step that it found best.

    Order and augmentation come from a generator of its own, so that trainings may run beside each
    other.
    """
    generator = torch.Generator(images.device).manual_seed(config.seed)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True
    )
    schedule = one_cycle(optimizer, config.lr, config.steps, warm_up=0.15)
    parts: dict[str, Any] = {"model": model, "optimizer": optimizer, "schedule": schedule}
    first, order = 0, torch.empty(0, dtype=torch.int64, device=images.device)
    with seeded(config.seed, images.device):
        saved = saver.load()
    if saved is not None:
        first, order = saved["step"], saved["order"].to(images.device)
        generator.set_state(saved["generator"])
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        if best is not None:
            best.load(saved["best"])
    model.train()
    accuracy = torch.zeros((), device=images.device)
    policy = Precision.of(config.precision)
    for step in range(first, config.steps):
        rows, order = _next_batch(order, len(images), min(config.batch, len(images)), generator)
        batch = augment(images[rows], config.augment, generator=generator)
        target = labels[rows]
        with policy.products(images.device):  # also of what is computed backward
            with policy.on(images.device):
                logits = model(batch)
            loss = F.cross_entropy(logits.float(), target, label_smoothing=config.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
        optimizer.step()
        schedule.step()
        right = (logits.argmax(dim=1) == target).float().mean()
        # A running mean over about the last fifty steps.
        accuracy = accuracy.lerp(right, max(0.02, 1 / (step - first + 1)))
        progress(stage, step + 1, config.steps, Figures(loss=loss, accuracy=accuracy))
        last = step + 1 == config.steps
        if best is not None and (last or (step + 1) % best.interval(config.steps) == 0):
            best.look(model, half_way=2 * (step + 1) >= config.steps)
        if saver.due() or last:
            states = {name: part.state_dict() for name, part in parts.items()}
            if best is not None:
                states["best"] = best.state()
            states["generator"] = generator.get_state()
            saver.save({"step": step + 1, "order": order, **states})
    if best is not None:
        best.restore(model)


class _Best:
    """The weights of a training that know most images of other people so far."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels
        self.right = -1.0
        self.weights: dict[str, Tensor] | None = None

    @staticmethod
    def interval(steps: int) -> int:
        """Steps between two looks."""
        return max(1, steps // 20)

    def look(self, model: nn.Module, half_way: bool) -> None:
        """Keep these weights if none were better; of equal ones the last."""
        if not half_way:
            return
        model.eval()
        right = balanced_accuracy(model, self.images, self.labels)
        model.train()
        if right >= self.right:
            self.right = right
            self.weights = {name: value.clone() for name, value in model.state_dict().items()}

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"right": self.right, "weights": self.weights}

    def load(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        self.right, self.weights = state["right"], state["weights"]

    def restore(self, model: nn.Module) -> None:
        """Give a model the best weights."""
        if self.weights is not None:
            model.load_state_dict(self.weights)


def _next_batch(
    order: Tensor, n: int, batch: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Take `batch` rows from the shuffled `order`, refilled when it runs out."""
    while len(order) < batch:
        more = torch.randperm(n, generator=generator, device=order.device)
        order = torch.cat([order, more])
    return order[:batch], order[batch:]


@dataclass(frozen=True)
class WitnessConfig(ClassifierConfig):
    """How the witness is built and trained: another network and seed than the walk's classifier."""

    steps: int = 2500
    """Optimiser steps."""
    batch: int = 128
    """Images per step."""
    width: int = 24
    """Channels of the network's first convolution; the last have 4 times as many."""
    embedding: int = 128
    """Width of the embedding in which people are compared."""
    augment: AugmentConfig = field(
        default_factory=lambda: AugmentConfig(shift=0.08, rotate=10.0, shear=0.08, noise=0.1)
    )
    """Random changes of the training images; other ones than the walk's classifier sees."""
    seed: int = 90_001
    """Seed of weights, order and augmentation."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_within(1, WIDEST, embedding=self.embedding)


def train_witness(
    images: Tensor,  # [n, C, H, W] in [-1, 1]
    people: Tensor,  # [n]
    *,
    num_people: int,
    config: WitnessConfig | None = None,
    checkpoint: str | Path | None = None,
    progress: Progress = silent,
) -> Witness:
    """Train a witness and return it in eval mode, without gradients for its weights.

    Args:
        images: the private set's images, float in [-1, 1].
        people: person of each image, 0 to num_people - 1.
        num_people: N.
        config: network and schedule.
        checkpoint: file to continue from, saved to about once a minute and at the end.
        progress: told after every step as stage "witness".

    Raises:
        DataError: images or people of the wrong shape or range.
        WeightsError: `checkpoint` belongs to another run.
    """
    config = config or WitnessConfig()
    check_training_images(images, people, num_people)
    saver = Checkpointer(checkpoint, config=config, data=fingerprint(images, people))
    with seeded(config.seed, images.device):
        model = Witness(num_people, images.shape[1], config.width, config.embedding)
    place(model, images.device)
    fit_classifier(model, images, people, config, saver, progress, stage="witness")
    return model.eval().requires_grad_(False)
