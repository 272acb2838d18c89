import os
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, strategies as st
from PIL import Image

from latentpath.data import decode
from latentpath.data.contrast import UndecodableError, parse_window, to_eight_bits
from latentpath.data.decode import read_picture
from support.decoded import decode_image

RAMP = np.arange(0, 240, 20, dtype=np.uint8).reshape(3, 4)
COLOUR = np.stack([RAMP, RAMP[::-1], 255 - RAMP], axis=2)


def saved(tmp_path, picture, name="x.png", **options):
    path = tmp_path / name
    picture.save(path, **options)
    return path


@pytest.mark.parametrize("kind", ["png", "tiff", "bmp"])
def test_grey_and_colour_come_back_exactly(tmp_path, kind):
    grey = decode_image(saved(tmp_path, Image.fromarray(RAMP), f"g.{kind}"))
    colour = decode_image(saved(tmp_path, Image.fromarray(COLOUR), f"c.{kind}"))
    assert grey.dtype == colour.dtype == np.uint8
    assert np.array_equal(grey[:, :, 0], RAMP)
    assert np.array_equal(colour, COLOUR)


def test_jpeg(tmp_path):
    flat = Image.new("L", (16, 16), 100)
    assert abs(decode_image(saved(tmp_path, flat, "x.jpeg")).astype(int) - 100).max() <= 1


def test_file_name_does_not_decide_the_format(tmp_path):
    path = tmp_path / "really_a_png.jpg"
    Image.fromarray(RAMP).save(path, format="PNG")
    assert np.array_equal(decode_image(path)[:, :, 0], RAMP)


def test_channels_convert_like_pillow(tmp_path):
    path = saved(tmp_path, Image.fromarray(COLOUR))
    assert np.array_equal(
        decode_image(path, channels=1)[:, :, 0], np.asarray(Image.open(path).convert("L"))
    )
    grey = decode_image(saved(tmp_path, Image.fromarray(RAMP), "g.png"), channels=3)
    assert np.array_equal(grey, np.repeat(RAMP[:, :, None], 3, axis=2))


@given(st.lists(st.tuples(*[st.integers(0, 255)] * 3), min_size=1, max_size=9))
def test_luma_of_any_colour_is_pillows(colours):
    pixels = np.array([colours], np.uint8)
    expected = np.asarray(Image.fromarray(pixels).convert("L"))
    assert np.array_equal(decode.with_channels(pixels, 1)[:, :, 0], expected)


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_sixteen_bit_grey_is_scaled_not_truncated(tmp_path, kind):
    deep = np.array([[0, 128, 129, 255], [256, 257, 32896, 65535]], np.uint16)
    path = saved(tmp_path, Image.fromarray(deep), f"x.{kind}")
    expected = np.floor(deep / 257 + 0.5)
    assert np.array_equal(decode_image(path)[:, :, 0], expected)
    assert expected.max() == 255


def test_big_endian_sixteen_bit_tiff(tmp_path):
    deep = np.array([[0, 1000, 65535]], np.uint16)
    path = saved(tmp_path, Image.frombytes("I;16B", (3, 1), deep.astype(">u2").tobytes()), "x.tif")
    assert decode_image(path).ravel().tolist() == [0, 4, 255]


def test_negative_tiffs_are_turned_round(tmp_path):
    # Photometric 0: the value 0 is white. Pillow stores 8-bit values turned round when it writes
    # such a file, 16-bit ones as they are.
    eight = Image.fromarray(np.array([[0, 100, 255]], np.uint8))
    assert decode_image(saved(tmp_path, eight, "8.tif", tiffinfo={262: 0})).ravel().tolist() == [
        0,
        100,
        255,
    ]
    sixteen = saved(
        tmp_path,
        Image.fromarray(np.array([[0, 25700, 65535]], np.uint16)),
        "16.tif",
        tiffinfo={262: 0},
    )
    assert decode_image(sixteen).ravel().tolist() == [255, 155, 0]


@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bit_colour_is_rounded_as_grey_is(tmp_path, channels):
    deep = np.random.default_rng(0).integers(0, 65536, (5, 7, channels), dtype=np.uint16)
    path = tmp_path / "deep.png"
    path.write_bytes(sixteen_bit_png(deep))
    opacity = deep[..., 3:] / 65535.0 if channels == 4 else 1.0
    over_black = np.rint(deep[..., :3] * opacity).astype(np.uint16)
    assert np.array_equal(decode_image(path), to_eight_bits(over_black))


def test_a_window_of_colour_of_twelve_bits(tmp_path):
    """Pillow alone would leave 16 of 256 levels, in silence."""
    path = tmp_path / "deep.png"
    path.write_bytes(sixteen_bit_png(COLOUR.astype(np.uint16) * 16))
    found = read_picture(path, parse_window("2040.5 4081"))
    assert found.view == "chosen"
    assert np.array_equal(found.pixels, COLOUR)
    ramp = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    path.write_bytes(sixteen_bit_png(np.stack([ramp, ramp.T, ramp], axis=2)))
    assert read_picture(path).values == 4096


def test_a_colour_that_stands_for_transparent_in_sixteen_bits(tmp_path):
    deep = COLOUR.astype(np.uint16) * 257
    deep[1, 1] = deep[1, 2] ^ 1  # of the same high bytes
    hidden = b"tRNS" + deep[1, 2].astype(">u2").tobytes()
    chunk = struct.pack(">I", 6) + hidden + struct.pack(">I", zlib.crc32(hidden))
    content = sixteen_bit_png(deep)
    (tmp_path / "x.png").write_bytes(content[:33] + chunk + content[33:])
    expected = to_eight_bits(deep)
    expected[1, 2] = 0
    assert np.array_equal(decode_image(tmp_path / "x.png"), expected)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_tiffs_of_another_writer(tmp_path, compression, order):
    """Written by tifffile, as microscopes and radiology tools do."""
    tifffile = pytest.importorskip("tifffile")
    rng = np.random.default_rng(3)
    kinds = [((9, 7), "minisblack"), ((9, 7, 3), "rgb")]
    if order == "<":  # Pillow knows no big-endian 16-bit negatives
        kinds.append(((9, 7), "miniswhite"))
    for shape, kind in kinds:
        deep = rng.integers(0, 65536, shape, dtype=np.uint16)
        path = tmp_path / "x.tif"
        tifffile.imwrite(path, deep, photometric=kind, compression=compression, byteorder=order)
        expected = (65535 - deep if kind == "miniswhite" else deep) / 257
        found = decode_image(path).reshape(shape)
        assert abs(found - expected).max() <= 0.5


def test_palette_tiff(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    colours = np.random.default_rng(4).integers(0, 256, (3, 256)).astype(np.uint16)
    indices = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, indices, photometric="palette", colormap=colours * 257)
    assert np.array_equal(decode_image(path), colours.T[indices])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_jpegs(tmp_path, orientation):
    """The eight ways to hold a camera, each undone: the bright corner is at the top left."""
    upright = np.full((16, 32), 20, np.uint8)
    upright[:8, :8] = 230
    undo = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).T,
        8: np.rot90(upright, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(undo[orientation]))
    found = decode_image(saved(tmp_path, stored, "x.jpg", exif=exif, quality=95))[:, :, 0]
    assert found.shape == upright.shape
    assert abs(found.astype(int) - upright).mean() < 3


def sixteen_bit_png(pixels):
    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    kind = {2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def test_float_tiff_within_one_is_scaled(tmp_path):
    path = saved(tmp_path, Image.fromarray(np.array([[0, 0.5, 1]], np.float32)), "x.tif")
    assert decode_image(path).ravel().tolist() == [0, 128, 255]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0, np.nan], "1 NaN"),
        ([0, np.inf], "infinite"),
        ([0, 200.0], "outside"),
        ([-1, 0], "-1 to"),
    ],
)
def test_other_float_tiffs_are_refused(tmp_path, values, words):
    path = saved(tmp_path, Image.fromarray(np.array([values], np.float32)), "x.tif")
    with pytest.raises(UndecodableError, match=words):
        decode_image(path)


@pytest.mark.parametrize("kind", ["i1", "i2", "i4", "u4"])
def test_whole_numbers_that_need_a_window(tmp_path, kind):
    """CT slices are often kept as signed 16-bit TIFF, in Hounsfield units."""
    import tifffile

    signed = kind[0] == "i"
    name = f"{'signed' if signed else 'unsigned'} {8 * int(kind[1])}-bit values"
    values = (np.arange(120).reshape(12, 10) - 60 * signed).astype(kind)
    tifffile.imwrite(tmp_path / "x.tif", values)
    with pytest.raises(UndecodableError, match=f"{name}, which have no clear 8-bit form.*--window"):
        decode_image(tmp_path / "x.tif")
    center = 60 - 60 * signed
    found = read_picture(tmp_path / "x.tif", parse_window((center, 120))).pixels[..., 0]
    expected = np.clip((values.astype(float) - center + 0.5) / 119 + 0.5, 0, 1)
    assert np.array_equal(found, np.floor(expected * 255 + 0.5))
    assert (found.min(), found.max()) == (0, 255)


def test_transparency_is_laid_over_black(tmp_path):
    rgba = np.dstack([COLOUR, np.full(RAMP.shape, 255, np.uint8)])
    rgba[0, 0] = (255, 255, 255, 0)  # white that no one sees
    rgba[0, 1] = (200, 100, 0, 128)
    pixels = decode_image(saved(tmp_path, Image.fromarray(rgba)))
    assert pixels[0, 0].tolist() == [0, 0, 0]
    assert abs(pixels[0, 1].astype(int) - [100, 50, 0]).max() <= 1
    assert np.array_equal(pixels[1:], COLOUR[1:])


def test_grey_with_alpha_stays_grey(tmp_path):
    values = np.dstack([RAMP, np.full(RAMP.shape, 255, np.uint8)])
    pixels = decode_image(saved(tmp_path, Image.fromarray(values, mode="LA")))
    assert np.array_equal(pixels, RAMP[:, :, None])


def with_transparency(png, value):
    """A grey PNG, given as bytes, in which one value is transparent."""
    chunk = b"tRNS" + struct.pack(">H", value)
    begin = 8 + 25  # what comes before: signature and header
    chunk = struct.pack(">I", 2) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return png[:begin] + chunk + png[begin:]


@pytest.mark.parametrize("values", [RAMP, COLOUR, RAMP.astype(np.uint16) * 257, RAMP > 127])
def test_one_value_or_colour_may_be_transparent(tmp_path, values):
    hidden = values[1, 2]
    mark = tuple(hidden.tolist()) if values.ndim == 3 else int(hidden)
    mark = 255 * mark if values.dtype == bool else mark
    shown = decode_image(saved(tmp_path, Image.fromarray(values), "opaque.png"))
    if values.dtype == np.uint16:  # which older versions of Pillow save without
        path = tmp_path / "x.png"
        path.write_bytes(with_transparency((tmp_path / "opaque.png").read_bytes(), mark))
    else:
        path = saved(tmp_path, Image.fromarray(values), transparency=mark)
    pixels = decode_image(path)
    gone = (values == hidden).reshape(*RAMP.shape, -1).all(-1)
    assert np.array_equal(pixels, np.where(gone[..., None], 0, shown))


def test_deep_grey_with_alpha_stays_grey(tmp_path):
    half = np.full(RAMP.shape, 32768, np.uint16)
    for opacity, expected in ((half * 2 - 1, RAMP), (half, np.rint(RAMP / 2))):
        pixels = np.dstack([RAMP.astype(np.uint16) * 257, opacity])
        (tmp_path / "x.png").write_bytes(sixteen_bit_png(pixels))
        assert np.array_equal(decode_image(tmp_path / "x.png"), expected[:, :, None])


def test_deep_colour_in_planes_is_refused(tmp_path):
    """Pillow 13 reads every second pixel of it, without a word."""
    tifffile = pytest.importorskip("tifffile")
    planes = np.moveaxis(COLOUR, 2, 0)
    options = {"photometric": "rgb", "planarconfig": "separate"}
    tifffile.imwrite(tmp_path / "x.tif", planes.astype(np.uint16) * 257, **options)
    with pytest.raises(UndecodableError, match=r"each channel lies apart.*save it"):
        decode_image(tmp_path / "x.tif")
    tifffile.imwrite(tmp_path / "x.tif", planes, **options)
    assert np.array_equal(decode_image(tmp_path / "x.tif"), COLOUR)


@pytest.mark.parametrize(
    ("start", "words"),
    [
        (b"RIFF\x10\0\0\0WEBPVP8 ", "a WebP file, not a PNG.*save it as PNG"),
        (b"\0\0\0\x18ftypheic", "a HEIC, AVIF or film file"),
        (b"<!DOCTYPE html>", "a web page.*download the image again"),
        (bytes(128) + b"DICM", "a DICOM file under a picture's name.*[.]dcm"),
        (b"II*\0" + bytes(9), "a TIFF image of a kind that cannot be read"),
    ],
)
def test_other_kinds_are_called_by_their_name(tmp_path, start, words):
    (tmp_path / "x.png").write_bytes(start + bytes(40))
    with pytest.raises(UndecodableError, match=words):
        decode_image(tmp_path / "x.png")


def test_palettes_give_their_colours_not_their_indices(tmp_path):
    picture = Image.new("P", (2, 1))
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.putpixel((1, 0), 1)
    opaque = decode_image(saved(tmp_path, picture))
    assert opaque.tolist() == [[[10, 20, 30], [200, 100, 50]]]
    transparent = decode_image(saved(tmp_path, picture, "t.png", transparency=0))
    assert transparent.tolist() == [[[0, 0, 0], [200, 100, 50]]]


def test_one_bit_images(tmp_path):
    picture = Image.fromarray(np.array([[True, False]]))
    assert decode_image(saved(tmp_path, picture)).ravel().tolist() == [255, 0]


def test_cmyk_becomes_colour(tmp_path):
    pixels = decode_image(saved(tmp_path, Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "x.jpg"))
    assert pixels.shape == (8, 8, 3)
    assert pixels[4, 4, 0] < 20 < 200 < pixels[4, 4, 1]


def test_camera_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to view
    path = saved(tmp_path, Image.fromarray(RAMP), exif=exif)
    assert np.array_equal(decode_image(path)[:, :, 0], np.rot90(RAMP, -1))


def test_several_pages_are_refused(tmp_path):
    page = Image.fromarray(RAMP)
    path = saved(tmp_path, page, "x.tif", save_all=True, append_images=[page])
    with pytest.raises(UndecodableError, match="2 pages"):
        decode_image(path)


@pytest.mark.parametrize("kind", ["png", "jpg", "tif", "bmp"])
def test_truncated_files_are_refused_wherever_they_end(tmp_path, kind):
    noise = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
    whole = saved(tmp_path, Image.fromarray(noise), f"x.{kind}").read_bytes()
    short = tmp_path / f"short.{kind}"
    for length in (0, 1, 10, len(whole) // 2):
        short.write_bytes(whole[:length])
        with pytest.raises(UndecodableError):
            decode_image(short)


@given(st.data())
def test_damaged_files_give_pixels_or_our_error(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "damaged"
    kind = data.draw(st.sampled_from(["PNG", "JPEG", "TIFF", "BMP"]))
    Image.fromarray(COLOUR).save(path, format=kind)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        pixels = decode_image(path)
    except UndecodableError:
        return
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3


def test_a_small_file_that_claims_a_huge_picture_is_refused(tmp_path):
    def claiming(width, height):
        rows = bytearray(sixteen_bit_png(np.zeros((1, 1, 3), np.uint16)))
        rows[16:24] = struct.pack(">II", width, height)
        rows[29:33] = struct.pack(">I", zlib.crc32(rows[12:29]))
        return bytes(rows)

    path = tmp_path / "bomb.png"
    for side in (10_000, 60_000):
        path.write_bytes(claiming(side, side))
        with pytest.raises(UndecodableError, match="89,478,485 pixels"):
            decode_image(path)


@pytest.mark.parametrize("content", [b"%!PS-Adobe-3.0 EPSF-3.0\n", b"GIF89a" + bytes(40), b"text"])
def test_other_formats_are_not_even_tried(tmp_path, content):
    path = tmp_path / "secret_name.png"
    path.write_bytes(content)
    with pytest.raises(UndecodableError, match="not a PNG, JPEG, TIFF or BMP") as caught:
        decode_image(path)
    assert "secret_name" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_named_pipes_do_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UndecodableError, match="regular"):
        decode_image(tmp_path / "pipe.png")


def test_depths_of_arrays():
    assert to_eight_bits(np.array([True, False])).tolist() == [255, 0]
    every = np.arange(65536, dtype=np.uint16)
    assert np.array_equal(to_eight_bits(every), np.floor(every / 257 + 0.5))
    with pytest.raises(UndecodableError, match="signed 32-bit values"):
        to_eight_bits(np.zeros(3, np.int32))
    with pytest.raises(UndecodableError, match="complex"):
        to_eight_bits(np.zeros(3, complex))
