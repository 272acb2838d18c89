"""What is measured, and what all sets of an audit are held against, prepared once.

Who makes a set of averages, or of walks between averages, knows the people behind every image:
those of one group, or of both ends' groups. Then two questions can be asked that have no answer
otherwise: whether a classifier names one of these people, and whether an image tells its people
from others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from latentpath.audit.audit_config import AuditConfig
from latentpath.audit.registry import measure_names
from latentpath.core import DataError, InputError, Progress, ShapeError, silent
from latentpath.data import ImageSet
from latentpath.similarity import LPIPS, RealReference, check_same_size, prepare_real

# For every image the people behind it, by the numbers that the real set's identities have.
Sources = Sequence[np.ndarray]


def checked_sources(sources: Sources, images: ImageSet, real: ImageSet) -> list[np.ndarray]:
    """The distinct people behind each image, ascending.

    Raises:
        ShapeError: not one entry for each image.
        InputError: nobody behind an image, or somebody who is not in the real set.
    """
    if len(sources) != len(images):
        raise ShapeError(
            expected=f"the people behind each of the {len(images)} images",
            got=f"{len(sources)} entries",
            fix="give one array of people per image, in the order of the images",
        )
    checked = []
    for number, given in enumerate(sources):
        people = np.unique(np.asarray(given))
        known = people.dtype.kind in "iu" and people.size > 0
        if not known or people[0] < 0 or people[-1] >= real.num_identities:
            raise InputError(
                expected=f"people from 0 to {real.num_identities - 1} behind every image",
                got=f"other numbers, or none, behind image {number}",
                fix="give the numbers that the real set's identities have",
            )
        checked.append(people.astype(np.int64))
    return checked


IdentityClassifier = Callable[[Tensor], Tensor]  # [M, C, H, W] in [-1, 1] -> [M, N]

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class AuditSetup:
    """The real people of an audit, and how sets are measured against them.

    What takes time (embeddings, features, shadow models) is made when a measure first needs it, and
    kept; see `once`.

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
        witness_checkpoint: file that the training of the witness goes on from; None keeps none.
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
    measures: tuple[str, ...] = field(default_factory=measure_names)
    device: torch.device | str = "cpu"
    prepared: RealReference | None = None
    witness_checkpoint: Path | None = None
    progress: Progress = silent
    _kept: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        for images in (self.holdout, self.test):
            if images is not None:
                self.check(images)

    def check(self, images: ImageSet) -> None:
        """Raise unless a set has the real set's size and classes."""
        check_same_size(images.images, self.real.images)
        if images.class_names != self.real.class_names:
            raise DataError(
                expected=f"the classes of the real set, {_short(self.real.class_names)}",
                got=_short(images.class_names),
                fix="use the same class names in the same order in every set",
            )

    def once(self, key: str, make: Callable[[], T]) -> T:
        """What `make` returns, made for the first measure that asks and kept for the others.

        Args:
            key: name of what is made, begun with the measure's.
            make: makes it, of nothing but this setup.
        """
        if key not in self._kept:
            self._kept[key] = make()
        made: T = self._kept[key]
        return made

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
        return self.prepared or self._prepared(self.real)

    @cached_property
    def holdout_reference(self) -> RealReference | None:
        """The holdout by LPIPS."""
        return None if self.holdout is None else self._prepared(self.holdout)

    def _prepared(self, images: ImageSet) -> RealReference:
        return prepare_real(
            images, self.distance, max_bytes=self.config.max_bytes, progress=self.progress
        )


@dataclass(frozen=True, eq=False)
class Subject:
    """A set that is measured.

    Attributes:
        images: the set.
        setup: what it is held against.
        progress: told about every stage, with the set's name where there are several.
        sources: for every image the people of the real set behind it; None where not known.
        is_real: whether it is the real set itself.
    """

    images: ImageSet
    setup: AuditSetup
    progress: Progress = silent
    sources: Sources | None = None
    is_real: bool = False
    _kept: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(
        cls, images: ImageSet, setup: AuditSetup, name: str = "", sources: Sources | None = None
    ) -> Subject:
        """A set, checked against the setup; its name begins every stage of the progress.

        Raises:
            ShapeError: image sizes differ, or there are not as many sources as images.
            DataError: the sets' classes differ.
            InputError: sources who are not in the real set.
        """
        setup.check(images)
        people = None if sources is None else checked_sources(sources, images, setup.real)
        return cls(images, setup, _named(name, setup.progress), people)

    @classmethod
    def of_real(cls, setup: AuditSetup, name: str = "") -> Subject:
        """The real set, held against itself."""
        return cls(setup.real, setup, _named(name, setup.progress), is_real=True)

    def once(self, key: str, make: Callable[[], T]) -> T:
        """As `AuditSetup.once`, for what is made of this set."""
        if key not in self._kept:
            self._kept[key] = make()
        made: T = self._kept[key]
        return made

    @property
    def one_class(self) -> str:
        """Why no classes can be told apart; nothing if they can."""
        if len(np.unique(self.images.labels)) < 2:
            return "It needs at least two classes, and the set has images of one."
        return ""


def _named(name: str, progress: Progress) -> Progress:
    """Progress whose stages say which set they are about."""
    if not name:
        return progress

    def tell(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        progress(f"{name}: {stage}", done, total, figures)

    return tell


def _short(names: tuple[str, ...]) -> str:
    text = ", ".join(names)
    return text if len(text) <= 60 else text[:57] + "..."
