"""One set against the real people behind it: privacy and utility in one call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from latentpath.audit.nearest import (
    NearestReal,
    RealReference,
    check_same_size,
    nearest_other_person,
    nearest_real,
    prepare_real,
)
from latentpath.audit.reidentification import Reidentification, reidentify
from latentpath.audit.utility import Utility, measure_utility
from latentpath.data import ImageSet
from latentpath.errors import DataError, InputError
from latentpath.models.lpips import LPIPS
from latentpath.progress import Progress, silent
from latentpath.training import ClassifierConfig

IdentityClassifier = Callable[[Tensor], Tensor]  # [M, C, H, W] in [-1, 1] -> [M, N]


@dataclass(frozen=True)
class AuditConfig:
    """What an audit measures with."""

    threshold: float = 0.5
    """Probability above which a person counts as named, 0 to 1. Lower counts more images as
    re-identified."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the class classifiers; one training each, so time grows with their number."""
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)
    """Network and schedule of the class classifiers, the same for every set."""
    max_bytes: int = 1 << 30
    """Bound on the memory for image embeddings, bytes. Less is slower, not less exact."""

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise InputError(
                expected="a threshold between 0 and 1",
                got=f"{self.threshold}",
                fix="give a probability, for example 0.5",
            )


@dataclass(frozen=True, eq=False)
class SetAudit:
    """The measures of one set. A measure that was not taken is None.

    Attributes:
        images: number of images.
        class_counts: images per class name.
        nearest: LPIPS to the nearest real image; of a real set, to the nearest other person.
        reidentification: what the identity classifier says.
        utility: accuracy on real test images of classifiers trained on the set.
        config: what it was measured with.
    """

    images: int
    class_counts: dict[str, int]
    nearest: NearestReal | None
    reidentification: Reidentification | None
    utility: Utility | None
    config: AuditConfig

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values: figures of the set, nothing about single images."""
        return {
            "images": self.images,
            "class_counts": self.class_counts,
            "nearest_real": self.nearest and self.nearest.as_dict(),
            "reidentification": self.reidentification and self.reidentification.as_dict(),
            "utility": self.utility and self.utility.as_dict(),
        }


def audit_set(
    synthetic: ImageSet,
    *,
    real: ImageSet | RealReference,
    test: ImageSet | None = None,
    lpips: LPIPS | None = None,
    identity: IdentityClassifier | None = None,
    config: AuditConfig | None = None,
    progress: Progress = silent,
) -> SetAudit:
    """Measure how close a synthetic set comes to real people, and whether it is any good.

    Args:
        synthetic: the set in question.
        real: the private set it was made from; `prepare_real(...)` where several sets are
            audited against it.
        test: real images of other people, for utility. None leaves utility out; so does a set of
            one class.
        lpips: the distance; the weights that ship if None. Not used if `real` is prepared.
        identity: classifier over the real set's N people. None leaves re-identification out.
        config: thresholds, seeds, schedule, memory.
        progress: told about the stages "embed", "nearest", "re-identification" and "utility".

    Raises:
        ShapeError: image sizes differ, or the classifier is not one over N people.
        DataError: the sets' classes differ.
    """
    config = config or AuditConfig()
    source = real.images if isinstance(real, RealReference) else real
    _check_comparable(synthetic, source)
    if test is not None:
        _check_comparable(test, source)
    reference = _prepared(real, lpips, config, progress)
    nearest = nearest_real(
        synthetic.images, reference, max_bytes=config.max_bytes, progress=progress
    )
    witness = source.identities[nearest.index]
    return _measured(synthetic, source, nearest, witness, test, identity, config, progress)


def audit_real(
    real: ImageSet | RealReference,
    *,
    test: ImageSet | None = None,
    lpips: LPIPS | None = None,
    identity: IdentityClassifier | None = None,
    config: AuditConfig | None = None,
    progress: Progress = silent,
) -> SetAudit:
    """Measure the real set itself: the yardstick that synthetic sets are read against.

    Its distances are to the nearest image of another person: how close people are to each other.
    Its re-identification rate and linkage (the witness is the person itself) say how well the
    classifier recognises people at all. Arguments and errors as for `audit_set`. `nearest` is
    None for a set of one person.
    """
    config = config or AuditConfig()
    source = real.images if isinstance(real, RealReference) else real
    if test is not None:
        _check_comparable(test, source)
    reference = _prepared(real, lpips, config, progress)
    nearest = nearest_other_person(reference, max_bytes=config.max_bytes, progress=progress)
    return _measured(source, source, nearest, source.identities, test, identity, config, progress)


def _prepared(
    real: ImageSet | RealReference, lpips: LPIPS | None, config: AuditConfig, progress: Progress
) -> RealReference:
    if isinstance(real, RealReference):
        return real
    return prepare_real(real, lpips, max_bytes=config.max_bytes, progress=progress)


def _measured(
    images: ImageSet,
    real: ImageSet,
    nearest: NearestReal | None,
    witness: np.ndarray,  # [n], person of the nearest real image
    test: ImageSet | None,
    identity: IdentityClassifier | None,
    config: AuditConfig,
    progress: Progress,
) -> SetAudit:
    reidentification = None
    if identity is not None:
        reidentification = reidentify(
            images,
            witness,
            identity,
            people=real.num_identities,
            threshold=config.threshold,
            progress=progress,
        )
    utility = None
    if test is not None and images.num_classes > 1:
        utility = measure_utility(
            images, test, config=config.classifier, seeds=config.seeds, progress=progress
        )
    return SetAudit(len(images), images.class_counts(), nearest, reidentification, utility, config)


def _check_comparable(images: ImageSet, real: ImageSet) -> None:
    check_same_size(images.images, real.images)
    if images.class_names != real.class_names:
        raise DataError(
            expected=f"the classes of the real set, {_short(real.class_names)}",
            got=_short(images.class_names),
            fix="use the same class names in the same order in every set",
        )


def _short(names: tuple[str, ...]) -> str:
    text = ", ".join(names)
    return text if len(text) <= 60 else text[:57] + "..."
