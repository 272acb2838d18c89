"""What cameras and programs put around pixels: colour profiles, orientation, other proportions."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from latentpath.core import InputError
from latentpath.data import read_image_set, resize_images
from latentpath.data.decode import read_picture

GREY = np.arange(256, dtype=np.uint8).reshape(16, 16)
# The primaries of sRGB in the connection space of ICC profiles (D50).
PRIMARIES = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))


def profile(space, gamma, name=b"made"):
    """A small ICC profile, version 2: grey, or RGB with the primaries of sRGB."""

    def xyz(values):
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">l", round(v * 65536)) for v in values)

    curve = b"curv\0\0\0\0" + struct.pack(">LH", 1, round(gamma * 256)) + b"\0\0"
    text = b"desc\0\0\0\0" + struct.pack(">L", len(name) + 1) + name + b"\0" + bytes(78)
    tags = {b"desc": text, b"cprt": b"text\0\0\0\0none\0", b"wtpt": xyz((0.9642, 1, 0.8249))}
    if space == b"GRAY":
        tags[b"kTRC"] = curve
    else:
        for letter, primary in zip(b"rgb", PRIMARIES, strict=True):
            tags[bytes([letter]) + b"XYZ"] = xyz(primary)
            tags[bytes([letter]) + b"TRC"] = curve
    table, data = struct.pack(">L", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for tag, content in tags.items():
        content += bytes(-len(content) % 4)
        table += tag + struct.pack(">LL", start + len(data), len(content))
        data += content
    head = struct.pack(">L4sL4s4s4s12x4s", start + len(data), b"lcms", 0x02100000, b"mntr",
                       space, b"XYZ ", b"acsp")  # fmt: skip
    head = head.ljust(68, b"\0") + struct.pack(">3l", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + table + data


def saved(pixels, form="PNG", **info):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form, **info)
    stream.seek(0)
    return stream


def srgb_of(fraction):
    """IEC 61966-2-1: light to numbers."""
    low = fraction <= 0.0031308
    return np.where(low, 12.92 * fraction, 1.055 * np.maximum(fraction, 1e-9) ** (1 / 2.4) - 0.055)


class TestProfiles:
    @pytest.mark.parametrize("gamma", [1.4, 1.8])
    @pytest.mark.parametrize("form", ["PNG", "TIFF"])
    def test_grey(self, gamma, form):
        found = read_picture(saved(GREY, form, icc_profile=profile(b"GRAY", gamma))).pixels
        expected = srgb_of((GREY / 255) ** gamma) * 255
        assert found.shape == (16, 16, 1)
        assert abs(found[..., 0] - expected).max() <= 2
        assert abs(found[..., 0].astype(int) - GREY).max() > 5

    def test_colour(self):
        colour = np.stack([GREY, GREY.T, GREY[::-1]], axis=-1)
        found = read_picture(saved(colour, icc_profile=profile(b"RGB ", 1.0))).pixels
        assert abs(found - srgb_of(colour / 255) * 255).max() <= 3

    @pytest.mark.parametrize(
        "content",
        [b"", b"no profile", profile(b"RGB ", 1.0), profile(b"GRAY", 1.0, b"sRGB something")],
        ids=["none", "damaged", "of colour", "of sRGB"],
    )
    def test_that_change_nothing(self, content):
        found = read_picture(saved(GREY, icc_profile=content)).pixels
        assert np.array_equal(found[..., 0], GREY)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(orientation):
    """Exif 2.32, tag 274: where the first row and column of the pixels are."""
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[0], pixels[:, 0] = (255, 0, 0), (0, 255, 0)
    turned = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: np.rot90(pixels, -1),
        7: pixels.transpose(1, 0, 2)[::-1, ::-1],
        8: np.rot90(pixels),
    }[orientation]
    exif = Image.Exif()
    exif[274] = orientation
    assert np.array_equal(read_picture(saved(pixels, exif=exif)).pixels, turned)


class TestProportions:
    """A picture three times as wide as high, black on the left and white on the right."""

    wide = np.repeat(np.array([0, 80, 160, 255], np.uint8), 6)[None, :, None].repeat(8, 0)[None]

    def test_pad_keeps_all_between_black_edges(self):
        found = resize_images(self.wide, 12, "pad")[0, ..., 0]
        assert (found[:4] == 0).all()
        assert (found[8:] == 0).all()
        assert np.array_equal(found[4:8], np.tile(found[4], (4, 1)))
        assert found[5, 11] > 250
        assert np.array_equal(resize_images(self.wide, 12), resize_images(self.wide, 12, "pad"))

    def test_crop_takes_the_middle(self):
        found = resize_images(self.wide, 8, "crop")[0, ..., 0]
        assert np.array_equal(found, self.wide[0, :, 8:16, 0])

    def test_stretch_squeezes(self):
        found = resize_images(self.wide, 8, "stretch")[0, ..., 0]
        assert (found[:, 0] < 10).all()
        assert (found[:, 7] > 250).all()

    @pytest.mark.parametrize("how", ["pad", "crop", "stretch"])
    def test_is_noted_in_the_set(self, tmp_path, how):
        for row in range(2):
            path = tmp_path / "a" / f"{row}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(self.wide[0, : 5 + row, :, 0]).save(path)
        found = read_image_set(tmp_path, resolution=8, resize=how)
        told = {"counted_by": "images", "public_class_names": False}
        assert found.reading.as_dict() == {"window": "1", "resize": how, **told}
        assert found.subset([1]).reading == found.reading
        assert np.array_equal(found.images[1], resize_images(self.wide[:, :6], 8, how)[0])

    def test_another_word(self):
        with pytest.raises(InputError, match="pad, crop, stretch"):
            resize_images(self.wide, 8, "fill")
