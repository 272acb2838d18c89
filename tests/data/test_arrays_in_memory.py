"""Sets of arrays in memory: the same doubts as of files."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import latentpath
from latentpath.core.errors import DataError, InputError, LatentpathWarning, ShapeError

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 32, 32), dtype=np.uint8)
LABELS, PEOPLE = [7, 3, 3, 7, 3, 3], ["ann", "bob", "bob", "cyd", "dan", "eve"]


def test_grey_arrays_and_people():
    data = latentpath.image_set(IMAGES, LABELS, PEOPLE)
    assert np.array_equal(data.images, IMAGES[..., None])
    assert data.class_names == ("3", "7")
    assert data.labels.tolist() == [1, 0, 0, 1, 0, 0]
    assert data.identities.tolist() == [0, 1, 1, 2, 3, 4]
    assert data.reading.counted_by == "given"


@pytest.mark.parametrize(
    "labels", [["ill", "well"] * 3, [1, 0] * 3, np.array([[1], [0]] * 3, np.uint8)]
)
def test_named_classes(labels):
    people = torch.arange(6)
    data = latentpath.image_set(IMAGES, labels, people, class_names=["well", "ill"])
    assert data.class_names == ("well", "ill")
    assert data.labels.tolist() == [1, 0] * 3


def test_one_image_per_person_has_to_be_said():
    with pytest.raises(InputError, match="people, not images"):
        latentpath.image_set(IMAGES, LABELS)
    with pytest.raises(InputError, match="both"):
        latentpath.image_set(IMAGES, LABELS, PEOPLE, one_image_per_person=True)
    data = latentpath.image_set(IMAGES, LABELS, one_image_per_person=True)
    assert data.num_identities == 6
    assert data.reading.counted_by == "one-image-per-person"


def test_copies_under_other_people_are_told():
    twice = IMAGES.copy()
    twice[5] = twice[0]
    with pytest.warns(LatentpathWarning, match="exact copies of another identity"):
        latentpath.image_set(twice, [3] * 6, PEOPLE)


@pytest.mark.parametrize(
    ("error", "match", "change"),
    [
        (ShapeError, "uint8", {"images": IMAGES / 255}),
        (ShapeError, "labels as 6", {"labels": LABELS[:5]}),
        (ShapeError, "labels as 6", {"labels": np.eye(6)}),
        (ShapeError, "people as 6", {"people": [0.5] * 6}),
        (DataError, "1 of 6 that are empty", {"people": [*PEOPLE[:5], ""]}),
        (DataError, "1 of 6 that are empty", {"people": np.array([*PEOPLE[:5], None], object)}),
        (DataError, "4 labels that are not", {"labels": [0, 1, 2, 2, 2, 2], "class_names": "ab"}),
        (DataError, "look like people's", {"labels": [f"MRN{n}00417" for n in range(6)]}),
    ],
)
def test_what_is_refused(error, match, change):
    given = {"images": IMAGES, "labels": LABELS, "people": PEOPLE} | change
    with pytest.raises(error, match=match):
        latentpath.image_set(**given)
