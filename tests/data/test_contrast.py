"""Which values become black and white, and what is said where contrast would be lost."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image

from latentpath.core import DataError, InputError, LatentpathWarning
from latentpath.data import PRESETS, parse_window, read_image_set, scan
from latentpath.data.contrast import UndecodableError, picture_of
from support.made_scans import shown, slice_of

RNG = np.random.default_rng(7)


class TestWords:
    @pytest.mark.parametrize(
        ("given", "text"),
        [
            (1, "1"),
            ("3", "3"),
            ((40, 400), "40 400"),
            ("-600.5 1500", "-600.5 1500"),
            ("LUNG", "lung"),
            ("percentiles", "percentiles"),
            ("full", "full"),
        ],
    )
    def test_come_back(self, given, text):
        window = parse_window(given)
        assert str(window) == text
        assert parse_window(str(window)) == window == parse_window(window)

    @pytest.mark.parametrize(
        "given", [0, -1, 1.5, "", "liver", "40 0", "40 nan", (1, 2, 3), None, True, [], "1 2 3"]
    )
    def test_that_mean_nothing(self, given):
        with pytest.raises(InputError, match="give for example 40 400"):
            parse_window(given)

    def test_customary_windows(self):
        assert [PRESETS[name] for name in ("lung", "bone", "brain")] == [
            (-600, 1500),
            (400, 1800),
            (40, 80),
        ]


class TestPictures:
    @pytest.mark.parametrize("window", [*PRESETS, (0, 1), (12.5, 333)])
    def test_fixed_windows(self, window):
        values = slice_of(1)
        found = picture_of(values, parse_window(window))
        if window == (0, 1):
            expected = np.where(values > -0.5, 255, 0)
        else:
            expected = shown(values, *(PRESETS[window] if isinstance(window, str) else window))
        assert np.array_equal(found.pixels[..., 0], expected)
        assert found.view == "chosen"

    def test_percentiles_of_each_image(self):
        values = slice_of(2).astype(np.float32) / 7
        values[0, 0] = 1e6  # a hot pixel does not count
        found = picture_of(values, parse_window("percentiles")).pixels[..., 0]
        low, high = np.percentile(values, (0.5, 99.5))
        assert (found[values <= low] == 0).all()
        assert (found[values >= high] == 255).all()
        assert len(np.unique(found)) > 200

    def test_turned_round_after_the_window(self):
        values = slice_of(3)
        plain, turned = (
            picture_of(values, parse_window("bone"), inverted=i) for i in (False, True)
        )
        assert np.array_equal(plain.pixels, 255 - turned.pixels)

    @pytest.mark.parametrize("bits", [12, 13, 14])
    def test_few_bits_of_sixteen_are_flat(self, bits):
        values = RNG.integers(0, 2**bits, (64, 64), dtype=np.uint16)
        found = picture_of(values, parse_window(1))
        assert found.values == len(np.unique(values))
        assert picture_of(values << (16 - bits), parse_window(1)).values == 0
        assert picture_of((values >> (bits - 8)).astype(np.uint8), parse_window(1)).values == 0

    def test_few_values_are_no_loss(self):
        values = RNG.integers(0, 9, (64, 64), dtype=np.uint16) * 400
        assert picture_of(values, parse_window(1)).values == 0

    def test_floats_keep_their_half_units(self):
        """LINEAR would show -1 to 1 black to white between -1 and 0."""
        values = np.linspace(-1, 1, 256, dtype=np.float32).reshape(16, 16)
        found = picture_of(values, parse_window((0, 2))).pixels[..., 0]
        assert np.array_equal(found.ravel(), np.arange(256))

    @pytest.mark.parametrize("dtype", [np.int64, np.float32])
    @pytest.mark.parametrize("shape", [(16, 16), (4, 64, 3)])
    def test_eight_bits_in_wider_numbers(self, dtype, shape):
        """The window that the message offers keeps every value."""
        values = (np.arange(np.prod(shape)) % 256).reshape(shape).astype(dtype)
        with pytest.raises(UndecodableError) as error:
            picture_of(values, parse_window(1))
        offered = re.search(r"--window (\S+ \S+) takes 0 to 255 as they are", str(error.value))
        found = picture_of(values, parse_window(offered[1])).pixels
        assert np.array_equal(found.reshape(shape), values)

    def test_deep_colour_is_flattened_like_grey(self):
        values = RNG.integers(0, 2**12, (64, 64, 3), dtype=np.uint16)
        assert picture_of(values, parse_window(1)).values == len(np.unique(values))
        found = picture_of(values, parse_window((2048, 4096)))
        assert found.pixels.shape == (64, 64, 3)
        assert (found.values, found.pixels.min(), found.pixels.max()) == (0, 0, 255)

    def test_a_preset_wants_hounsfield_units(self):
        values = (slice_of(1).astype(int) + 1024).astype(np.uint16)
        with pytest.raises(UndecodableError, match=r"no Hounsfield units.*--window CENTRE WIDTH"):
            picture_of(values, parse_window("lung"))


def write(root, files):
    for name, values in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(root / name)
    return root


@pytest.fixture
def mixed(tmp_path):
    """8-bit pictures beside 12-bit ones in 16 bits, as two exports of one archive."""
    deep = {f"b/{i}.png": (slice_of(i).astype(int) + 1024).astype(np.uint16) for i in range(4)}
    plain = {f"a/{i}.png": (slice_of(9 + i, 0, 255)).astype(np.uint8) for i in range(4)}
    return write(tmp_path / "set", {**plain, **deep})


class TestSets:
    def test_mixed_depths_are_refused_by_number_of_files(self, mixed):
        with pytest.raises(DataError) as error:
            read_image_set(mixed)
        message = str(error.value)
        assert "got 4 of 8 images flattened, the worst to 1" in message
        assert "the first is file 5 of 8" in message
        for word in ("--window CENTRE WIDTH", "percentiles", "--window full"):
            assert word in message

    def test_a_window_for_the_deep_ones(self, mixed):
        with pytest.warns(LatentpathWarning, match="4 images are taken as they are"):
            found = read_image_set(mixed, window=(1274, 2500))
        assert all(len(np.unique(image)) > 150 for image in found.images)

    def test_a_window_that_nothing_needs(self, tmp_path):
        write(tmp_path, {"a/1.png": (slice_of(1, 0, 255)).astype(np.uint8)})
        with pytest.warns(LatentpathWarning, match="1 images are taken as they are"):
            read_image_set(tmp_path, window="lung")

    def test_as_they_are_on_request(self, mixed):
        with pytest.warns(LatentpathWarning) as said:
            found = read_image_set(mixed, window="full")
        assert any(
            "4 of 8 images, the first is file 5 of 8, keep few" in str(w.message) for w in said
        )
        assert found.images[4:].max() < 16

    def test_a_scan_tells_before_it_is_refused(self, mixed):
        survey = scan(mixed)
        assert len(survey.contrast.flat) == 4
        lines = survey.lines()
        assert any("4 of 8 images flattened" in line for line in lines)
        assert [f"flattened: file {row} of 8" for row in (5, 6, 7, 8)] == [
            line for line in lines if line.startswith("flattened")
        ]

    def test_pictures_of_eight_bits_that_were_exported_dark(self, tmp_path):
        dark = {f"b/{i}.png": (slice_of(i, 0, 15)).astype(np.uint8) for i in range(4)}
        plain = {f"a/{i}.png": (slice_of(9 + i, 0, 255)).astype(np.uint8) for i in range(4)}
        write(tmp_path, {**dark, **plain})
        with pytest.warns(LatentpathWarning, match="4 of 8 images are nearly black.*file 5 of 8"):
            read_image_set(tmp_path)

    def test_a_set_without_a_readable_image(self, tmp_path):
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "1.png").write_bytes(b"no picture")
        survey = scan(tmp_path)
        assert (survey.readable, survey.contrast.suspicions()) == (0, [])
        assert any(line.startswith("unreadable: file 1 of 1") for line in survey.lines())

    def test_half_of_a_range(self, tmp_path):
        """As PET has it, signed without a negative value, or 15 bits in 16."""
        files = {f"a/{i}.png": slice_of(i, 0, 32767).astype(np.uint16) for i in range(3)}
        with pytest.warns(LatentpathWarning, match=r"3 of 3 images use no more than half.*file 1"):
            read_image_set(write(tmp_path, files))

    def test_both_ends(self, tmp_path):
        write(tmp_path, {f"a/{i}.png": (slice_of(i, 240, 255)).astype(np.uint8) for i in range(3)})
        with pytest.warns(LatentpathWarning, match="lie between 240 and 255 of 255"):
            read_image_set(tmp_path)

    def test_arrays(self, tmp_path):
        images = np.stack([slice_of(i) for i in range(6)])
        labels = np.zeros((6, 1), np.uint8)
        np.savez(tmp_path / "x.npz", train_images=images, train_labels=labels)
        with pytest.raises(DataError, match=r"signed 16-bit values.*--window"):
            read_image_set(tmp_path / "x.npz")
        found = read_image_set(tmp_path / "x.npz", window="lung")
        assert np.array_equal(found.images[2, ..., 0], shown(images[2], -600, 1500))
