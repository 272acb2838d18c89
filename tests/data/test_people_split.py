"""Nobody is both behind the set and held out."""

from __future__ import annotations

import numpy as np
import pytest

from latentpath.core.errors import DataError
from latentpath.data.people_split import split_people, validation_people
from support import tiny_models


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5])
@pytest.mark.parametrize("per_person", [1, 3])
def test_people_are_on_one_side_with_all_of_their_images(share, per_person):
    data = tiny_models.private_set((20, 14, 10), per_person=per_person)
    private, others = split_people(data, share, seed=3)
    known = {image.tobytes(): person for image, person in zip(data.images, data.identities,
             strict=True)}  # fmt: skip
    sides = [{known[image.tobytes()] for image in part.images} for part in (private, others)]
    assert not sides[0] & sides[1]
    assert len(sides[0] | sides[1]) == data.num_identities
    assert len(private) + len(others) == len(data)
    assert (private.num_identities, others.num_identities) == tuple(map(len, sides))
    for label, people in enumerate((20, 14, 10)):
        out = len(np.unique(others.identities[others.labels == label]))
        assert out == max(2, round(share * people))


def test_the_same_seed_holds_the_same_people_out():
    data = tiny_models.private_set((20, 14))
    first, again, other = (split_people(data, 0.3, seed).others.images for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_too_few_people():
    with pytest.raises(DataError, match="at least 4 people in every class, 2 of them for the au"):
        split_people(tiny_models.private_set((20, 3)), 0.2)


@pytest.mark.parametrize(
    ("sizes", "share", "held"),
    [((60, 60), 0.1, 20), ((200, 200), 0.1, 40), ((60, 60), 0.0, 0), ((40, 30), 0.1, 0)],
)
def test_people_to_judge_by_are_enough_or_none(sizes, share, held):
    split = validation_people(tiny_models.private_set(sizes), share)
    assert (0 if split is None else split.others.num_identities) == held
