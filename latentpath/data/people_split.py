"""Who is behind the set and who is kept out of it: no person is on both sides."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from latentpath.core import DataError
from latentpath.data.images import ImageSet

USUAL_K = 5
"""Distinct people whom every endpoint is an average over, at least, where nobody says another k."""

# Fewer strangers than this tell nothing about a class.
_LEAST_HELD_OUT = 2
# People without whom no network can be judged, and the share of all that they may be.
_LEAST_JUDGES, _MOST_JUDGES = 20, 0.25
FEWEST_TO_JUDGE = round(_LEAST_JUDGES / _MOST_JUDGES)
"""Of fewer people none can be held out to judge networks by."""


class PeopleSplit(NamedTuple):
    """Two sets without a common person."""

    private: ImageSet
    """The people behind the set."""
    others: ImageSet
    """Those whom nothing is made of."""


def split_people(data: ImageSet, share: float, seed: int = 0) -> PeopleSplit:
    """Keep a share of the people out, with all of their images.

    A person counts for the class that most of their images are of, and every class keeps out its
    share of people. The same images, share and seed give the same people.

    Args:
        data: all people.
        share: of the people to keep out, above 0 and below 1.
        seed: of who they are.

    Raises:
        DataError: a class with too few people to keep two out and two in.
    """
    count = np.zeros((data.num_identities, data.num_classes), dtype=np.int64)
    np.add.at(count, (data.identities, data.labels), 1)
    own = count.argmax(axis=1)  # [N], the class of each person
    rng = np.random.default_rng(seed)
    out = np.zeros(data.num_identities, dtype=bool)
    for label, name in enumerate(data.class_names):
        people = rng.permutation(np.flatnonzero(own == label))
        kept_out = max(_LEAST_HELD_OUT, round(share * len(people)))
        if len(people) < kept_out + 2:
            raise DataError(
                expected=f"at least {kept_out + 2} people in every class, {kept_out} of them for "
                "the audit",
                got=f"{len(people)} in class {name!r}",
                fix="leave small classes out, or give images of more people",
            )
        out[people[:kept_out]] = True
    rows = out[data.identities]
    return PeopleSplit(data.subset(~rows), data.subset(rows))


def validation_people(
    data: ImageSet, share: float, least: int = _LEAST_JUDGES, seed: int = 0
) -> PeopleSplit | None:
    """Keep out people to judge networks by, where there are enough of them.

    At least `least` people are kept out, and at most a quarter.

    Args:
        data: all people.
        share: of the people to keep out; 0 keeps nobody out.
        least: people without whom nothing can be judged.
        seed: of who they are.

    Returns:
        the two sets; None where there are too few people, or a class has.
    """
    people = data.num_identities
    count = max(share * people, least)
    if not share or count > _MOST_JUDGES * people:
        return None
    try:
        return split_people(data, count / people, seed)
    except DataError:
        return None
