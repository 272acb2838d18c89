"""The people behind every image of a set, where they are known, and what the set says of them.

Who makes a set of averages, or of walks between averages, knows whose images went into each: those
of one group, or of both ends' groups. Then two questions can be asked that have no answer
otherwise: whether a classifier names one of these people (`reidentify(sources=...)`), and whether
an image tells its people from others (here). For sets of unknown making neither can be measured.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from latentpath.audit.attacks.group_attack import GroupAttack, attack_groups
from latentpath.core import InputError, Progress, ShapeError, check_at_least, silent
from latentpath.data import ImageSet
from latentpath.similarity import RealReference

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
    found = []
    for number, given in enumerate(sources):
        people = np.unique(np.asarray(given))
        known = people.dtype.kind in "iu" and people.size > 0
        if not known or people[0] < 0 or people[-1] >= real.num_identities:
            raise InputError(
                expected=f"people from 0 to {real.num_identities - 1} behind every image",
                got=f"other numbers, or none, behind image {number}",
                fix="give the numbers that the real set's identities have",
            )
        found.append(people.astype(np.int64))
    return found


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
    lookup = _Rows(real.images)
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


class _Rows:
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
