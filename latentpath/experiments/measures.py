"""What is measured of every set: how near it comes to people, who can be told from it, its use."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from latentpath.audit import (
    MembershipConfig,
    MembershipReference,
    attack_sources,
    measure_membership,
    measure_utility,
    prepare_membership,
    record_ratio,
    reidentify,
)
from latentpath.core import Progress, silent
from latentpath.data import ImageSet, to_tensor
from latentpath.experiments.recipe import MeasureConfig
from latentpath.experiments.sets import MadeSet
from latentpath.experiments.splits import Splits, share_of
from latentpath.models import Witness
from latentpath.production import Bundle
from latentpath.similarity import (
    RealReference,
    nearest_other_person,
    nearest_real,
    prepare_real,
    prepare_second,
)
from latentpath.training import ShadowConfig, train_witness


@dataclass
class Measures:
    """The same measures for every set; what they share is made when it is first needed.

    Attributes:
        splits: real people at the generator's resolution.
        bundle: the networks, for the walk's own identity classifier and LPIPS.
        config: what to measure with.
        checkpoint: where the training of the second identity classifier is kept.
        progress: told about every stage.
    """

    splits: Splits
    bundle: Bundle
    config: MeasureConfig
    checkpoint: Path
    progress: Progress = silent

    def of(self, made: MadeSet, seed: int) -> dict[str, Any]:
        """All figures of a set, as plain JSON values."""
        return {
            **self.privacy(made),
            "utility": self.utility(made.images, seed, self.config.trainings),
            "membership": self._membership(made.images),
        }

    def of_real(self, count: int, seed: int) -> dict[str, Any]:
        """The same of the private people themselves: the yardstick.

        Utility is that of `count` random images: no set shall win by being larger.
        """
        private = self.splits.private
        trained_on = share_of(private, count, seed)
        return {
            **self.privacy_of_real(),
            "utility": self.utility(trained_on, seed, self.config.trainings),
            "membership": self._membership(private),
        }

    def privacy(self, made: MadeSet) -> dict[str, Any]:
        """How near a set comes to the private people, and how many of them it names."""
        images, progress = made.images, self.progress
        near = nearest_real(images.images, self.reference, progress=progress)
        second = nearest_real(images.images, self.second, progress=progress)
        ratio = record_ratio(
            images, self.reference, self.others, groups=made.walks, progress=progress
        )
        return {
            "images": len(images),
            "nearest_real": near.as_dict(),
            "second": second.as_dict(),
            "record_ratio": ratio.as_dict(),
            "reidentification": self._named(
                images,
                self.splits.private.identities[near.index],
                sources=made.sources,
                groups=made.walks,
            ),
            "group_attack": self._attacked(made),
        }

    def privacy_of_real(self) -> dict[str, Any]:
        """The same of the private people: to the nearest other person, and by the true one."""
        private = self.splits.private
        near = nearest_other_person(self.reference, progress=self.progress)
        second = nearest_other_person(self.second, progress=self.progress)
        return {
            "images": len(private),
            "nearest_real": near and near.as_dict(),
            "second": second and second.as_dict(),
            "reidentification": self._named(private, private.identities),
        }

    def utility(self, images: ImageSet, seed: int, trainings: int) -> dict[str, Any] | None:
        """Accuracy on the holdout of classifiers with seeds of this repetition's own."""
        if images.num_classes < 2:
            return None
        seeds = range(seed * trainings, (seed + 1) * trainings)
        found = measure_utility(
            images,
            self.splits.holdout,
            config=self.config.classifier,
            seeds=tuple(seeds),
            device=self._device,
            progress=self.progress,
        )
        return {**found.as_dict(), "trained_on": len(images)}

    def _named(self, images: ImageSet, people: np.ndarray, **known: Any) -> dict[str, Any]:
        """What the walk's own identity classifier says, and the one that no walk saw."""
        found = reidentify(
            images,
            people,
            self.bundle.identity,
            people=self.splits.private.num_identities,
            threshold=self.config.threshold,
            independent=self.witness,
            holdout=self.splits.holdout,
            progress=self.progress,
            **known,
        )
        return found.as_dict()

    def _attacked(self, made: MadeSet) -> dict[str, Any] | None:
        """Whether images tell their people from others; None where these are not known."""
        if made.sources is None:
            return None
        found = attack_sources(
            made.images,
            made.sources,
            self.reference,
            self.others,
            walks=made.walks,
            progress=self.progress,
        )
        return found.as_dict()

    def _membership(self, images: ImageSet) -> dict[str, Any] | None:
        if not self.config.shadows or images.num_classes < 2:
            return None
        found = measure_membership(images, self.shadows, progress=self.progress)
        return found.as_dict()

    @cached_property
    def reference(self) -> RealReference:
        """The private people by LPIPS."""
        return prepare_real(self.splits.private, self.bundle.lpips, progress=self.progress)

    @cached_property
    def others(self) -> RealReference:
        """The holdout by LPIPS."""
        return prepare_real(self.splits.holdout, self.bundle.lpips, progress=self.progress)

    @cached_property
    def second(self) -> RealReference:
        """The private people in an embedding that shares nothing with LPIPS."""
        return prepare_second(self.splits.private, progress=self.progress)

    @cached_property
    def shadows(self) -> MembershipReference:
        """Shadow models and the blind baseline."""
        config = MembershipConfig(
            shadows=self.config.shadows,
            targets=self.config.targets,
            training=ShadowConfig(steps=self.config.shadow_steps),
        )
        private, holdout = self.splits.private, self.splits.holdout
        return prepare_membership(private, holdout, config, progress=self.progress)

    @cached_property
    def witness(self) -> Witness:
        """An identity classifier of another kind, trained once on the private people."""
        private = self.splits.private
        return train_witness(
            to_tensor(private.images).to(self._device),
            torch.from_numpy(private.identities).to(self._device),
            num_people=private.num_identities,
            config=self.config.witness,
            checkpoint=self.checkpoint,
            progress=self.progress,
        )

    @property
    def _device(self) -> torch.device:
        return self.bundle.encoder.centre.device
