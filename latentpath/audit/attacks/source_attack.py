"""The attack on groups for a set whose images' people are known: does an image tell who is behind?

For sets of unknown making it cannot be measured.
"""

from __future__ import annotations

import numpy as np

from latentpath.audit.attacks.group_attack import GroupAttack, attack_groups
from latentpath.audit.people_behind import Sources, checked_sources
from latentpath.core import Progress, check_at_least, silent
from latentpath.data import ImageSet
from latentpath.similarity import RealReference


def attack_sources(
    images: ImageSet,
    sources: Sources,
    real: RealReference,
    holdout: RealReference | None = None,
    *,
    walks: np.ndarray | None = None,  # [n], equal for images that belong together
    most: int = 2000,
    seed: int = 0,
    resamples: int = 1000,
    max_bytes: int = 1 << 30,
    progress: Progress = silent,
) -> GroupAttack:
    """Attack every image as the centroid of the people behind it; see `group_attack`.

    Args:
        images: the set.
        sources: the people behind each image, by the numbers of `real.images.identities`.
        real: the private set.
        holdout: people who took no part; None leaves that comparison out.
        walks: of each image; None where all are independent.
        most: images that are attacked, drawn at random where there are more. Time and memory grow
            with their number; the intervals are those of so many.
        seed: of that draw, and of the attack.
        resamples: for the intervals.
        max_bytes: bound on the memory for embeddings.
        progress: told as stage "group attack".

    Raises:
        ShapeError, InputError: sources that do not fit, or images of another size.
    """
    check_at_least(1, most=most)
    people = checked_sources(sources, images, real.images)
    rows = np.arange(len(images))
    if len(rows) > most:
        rows = np.sort(np.random.default_rng(seed).choice(len(rows), most, replace=False))
    lookup = _RowsBehind(real.images)
    return attack_groups(
        images.images[rows],
        [lookup.of(people[row], int(images.labels[row])) for row in rows],
        real,
        holdout,
        clusters=None if walks is None else np.asarray(walks)[rows],
        seed=seed,
        resamples=resamples,
        max_bytes=max_bytes,
        progress=progress,
    )


class _RowsBehind:
    """Which rows of the private set are behind an image of a class."""

    def __init__(self, real: ImageSet) -> None:
        self._labels = real.labels
        order = np.argsort(real.identities, kind="stable")
        self._of_person = np.split(order, np.cumsum(np.bincount(real.identities))[:-1])
        self._known: dict[tuple[bytes, int], np.ndarray] = {}

    def of(self, people: np.ndarray, label: int) -> np.ndarray:
        """All rows of these people in the class, for those in it; of the others all rows.

        Points of one walk share their people, and these their rows.
        """
        key = people.tobytes(), label
        if key not in self._known:
            parts = []
            for person in people:
                rows = self._of_person[person]
                in_class = rows[self._labels[rows] == label]
                parts.append(in_class if len(in_class) else rows)
            self._known[key] = np.concatenate(parts)
        return self._known[key]
