"""Intra-set LPIPS against every pair."""

from __future__ import annotations

import json

import numpy as np
import pytest

from latentpath.audit.fidelity.diversity import intra_set_lpips
from latentpath.core.errors import ShapeError
from latentpath.similarity.nearest import as_planes


def _pairs(lpips, images) -> np.ndarray:
    """LPIPS of all pairs, one after the other."""
    planes = as_planes(images)
    n = len(planes)
    return np.array(
        [[float(lpips(planes[i : i + 1], planes[j : j + 1])) for j in range(n)] for i in range(n)]
    )


@pytest.mark.parametrize("kept", [True, False])
def test_against_every_pair(people, lpips, kept):
    images = people(9, channels=3, classes=("a", "b", "c")).subset([0, 1, 2, 3, 4, 6, 7])
    labels = images.labels  # 0 1 2 0 1 0 1: class 2 has one image
    embedded = lpips.embedded(as_planes(images.images), max_bytes=(1 << 30) * kept)
    found = intra_set_lpips(embedded, labels, 4)
    distance = _pairs(lpips, images.images)
    n = len(images)
    assert found.overall == pytest.approx(distance.sum() / (n * (n - 1)), rel=1e-5)
    for label in (0, 1):
        own = distance[np.ix_(labels == label, labels == label)]
        assert found.within_class[label] == pytest.approx(own.sum() / 6, rel=1e-5)
    assert found.within_class[2:] == (None, None)
    assert found.within == pytest.approx(np.mean(found.within_class[:2]))
    json.dumps(found.as_dict(), allow_nan=False)


def test_copies_of_one_image_do_not_differ(people, lpips):
    images = people(2).subset([0] * 70)
    embedded = lpips.embedded(as_planes(images.images))
    assert intra_set_lpips(embedded, images.labels, 2).overall == pytest.approx(0, abs=1e-6)


def test_one_image_has_no_pairs(people, lpips):
    one = people(1)
    found = intra_set_lpips(lpips.embedded(as_planes(one.images)), one.labels, 2)
    assert (found.overall, found.within, found.within_class) == (None, None, (None, None))


def test_labels_must_fit(people, lpips):
    with pytest.raises(ShapeError, match="one per image"):
        intra_set_lpips(lpips.embedded(as_planes(people(3).images)), np.zeros(2, int), 2)
