"""Sets of other sizes, colours and orders of classes."""

from __future__ import annotations

import numpy as np
import pytest

from latentpath.audit.image_forms import (
    Form,
    in_form,
    shared_images,
    with_classes,
    without_shared,
)
from latentpath.core.errors import DataError, ShapeError
from latentpath.data import ImageSet, resize_images


def test_a_set_of_that_form_is_left_alone(people):
    images = people(4)
    assert in_form(images, Form.of(images)) is images


def test_sizes_and_colours_are_those_of_the_set_in_question(people):
    pytest.importorskip("PIL")
    grey, colour = people(5), people(4, channels=3)
    found = in_form(grey, Form(8, 8, 3))
    assert found.images.shape == (5, 8, 8, 3)
    np.testing.assert_array_equal(found.images[..., :1], resize_images(grey.images, 8))
    np.testing.assert_array_equal(found.images[..., 0], found.images[..., 2])
    np.testing.assert_array_equal(found.labels, grey.labels)
    np.testing.assert_array_equal(found.identities, grey.identities)
    assert in_form(colour, Form.of(grey)).images.shape == (4, 16, 16, 1)
    red = ImageSet(np.zeros((1, 4, 4, 3), np.uint8), [0], [0], ("a",))
    red.images[..., 0] = 255
    assert (in_form(red, Form(4, 4, 1)).images == 76).all()  # 0.299 * 255


def test_only_squares_are_resized(people):
    wide = ImageSet(np.zeros((2, 8, 12, 1), np.uint8), [0, 0], [0, 1], ("a",))
    assert in_form(wide, Form(8, 12, 3)).images.shape == (2, 8, 12, 3)
    with pytest.raises(ShapeError, match="12x8 pixels, as the set in question, got 16x16"):
        in_form(people(2), Form.of(wide))


def test_classes_are_matched_by_name(people):
    images = people(6, classes=("bright", "dark"))
    found = with_classes(images, ("dark", "grey", "bright"), what="synthetic")
    assert found.class_names == ("dark", "grey", "bright")
    names = np.array(images.class_names)[images.labels]
    np.testing.assert_array_equal(np.array(found.class_names)[found.labels], names)
    assert with_classes(images, images.class_names, what="synthetic") is images


def test_a_class_without_images_needs_no_name(people):
    images = people(4)
    more = ImageSet(images.images, images.labels + 1, images.identities, ("none", "dark", "bright"))
    assert with_classes(more, ("bright", "dark"), what="x").class_counts() == {
        "bright": 2,
        "dark": 2,
    }


def test_unknown_classes_are_refused(people):
    with pytest.raises(DataError, match=r"\(dark, bright\) in the holdout set, got a, b"):
        with_classes(people(4, classes=("a", "b")), ("dark", "bright"), what="holdout")
    many = tuple(f"class {i}" for i in range(40))
    with pytest.raises(DataError) as error:
        with_classes(people(40, classes=many), ("dark", "bright"), what="holdout")
    assert len(str(error.value)) < 300


def test_shared_images_are_counted(people):
    real = people(6)
    twice = real.subset([0, 0, 3])
    assert shared_images(real, people(6, seed=1)) == 0
    assert shared_images(real, twice) == 3


def test_people_of_whom_one_image_is_shared_are_left_out(people):
    real, others = people(3), people(4, per_person=2, seed=1)
    assert without_shared(real, others) is others
    assert without_shared(real, real.subset([0, 2])) is None
    others.images[2] = real.images[1]
    found = without_shared(real, others)
    assert found.identities.tolist() == [0, 0, 1, 1, 2, 2]
    assert (found.images == others.images[[0, 1, 4, 5, 6, 7]]).all()
