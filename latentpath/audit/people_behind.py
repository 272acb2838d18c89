"""The people behind every image of a set, where they are known.

Who makes a set of averages, or of walks between averages, knows whose images went into each: those
of one group, or of both ends' groups. Then two questions can be asked that have no answer
otherwise: whether a classifier names one of these people, and whether an image tells its people
from others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from latentpath.core import InputError, ShapeError
from latentpath.data import ImageSet

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
