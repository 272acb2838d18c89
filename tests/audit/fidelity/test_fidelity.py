"""Fidelity: sets that are as good as real, copied, collapsed, noisy or too small."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from latentpath.audit.fidelity.fidelity_findings import FidelityConfig
from latentpath.audit.fidelity.set_fidelity import (
    measure_fidelity,
    prepare_fidelity,
)
from latentpath.core.errors import DataError, InputError, ShapeError
from latentpath.data import ImageSet
from latentpath.similarity.nearest import prepare_real


@pytest.fixture(scope="module", autouse=True)
def _torchmetrics():
    """Imported by the workers that need it: it takes seconds."""
    pytest.importorskip("torchmetrics")


QUICK = FidelityConfig(kid_subsets=10)


def quadrants(images: torch.Tensor) -> torch.Tensor:
    """Mean grey of the four quarters: four features that cost nothing."""
    return torch.nn.functional.adaptive_avg_pool2d(images, 2).flatten(1)


def changed(images: ImageSet, pixels: np.ndarray) -> ImageSet:
    return ImageSet(
        pixels.clip(0, 255).astype(np.uint8), images.labels, images.identities, images.class_names
    )


@pytest.fixture(scope="module")
def reference(people, lpips):
    return prepare_fidelity(
        people(300), people(120, seed=1), extractor=quadrants, lpips=lpips, config=QUICK
    )


def test_fresh_real_people_score_like_the_yardstick(people, reference):
    found = measure_fidelity(people(120, seed=2), reference)
    assert found.yardstick.images == found.matched.images == 120
    assert found.matched == found.distances
    assert found.distances.fid < 3 * found.yardstick.fid
    assert abs(found.distances.kid - found.yardstick.kid) < 3 * found.yardstick.kid_sd
    assert found.distances.manifold.precision > 0.85
    assert found.distances.manifold.recall > 0.7
    assert found.diversity_ratio == pytest.approx(1, abs=0.05)
    assert found.cautions == ()


def test_a_larger_set_is_matched_to_the_yardstick_in_size(people, reference):
    found = measure_fidelity(people(240, seed=2), reference)
    assert (found.distances.images, found.matched.images) == (240, 120)
    assert found.distances != found.matched
    smaller = measure_fidelity(people(50, seed=2), reference)
    assert smaller.matched == smaller.distances
    assert smaller.yardstick.images == 50


def test_a_copy_of_the_real_set_scores_better_than_real_people(people, reference):
    found = measure_fidelity(people(300), reference)
    assert found.distances.fid < 1e-6
    manifold = found.distances.manifold
    assert (manifold.precision, manifold.recall, manifold.coverage) == (1, 1, 1)
    assert found.matched.fid < found.yardstick.fid
    assert found.matched.manifold.coverage > found.yardstick.manifold.coverage


def test_a_collapsed_set_loses_variety(people, reference):
    fresh = people(200, seed=2)
    few = fresh.subset(np.arange(200) % 6)
    found = measure_fidelity(few, reference)
    whole = measure_fidelity(fresh, reference)
    assert found.distances.manifold.recall < 0.2 < whole.distances.manifold.recall
    assert found.distances.manifold.coverage < 0.3
    assert found.distances.fid > 3 * whole.distances.fid
    # Three images per class: a third of the pairs are copies.
    assert found.diversity_ratio < 0.85


def test_noise_is_no_real_image(people, reference):
    images = people(120, seed=2)
    noise = np.random.default_rng(0).integers(0, 256, images.images.shape)
    found = measure_fidelity(changed(images, noise), reference)
    assert found.distances.manifold.density < 0.5 * found.yardstick.manifold.density
    assert found.distances.kid > 10 * abs(found.yardstick.kid)


def test_the_extractor_that_ships_orders_sets_by_quality(people, lpips):
    real, fresh = people(150), people(60, seed=2)
    prepared = prepare_fidelity(real, people(60, seed=1), lpips=lpips, config=QUICK)
    noise = np.random.default_rng(0).normal(0, 1, fresh.images.shape)
    found = [
        measure_fidelity(changed(fresh, fresh.images + level * noise), prepared)
        for level in (0, 15, 60)
    ]
    fid = [one.distances.fid for one in found]
    kid = [one.distances.kid for one in found]
    assert fid == sorted(fid)
    assert kid == sorted(kid)
    assert fid[0] < 1.5 * found[0].yardstick.fid < fid[2]
    assert found[0].features == 256
    assert "AlexNet" in found[0].extractor
    # 60 and 150 images for 256 features.
    assert any("256 features from only 60 images" in caution for caution in found[0].cautions)
    assert any("yardstick is 60 real images" in caution for caution in found[0].cautions)


def test_prepared_or_not_is_the_same(people, lpips, reference):
    synthetic = people(40, seed=3)
    at_once = measure_fidelity(
        synthetic,
        prepare_real(people(300), lpips),
        holdout=people(120, seed=1),
        extractor=quadrants,
        config=QUICK,
    )
    prepared = measure_fidelity(synthetic, reference).as_dict()
    assert at_once.real_diversity.overall == pytest.approx(reference.diversity.overall)
    for name, value in at_once.distances.as_dict().items():
        assert prepared[name] == value
    with pytest.raises(InputError, match="prepared reference alone"):
        measure_fidelity(synthetic, reference, config=QUICK)


def test_the_dictionary_is_plain(people, reference):
    figures = measure_fidelity(people(30, seed=2), reference).as_dict()
    text = json.loads(json.dumps(figures, allow_nan=False))
    assert text["extractor"] == "quadrants"
    assert text["features"] == 4
    assert {"fid", "kid", "kid_sd", "precision", "recall", "density", "coverage"} <= set(text)
    assert set(text["yardstick"]) == set(text["matched"]) < set(text)
    assert len(text["intra_set_lpips"]["within_class"]) == 2


@pytest.mark.parametrize("n", [2, 3, 5])
def test_tiny_sets_are_measured_with_cautions(people, lpips, n):
    found = measure_fidelity(
        people(n, seed=1), people(4), extractor=quadrants, lpips=lpips, config=QUICK
    )
    assert found.distances.neighbours == min(n, 4) - 1
    assert found.matched is found.yardstick is None
    assert any("neighbours" in caution for caution in found.cautions)
    assert any("no yardstick" in caution for caution in found.cautions)
    json.dumps(found.as_dict(), allow_nan=False)


def test_one_person_held_out_is_no_yardstick(people, lpips):
    found = measure_fidelity(
        people(9), people(9), holdout=people(1), extractor=quadrants, lpips=lpips, config=QUICK
    )
    assert found.yardstick is None


def test_another_mix_of_classes_is_told(people, reference):
    images = people(80, seed=2)
    found = measure_fidelity(images.subset(images.labels == 1), reference)
    assert any("50% of the set would have to change class" in text for text in found.cautions)
    assert found.diversity.within_class[0] is None
    assert found.diversity_ratio == pytest.approx(1, abs=0.1)


def test_identical_images_have_no_diversity_to_lose(people, lpips):
    flat = people(2).subset([0] * 8)
    found = measure_fidelity(flat, flat, extractor=quadrants, lpips=lpips, config=QUICK)
    assert found.distances.fid == pytest.approx(0, abs=1e-9)
    assert found.distances.manifold.precision == 1
    json.dumps(found.as_dict(), allow_nan=False)


def test_sets_that_cannot_be_compared_are_refused(people, lpips, reference):
    with pytest.raises(DataError, match="at least two images in the synthetic set"):
        measure_fidelity(people(1), reference)
    with pytest.raises(DataError, match="at least two images in the real set"):
        prepare_fidelity(people(1), lpips=lpips)
    with pytest.raises(DataError, match="classes of the real set"):
        measure_fidelity(people(4, classes=("a", "b", "c")), reference)
    with pytest.raises(ShapeError):
        measure_fidelity(people(4, channels=3), reference)
    with pytest.raises(ShapeError):
        prepare_fidelity(people(4), people(4, channels=3), lpips=lpips)
    with pytest.raises(InputError):
        FidelityConfig(kid_subset_size=1)
