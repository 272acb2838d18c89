"""The same picture in several sizes, formats and contrasts is one person's, and said so."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from PIL import Image, ImageOps

from latentpath.core import DataError, LatentpathWarning
from latentpath.data import read_image_set, scan
from latentpath.data.near_copies import NearCopies
from support.picture_files import write_table


def smooth(seed, side=64):
    rough = np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)
    return Image.fromarray(rough).resize((side, side), Image.Resampling.BICUBIC)


def compared(images, people=None):
    copies = NearCopies()
    for row, image in enumerate(images):
        copies.add(row, np.asarray(image)[..., None])
    return copies.across(np.arange(len(images)) if people is None else np.array(people))


def compared_arrays(images):
    copies = NearCopies()
    for row, image in enumerate(images):
        copies.add(row, image if image.ndim == 3 else image[..., None])
    return copies.across(np.arange(len(images)))


def test_the_comparison_is_told_from_its_beginning_to_its_end():
    copies, told = NearCopies(), []
    for row in range(1100):
        copies.add(row, np.asarray(smooth(row, 16))[..., None])
    copies.across(np.arange(1100), lambda stage, done, total, figures: told.append((stage, done)))
    stages, done = zip(*told, strict=True)
    assert set(stages) == {"compare images"}
    assert len(done) > 3
    assert list(done) == sorted(set(done))


class TestPixels:
    @pytest.mark.parametrize(
        "change",
        [
            lambda image: image.resize((48, 48), Image.Resampling.LANCZOS),
            lambda image: image.resize((150, 150)),
            lambda image: image.point(lambda value: 40 + value // 2),
            lambda image: image,
            lambda image: image.rotate(90),
            lambda image: image.rotate(180).resize((48, 48)),
            lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
            lambda image: image.transpose(Image.Transpose.TRANSVERSE),
            lambda image: ImageOps.invert(image),
            lambda image: ImageOps.invert(image.rotate(90)).resize((48, 48)),
            lambda image: ImageOps.expand(image, 6),
            lambda image: ImageOps.expand(image, (0, 10), 255),
            lambda image: ImageOps.expand(image, 9).resize((80, 80)),
            lambda image: ImageOps.invert(ImageOps.expand(image, 5).rotate(180)),
            lambda image: ImageOps.crop(image, 2),
            lambda image: ImageOps.crop(image, (3, 0, 0, 2)),
            lambda image: ImageOps.crop(image, (0, 0, 4, 0)).resize((64, 64)),
            lambda image: ImageOps.crop(image, 3).point(lambda value: 20 + value * 3 // 4),
        ],
    )
    def test_changed_copies(self, change):
        images = [smooth(seed) for seed in range(7)]
        assert compared([*images, change(images[2]), change(images[5])]) == 4

    def test_others(self):
        assert compared([smooth(seed) for seed in range(40)]) == 0
        assert compared([smooth(0)]) == 0
        assert compared([]) == 0

    def test_borders_alone_are_no_copies(self):
        bordered = [ImageOps.expand(smooth(seed), 8) for seed in range(20)]
        assert compared(bordered) == 0
        assert compared([*bordered, ImageOps.expand(smooth(3), 14)]) == 2

    @pytest.mark.parametrize("name", ["chest_xray_64", "skin_lesions_64", "pneumoniamnist"])
    def test_published_sets_of_one_image_a_person(self, shared_data, name):
        with np.load(shared_data / f"{name}.npz") as arrays:
            if "patients" in arrays:
                first = np.unique(arrays["patients"], return_index=True)[1]
                images = arrays["images"][first[:700]]
            else:
                images = arrays["train_images"][:700]
        assert compared_arrays(images) == 0
        some = images[:20]
        changed = [255 - some, some[:, 2:-1, 1:-2], np.pad(some, ((0, 0), (6, 6), (5, 5))
                   + ((0, 0),) * (some.ndim - 3))]  # fmt: skip
        for part in changed:
            assert compared_arrays([*images, *part]) >= 38

    def test_one_persons_own(self):
        images = [smooth(seed) for seed in (0, 1, 2, 0, 3)]
        assert compared(images, [0, 1, 2, 0, 3]) == 0
        assert compared(images, [0, 1, 2, 3, 3]) == 2

    def test_a_set_that_is_alike_throughout(self):
        """Scans of one organ in one position: nearer to each other than copies are elsewhere."""
        common = np.asarray(smooth(0), dtype=np.float64)
        alike = [common * 0.97 + np.asarray(smooth(seed)) * 0.03 for seed in range(1, 30)]
        images = [np.round(image).astype(np.uint8) for image in alike]
        assert compared(images) == 0
        assert compared([*images, images[4]]) == 2

    def test_flat_pictures_are_no_copies(self):
        flat = [Image.new("L", (20, 20), grey) for grey in (0, 0, 90, 255)]
        assert compared([*flat, smooth(1)]) == 0

    def test_more_images_than_are_compared_at_once(self, monkeypatch):
        monkeypatch.setattr("latentpath.data.near_copies._CHUNK", 5)
        images = [smooth(seed, 20) for seed in range(23)]
        assert compared([*images, images[0], images[22], images[11]]) == 6


@pytest.fixture
def folder(tmp_path):
    for seed in range(6):
        place = tmp_path / "set" / "ab"[seed % 2]
        place.mkdir(parents=True, exist_ok=True)
        smooth(seed).save(place / f"x{seed}.png")
    smooth(2).resize((48, 48)).save(tmp_path / "set" / "a" / "small.jpg")
    return tmp_path / "set"


def test_they_are_refused(folder):
    with pytest.raises(DataError, match="got 2 of 7 images with a copy among the others") as error:
        read_image_set(folder, resolution=16)
    assert "--one-image-per-person if they show different people" in str(error.value)
    report = scan(folder)
    assert (report.near_copies, report.copies_across_people) == (2, 0)
    assert any("2 images show the same picture" in line for line in report.lines())


def test_somebodys_word_allows_them(folder):
    with pytest.warns(LatentpathWarning, match="2 images show the same picture as another"):
        found = read_image_set(folder, resolution=16, one_image_per_person=True)
    assert found.num_identities == 7


def test_a_table_that_knows_better(folder, tmp_path):
    rows = [f"x{seed},{seed}" for seed in range(6)]
    table = write_table(tmp_path / "people.csv", [*rows, "small,2"], "image,identity")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image_set(folder, resolution=16, identities=table).num_identities == 6
