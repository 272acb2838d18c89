"""What all sets of an audit are held against, prepared once."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch

from latentpath.audit.attacks.membership import MembershipReference, prepare_membership
from latentpath.audit.audit_config import MEASURES, AuditConfig
from latentpath.audit.copies.duplicates import DuplicateReference, prepare_duplicates
from latentpath.audit.fidelity.set_fidelity import FidelityReference, prepare_fidelity
from latentpath.audit.recognition.identity_answers import IdentityClassifier
from latentpath.core import DataError, Progress, silent
from latentpath.data import ImageSet, to_tensor
from latentpath.models import Witness
from latentpath.similarity import (
    LPIPS,
    RealReference,
    check_same_size,
    prepare_real,
    prepare_second,
)
from latentpath.training import train_witness


@dataclass(frozen=True, eq=False)
class Setting:
    """The real people of an audit, and how sets are measured against them.

    What takes time (embeddings, features) is made when a measure first needs it, and kept.

    Attributes:
        real: the private set behind the synthetic ones.
        holdout: real images of other people; None leaves out what needs them.
        test: real images of other people to test class classifiers on; the holdout if None.
        identity: the walk's classifier over the real set's N people, or None.
        lpips: the distance; the weights that ship if None.
        config: what to measure with.
        measures: names of the measures to take.
        device: where networks run.
        prepared: LPIPS embeddings of the real set, where they exist already.
        progress: told about every stage.

    Raises:
        ShapeError: image sizes differ.
        DataError: the sets' classes differ.
    """

    real: ImageSet
    holdout: ImageSet | None = None
    test: ImageSet | None = None
    identity: IdentityClassifier | None = None
    lpips: LPIPS | None = None
    config: AuditConfig = field(default_factory=AuditConfig)
    measures: tuple[str, ...] = MEASURES
    device: torch.device | str = "cpu"
    prepared: RealReference | None = None
    progress: Progress = silent

    def __post_init__(self) -> None:
        for other in (self.holdout, self.test):
            if other is not None:
                self.check(other)

    def check(self, images: ImageSet) -> None:
        """Raise unless a set has the real set's size and classes."""
        check_same_size(images.images, self.real.images)
        if images.class_names != self.real.class_names:
            raise DataError(
                expected=f"the classes of the real set, {_short(self.real.class_names)}",
                got=_short(images.class_names),
                fix="use the same class names in the same order in every set",
            )

    @property
    def test_set(self) -> ImageSet | None:
        """Real images for the accuracy of class classifiers."""
        return self.holdout if self.test is None else self.test

    @cached_property
    def distance(self) -> LPIPS:
        """LPIPS."""
        return self.lpips or LPIPS.load(self.device)

    @cached_property
    def reference(self) -> RealReference:
        """The real set by LPIPS."""
        return self.prepared or prepare_real(
            self.real, self.distance, max_bytes=self.config.max_bytes, progress=self.progress
        )

    @cached_property
    def others(self) -> RealReference | None:
        """The holdout by LPIPS."""
        if self.holdout is None:
            return None
        return prepare_real(
            self.holdout, self.distance, max_bytes=self.config.max_bytes, progress=self.progress
        )

    @cached_property
    def second_reference(self) -> RealReference:
        """The real set by an embedding that shares nothing with LPIPS."""
        return prepare_second(self.real, max_bytes=self.config.max_bytes, progress=self.progress)

    @cached_property
    def second_others(self) -> RealReference | None:
        """The holdout by that embedding."""
        if self.holdout is None:
            return None
        return prepare_second(self.holdout, max_bytes=self.config.max_bytes, progress=self.progress)

    @cached_property
    def duplicates(self) -> DuplicateReference:
        """How similar different real people are."""
        return prepare_duplicates(self.real, self.holdout, progress=self.progress)

    @cached_property
    def fidelity(self) -> FidelityReference:
        """Features of the real set and of the holdout."""
        return prepare_fidelity(
            self.reference,
            self.holdout,
            lpips=self.distance,
            config=self.config.fidelity,
            progress=self.progress,
        )

    @cached_property
    def candidates(self) -> MembershipReference | None:
        """Who may or may not be behind a set, and shadow models trained on them."""
        if self.holdout is None:
            return None
        return prepare_membership(
            self.real, self.holdout, self.config.membership, progress=self.progress
        )

    @cached_property
    def witness(self) -> Witness:
        """An identity classifier that no walk has ever met, trained on the real set."""
        return train_witness(
            to_tensor(self.real.images).to(self.device),
            torch.from_numpy(self.real.identities).to(self.device),
            num_people=self.real.num_identities,
            config=self.config.witness,
            progress=self.progress,
        )

    @property
    def strangers(self) -> ImageSet | None:
        """The holdout, where it holds people enough to set a threshold on."""
        few = self.holdout is None or self.holdout.num_identities < 2
        return None if few else self.holdout

    @property
    def classes_in_common(self) -> bool:
        """Whether the real set and the holdout have images of one class at least."""
        return self.holdout is not None and bool(
            np.intersect1d(self.real.labels, self.holdout.labels).size
        )

    @property
    def too_few(self) -> str:
        """Why there are too few people for attacks on membership; nothing if there are not."""
        needed = max(4, 2 * self.config.membership.blind_folds)
        people = [side.num_identities for side in (self.real, self.holdout) if side is not None]
        if min(people) >= needed:
            return ""
        return f"It needs at least {needed} people behind the set and as many others."


def _short(names: tuple[str, ...]) -> str:
    text = ", ".join(names)
    return text if len(text) <= 60 else text[:57] + "..."
