"""All measures of one set."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from latentpath.audit.attacks.group_attack import GroupAttack
from latentpath.audit.attacks.membership import Membership, measure_membership
from latentpath.audit.attacks.source_attack import Sources, attack_sources, checked_sources
from latentpath.audit.audit_config import MEASURES, AuditConfig
from latentpath.audit.audit_setup import Setting
from latentpath.audit.closeness.closest_record import RecordRatio, record_ratio
from latentpath.audit.copies.duplicates import Duplicates, find_duplicates
from latentpath.audit.fidelity.set_fidelity import Fidelity, measure_fidelity
from latentpath.audit.recognition.reidentification import Reidentification, reidentify
from latentpath.audit.utility.classifier_utility import Utility, measure_utility
from latentpath.core import Progress
from latentpath.data import ImageSet
from latentpath.similarity import (
    NearestReal,
    RealReference,
    nearest_other_person,
    nearest_real,
)

NEEDS_HOLDOUT = "It needs real images of other people (a holdout), and there are none."
NEEDS_SOURCES = "It is not known which people are behind each image."

_NEED_HOLDOUT = {"record_ratio", "second_ratio", "membership"}
_NEED_CLASSES = {"utility", "membership"}
_NOT_OF_REAL = {"copies", "second", "record_ratio", "second_ratio", "fidelity", "group_attack"}


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
        copies: exact and near-copies of real images.
        record_ratio: LPIPS to the people behind the set against that to the holdout.
        second: as `nearest`, by an embedding that shares nothing with LPIPS.
        second_ratio: as `record_ratio`, by that embedding.
        fidelity: realism and variety.
        membership: what attacks on models trained on the set, and on the set itself, achieve.
        group_attack: whether images tell the people behind each from others.
        not_measured: why a measure was not taken, in plain words.
    """

    images: int
    class_counts: dict[str, int]
    nearest: NearestReal | None
    reidentification: Reidentification | None
    utility: Utility | None
    config: AuditConfig
    copies: Duplicates | None = None
    record_ratio: RecordRatio | None = None
    second: NearestReal | None = None
    second_ratio: RecordRatio | None = None
    fidelity: Fidelity | None = None
    membership: Membership | None = None
    group_attack: GroupAttack | None = None
    not_measured: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, object]:
        """Return plain JSON values: figures of the set, nothing about single images."""
        return {
            "images": self.images,
            "class_counts": self.class_counts,
            "copies": self.copies and self.copies.as_dict(),
            "nearest_real": self.nearest and self.nearest.as_dict(),
            "reidentification": self.reidentification and self.reidentification.as_dict(),
            "record_ratio": self.record_ratio and self.record_ratio.as_dict(),
            "second_nearest_real": self.second and self.second.as_dict(),
            "second_record_ratio": self.second_ratio and self.second_ratio.as_dict(),
            "fidelity": self.fidelity and self.fidelity.as_dict(),
            "utility": self.utility and self.utility.as_dict(),
            "membership": self.membership and self.membership.as_dict(),
            "group_attack": self.group_attack and self.group_attack.as_dict(),
            "not_measured": dict(self.not_measured),
        }


def measure_set(
    images: ImageSet,
    setting: Setting,
    *,
    only: Collection[str] = MEASURES,
    name: str = "",
    sources: Sources | None = None,  # n x int64, the people behind each image
) -> SetAudit:
    """Take the setting's measures of a synthetic set (or of real images of other people).

    Args:
        images: the set.
        setting: what it is held against.
        only: of the setting's measures.
        name: of the set, told with the progress where there are several.
        sources: for every image the people of the real set behind it, as its identities number
            them; None where they are not known.

    Raises:
        ShapeError: image sizes differ, the identity classifier is not one over N people, or there
            are not as many sources as images.
        DataError: the sets' classes differ.
        InputError: sources who are none of the N.
    """
    setting.check(images)
    known = None if sources is None else checked_sources(sources, images, setting.real)
    return _taken(_Synthetic(images, setting, name, known), setting, only)


def measure_real(setting: Setting, *, name: str = "") -> SetAudit:
    """Take the measures of the real set itself: the yardstick that sets are read against.

    Its distances are to the nearest image of another person: how close people are to each other.
    Its re-identification rate and linkage (the witness is the person itself) say how well the
    classifier recognises people at all. Models trained on it show what membership inference and
    utility are without any protection.
    """
    return _taken(_Real(setting.real, setting, name), setting, MEASURES)


def _taken(subject: _Subject, setting: Setting, only: Collection[str]) -> SetAudit:
    images, missing = subject.images, {}
    results: dict[str, Any] = {}
    for name in MEASURES:
        reason = subject.why_not(name) if name in only else "It is not asked of these images."
        if reason:
            missing[name] = reason
        else:
            results[name] = getattr(subject, name)()
    return SetAudit(
        images=len(images),
        class_counts=images.class_counts(),
        config=setting.config,
        not_measured=missing,
        **{name: results.get(name) for name in MEASURES},
    )


def _told_of(name: str, progress: Progress) -> Progress:
    """Progress whose stages say which set they are about."""
    if not name:
        return progress

    def tell(stage: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        progress(f"{name}: {stage}", done, total, figures)

    return tell


class _Subject:
    """A set with one method for each measure, of the measure's name."""

    def __init__(self, images: ImageSet, setting: Setting, name: str) -> None:
        self.images, self.setting = images, setting
        self.progress = _told_of(name, setting.progress)

    def why_not(self, measure: str) -> str:
        """Why a measure cannot be taken or is not wanted; nothing if it can."""
        setting = self.setting
        if measure not in setting.measures:
            return "Left out on request."
        if measure in _NEED_HOLDOUT and setting.holdout is None:
            return NEEDS_HOLDOUT
        if measure == "reidentification":
            if setting.identity is None and not setting.config.independent:
                return "It needs an identity classifier or an independent witness."
            if setting.real.num_identities < 2:
                return "There is one person only."
        if measure == "utility" and setting.test_set is None:
            return "It needs real test images of other people, and there are none."
        if measure == "membership" and setting.too_few:
            return setting.too_few
        if measure == "fidelity" and min(len(self.images), len(setting.real)) < 2:
            return "It needs at least two images in either set."
        if measure in ("record_ratio", "second_ratio") and not setting.classes_in_common:
            return "The real set and the holdout have no class in common."
        if measure in _NEED_CLASSES and len(np.unique(self.images.labels)) < 2:
            return "It needs at least two classes, and the set has images of one."
        return ""

    def utility(self) -> Utility:
        test = self.setting.test_set
        assert test is not None, "checked by why_not"
        return measure_utility(
            self.images,
            test,
            config=self.setting.config.classifier,
            seeds=self.setting.config.seeds,
            device=self.setting.device,
            progress=self.progress,
        )

    def membership(self) -> Membership:
        """Of models trained on the set, and of the set itself."""
        reference = self.setting.candidates
        assert reference is not None, "checked by why_not"
        return measure_membership(self.images, reference, progress=self.progress)

    def _reidentified(
        self,
        witness: np.ndarray,
        strangers: ImageSet | None,
        sources: Sources | None = None,
    ) -> Reidentification:
        """By the walk's classifier, the independent one, or both."""
        setting = self.setting
        classifiers = [] if setting.identity is None else [setting.identity]
        if setting.config.independent:
            classifiers.append(setting.witness)
        return reidentify(
            self.images,
            witness,
            classifiers[0],
            independent=classifiers[1] if len(classifiers) > 1 else None,
            people=setting.real.num_identities,
            threshold=setting.config.threshold,
            holdout=strangers,
            sources=sources,
            groups=self.images.identities,
            progress=self.progress,
        )


class _Synthetic(_Subject):
    """A set that is held against the real one."""

    def __init__(
        self, images: ImageSet, setting: Setting, name: str, sources: Sources | None
    ) -> None:
        super().__init__(images, setting, name)
        self._sources = sources

    def why_not(self, measure: str) -> str:
        reason = super().why_not(measure)
        if measure == "group_attack" and not reason and self._sources is None:
            return NEEDS_SOURCES
        return reason

    @cached_property
    def _nearest(self) -> NearestReal:
        return nearest_real(
            self.images.images,
            self.setting.reference,
            max_bytes=self.setting.config.max_bytes,
            progress=self.progress,
        )

    def nearest(self) -> NearestReal:
        return self._nearest

    def reidentification(self) -> Reidentification:
        people = self.setting.real.identities[self._nearest.index]
        # Strangers are not told from themselves.
        strangers = self.setting.strangers
        others = None if self.images is strangers else strangers
        return self._reidentified(people, others, self._sources)

    def copies(self) -> Duplicates:
        return find_duplicates(
            self.images.images,
            self.setting.duplicates,
            labels=self.images.labels,
            groups=self.images.identities,
            progress=self.progress,
        )

    def second(self) -> NearestReal:
        return nearest_real(
            self.images.images, self.setting.second_reference, progress=self.progress
        )

    def record_ratio(self) -> RecordRatio:
        return self._ratio(self.setting.reference, self.setting.others)

    def second_ratio(self) -> RecordRatio:
        return self._ratio(self.setting.second_reference, self.setting.second_others)

    def _ratio(self, real: RealReference, others: RealReference | None) -> RecordRatio:
        assert others is not None, "checked by why_not"
        return record_ratio(
            self.images,
            real,
            others,
            # Points of one walk are read as images of one person.
            groups=self.images.identities,
            progress=self.progress,
        )

    def fidelity(self) -> Fidelity:
        return measure_fidelity(self.images, self.setting.fidelity, progress=self.progress)

    def group_attack(self) -> GroupAttack:
        assert self._sources is not None, "checked by why_not"
        config = self.setting.config
        return attack_sources(
            self.images,
            self._sources,
            self.setting.reference,
            self.setting.others,
            walks=self.images.identities,
            most=config.group_images,
            max_bytes=config.max_bytes,
            progress=self.progress,
        )


class _Real(_Subject):
    """The real set, held against itself."""

    def why_not(self, measure: str) -> str:
        if measure in _NOT_OF_REAL:
            return "It compares a set with the real one, which is this set itself."
        if measure == "nearest" and self.setting.real.num_identities < 2:
            return "There is no other person."
        return super().why_not(measure)

    def nearest(self) -> NearestReal | None:
        return nearest_other_person(
            self.setting.reference,
            max_bytes=self.setting.config.max_bytes,
            progress=self.progress,
        )

    def reidentification(self) -> Reidentification:
        return self._reidentified(self.images.identities, self.setting.strangers)
