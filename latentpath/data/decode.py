"""One image file to 8-bit pixels, without losing bits in silence and without trusting the file.

Only PNG, JPEG, TIFF and BMP decoders are tried, whatever a file calls itself. Whatever goes
wrong becomes an `UndecodableError` with a reason of a few words, so that the caller can read on and
list all such files at once.

Pillow keeps the high byte alone of each value in colour of 16 bits, and in grey with alpha. Its
decoders turn the bytes of a file into those of a picture by a "raw mode", such as `RGB;16B`, and
`RGB;16L` of the same file takes the other byte of each value. So such a file is decoded twice, and
its values are whole. Colours of a picture with an ICC profile are turned into sRGB.
"""

from __future__ import annotations

import io
import re
import stat
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from latentpath.core import require_extra
from latentpath.data.contrast import (
    OWN_WINDOW,
    Picture,
    UndecodableError,
    Window,
    picture_of,
    to_eight_bits,
)
from latentpath.data.sources.name_disclosure import damaged, detail, libraries_quiet

if TYPE_CHECKING:
    from PIL.Image import Image

_OTHERS = (
    (0, b"GIF8", "a GIF file"),
    (8, b"WEBP", "a WebP file"),
    (4, b"ftyp", "a HEIC, AVIF or film file"),
    (4, b"jP  ", "a JPEG 2000 file"),
    (0, b"%PDF", "a PDF file"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"PK\x03\x04", "a zip archive"),
)
_TIFFS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_DICOM_PLACE, _DICOM = 128, b"DICM"


def unidentified(source: Path | IO[bytes]) -> str:
    """Return the reason for a file that is no picture to Pillow, in a few words.

    Args:
        source: the file, or a stream of its content.
    """
    start = _start(source)
    if start[_DICOM_PLACE:].startswith(_DICOM):
        return "a DICOM file under a picture's name: let it end in .dcm"
    if start.startswith(_TIFFS):
        return (
            "a TIFF image of a kind that cannot be read (numbers of 64 bits, half floats, signed "
            "ones of several channels or with white as zero), or damaged: save it as TIFF or PNG "
            "of 8 or 16 bits"
        )
    if start.startswith(b"<"):
        return "a web page, perhaps of a download that failed: download the image again"
    for place, mark, kind in _OTHERS:
        if start[place:].startswith(mark):
            return f"{kind}, not a PNG, JPEG, TIFF or BMP image: save it as PNG"
    return "not a PNG, JPEG, TIFF or BMP image, or damaged"


def _start(source: Path | IO[bytes]) -> bytes:
    count = _DICOM_PLACE + len(_DICOM)
    if isinstance(source, Path):
        with open(source, "rb") as file:
            return file.read(count)
    source.seek(0)
    return source.read(count)


# Spaces of profiles by Pillow's modes, and the mode that sRGB has for them.
_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
_SRGB_MODES = {"L": "L", "RGB": "RGB", "CMYK": "RGB"}
# Cameras and programs name it so, with or without its number.
_SRGB_NAMES = ("srgb", "iec61966-2.1", "iec 61966-2.1")


def in_srgb(picture: Image) -> Image:
    """Return a picture of 8 bits in sRGB, grey as the grey that sRGB gives it.

    What has no profile, one of sRGB, one that cannot be read, or one for other channels comes back
    as it is.

    Raises:
        MissingExtraError: Pillow is not installed.
    """
    content = picture.info.get("icc_profile")
    if not content or picture.mode not in _SPACES:
        return picture
    cms = require_extra("PIL.ImageCms", "pipeline")
    try:
        profile = cms.ImageCmsProfile(io.BytesIO(content))
        space = profile.profile.xcolor_space.strip()
        name = (profile.profile.profile_description or "").lower()
        if space != _SPACES[picture.mode] or name.startswith(_SRGB_NAMES):
            return picture
        # Little CMS makes colour of grey; its three channels agree.
        made = cms.profileToProfile(picture, profile, cms.createProfile("sRGB"), outputMode="RGB")
    except (cms.PyCMSError, OSError):  # damaged: viewers leave it out too
        return picture
    made.format = picture.format
    return made.getchannel(0) if _SRGB_MODES[picture.mode] == "L" else made


_COLOUR = re.compile(r"(RGB[AXa]?);16([LBN])")
# Grey and alpha of 16 bits become colour of 8, of which all are wanted.
_GREY_ALPHA, _FOUR_BYTES = "LA;16B", "RGBA"
_OTHER_END = {"B": "L", "L": "B", "N": "B" if np.little_endian else "L"}
_MOST = np.uint32(65535)


def raw_mode(picture: Image) -> str:
    """Return how a picture that was opened, not loaded, decodes 16-bit colour, "" if it has none.

    `RGB`, `RGBA`, `RGBX`, `RGBa` (colours are multiplied with alpha already) or `LA`.
    """
    modes = {_mode_of(tile) for tile in getattr(picture, "tile", ())}
    mode = modes.pop() if len(modes) == 1 else ""
    if mode == _GREY_ALPHA:
        return "LA"
    colour = _COLOUR.fullmatch(mode)
    return colour[1] if colour else ""


def take_other_bytes(picture: Image) -> None:
    """Let a picture that was opened, not loaded, decode the bytes that Pillow drops."""
    file: Any = picture  # Pillow's images of files alone have tiles
    file.tile = [_with_mode(tile, _other_mode(_mode_of(tile))) for tile in file.tile]


def values_of(raw: str, high: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return values, uint16 [H, W, 3] or of grey [H, W], transparent parts over black.

    Args:
        raw: as `raw_mode` returned it.
        high: uint8 [H, W, 3 or 4] as Pillow decodes it.
        other: of the same shape, after `take_other_bytes`.
    """
    if raw == "LA":  # high and low byte of grey, then of alpha
        deep = other.astype(np.uint16)
        values = deep[..., ::2] << 8 | deep[..., 1::2]
    else:
        values = high.astype(np.uint16) << 8 | other
    colours = values[..., :1] if raw == "LA" else values[..., :3]
    if raw in ("RGBA", "LA"):
        opacity = values[..., -1:].astype(np.uint32)
        colours = ((colours * opacity + _MOST // 2) // _MOST).astype(np.uint16)
    return colours[..., 0] if raw == "LA" else colours


def _mode_of(tile: Any) -> str:
    mode = tile[3] if isinstance(tile[3], str) else (tile[3] or ("",))[0]
    return mode if isinstance(mode, str) else ""


def _other_mode(mode: str) -> str:
    return _FOUR_BYTES if mode == _GREY_ALPHA else mode[:-1] + _OTHER_END[mode[-1]]


def _with_mode(tile: Any, mode: str) -> Any:
    args = mode if isinstance(tile[3], str) else (mode, *tile[3][1:])
    if hasattr(tile, "_replace"):  # since Pillow 11
        return tile._replace(args=args)
    return (*tile[:3], args)


FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"})

# A small file can claim a picture that fills the memory. This is Pillow's own limit for a warning,
# 256 MiB of colour; no generator makes larger images.
MAX_PIXELS = 89_478_485

_EXIF_ORIENTATION = 0x0112
_TIFF_PHOTOMETRIC = 262
_WHITE_IS_ZERO = 0
_TIFF_BITS, _TIFF_SAMPLE_FORMAT, _SIGNED = 258, 339, 2
_TIFF_PLANAR, _PLANES = 284, 2


def read_picture(source: Path | IO[bytes], window: Window = OWN_WINDOW) -> Picture:
    """Read one image file.

    What has more than 8 bits becomes 8 bits as `window` says, by default 16-bit grey and colour by
    their whole range. Transparent parts are laid over black, the background of scans. The
    orientation that cameras note is applied, and colour and 8-bit grey with a colour profile become
    sRGB; a profile for other channels than the picture's is not used, as in browsers.

    Args:
        source: the file, or a stream of its content.
        window: what of grey values becomes black and white.

    Raises:
        UndecodableError: the file is empty, damaged, too large, or of a kind that has no clear
            8-bit form.
        MissingExtraError: Pillow is not installed.
    """
    pil = require_extra("PIL.Image", "pipeline")
    try:
        if isinstance(source, Path):
            check_is_file(source)
        # Pillow warns of what we refuse, and of damaged metadata, which we do not use.
        with libraries_quiet(), pil.open(source, formats=FORMATS) as picture:
            if _may_be_deep_colour(picture) and (raw := raw_mode(picture)):
                return _deep_colours(picture, source, raw, pil, window)
            return _eight_bit_picture(picture, pil, window)
    except UndecodableError:
        raise
    except pil.DecompressionBombError as error:
        raise UndecodableError(f"more than {MAX_PIXELS:,} pixels") from error
    except pil.UnidentifiedImageError as error:
        # Its message holds the full path, which may name a person.
        raise UndecodableError(unidentified(source)) from error
    except OSError as error:
        raise UndecodableError(_reason(error)) from error
    except Exception as error:
        # The decoders raise nearly anything on hostile input: SyntaxError, struct.error, KeyError;
        # and their words may quote the file's.
        raise UndecodableError(damaged(error)) from error


def check_is_file(path: Path) -> None:
    """Raise UndecodableError for an empty file or none at all, OSError where it cannot be seen."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        # Opening a named pipe would wait for ever.
        raise UndecodableError("not a regular file")
    if status.st_size == 0:
        raise UndecodableError("the file is empty")


def _reason(error: OSError) -> str:
    if error.strerror:
        return error.strerror
    return detail(error, "truncated" if "truncated" in str(error) else "damaged")


def _checked(picture: Image) -> Image:
    """Refuse what the header already rules out, then decode and turn upright."""
    if picture.width * picture.height > MAX_PIXELS:
        raise UndecodableError(f"more than {MAX_PIXELS:,} pixels")
    frames = getattr(picture, "n_frames", 1)
    # MPO is a JPEG with previews behind the picture; the picture comes first.
    if frames > 1 and picture.format != "MPO":
        raise UndecodableError(f"{frames} pages or frames in one file: save each as its own")
    picture.load()
    if picture.getexif().get(_EXIF_ORIENTATION, 1) != 1:
        upright = require_extra("PIL.ImageOps", "pipeline").exif_transpose(picture)
        upright.format = picture.format
        return upright
    return picture


def _eight_bit_picture(picture: Image, pil: ModuleType, window: Window) -> Picture:
    tags = dict(getattr(picture, "tag_v2", {}))  # a picture turned upright has none
    _refuse_planes(tags)
    pixels = _pixels(in_srgb(_checked(picture)), pil)
    if pixels.ndim == 3:
        return Picture(to_eight_bits(pixels), view=window.shallow_view)
    if tags.get(_TIFF_SAMPLE_FORMAT, (0,))[0] == _SIGNED or pixels.dtype == np.int32:
        pixels = _whole_numbers(pixels, tags)
    # Pillow turns 8-bit negatives round, deeper ones not.
    inverted = pixels.dtype != np.uint8 and tags.get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO
    return picture_of(pixels, window, inverted=inverted)


def _may_be_deep_colour(picture: Image) -> bool:
    return picture.mode.startswith("RGB") and ";16" in repr(getattr(picture, "tile", ()))


def _deep_colours(
    picture: Image, source: Path | IO[bytes], raw: str, pil: ModuleType, window: Window
) -> Picture:
    """Return 16-bit colour, or grey with alpha, by the window."""
    _refuse_planes(dict(getattr(picture, "tag_v2", {})))
    high = np.asarray(_checked(picture))
    if not isinstance(source, Path):
        source.seek(0)
    with pil.open(source, formats=FORMATS) as again:
        take_other_bytes(again)
        values = values_of(raw, high, np.asarray(_checked(again)))
    hidden = picture.info.get("transparency")
    if hidden is not None and raw == "RGB":
        values[(values == np.asarray(hidden)).all(axis=-1)] = 0
    deep = picture_of(values, window)
    profile = picture.info.get("icc_profile")
    if not profile:
        return deep
    shown = pil.fromarray(deep.pixels[..., 0] if raw == "LA" else deep.pixels)
    shown.info["icc_profile"] = profile
    pixels = np.asarray(in_srgb(shown)).reshape(deep.pixels.shape)
    return replace(deep, pixels=pixels)


def _refuse_planes(tags: dict[int, Any]) -> None:
    depths = tags.get(_TIFF_BITS, (8,))
    if tags.get(_TIFF_PLANAR) == _PLANES and len(depths) > 1 and max(depths) > 8:
        # Pillow takes the two bytes of a value for two pixels.
        raise UndecodableError(
            "16-bit colour of which each channel lies apart: save it with the channels of a "
            "pixel together, or as PNG"
        )


def _whole_numbers(values: np.ndarray, tags: dict[int, Any]) -> np.ndarray:
    """Return the values [H, W] of a TIFF file in its own type, which Pillow's modes lose."""
    bits = tags.get(_TIFF_BITS, (32,))[0]
    signed = tags.get(_TIFF_SAMPLE_FORMAT, (0,))[0] == _SIGNED
    if values.dtype.itemsize * 8 == bits:
        return values.view(f"{'i' if signed else 'u'}{bits // 8}")
    return values.astype(f"{'i' if signed else 'u'}{max(bits, 16) // 8}")


def _pixels(picture: Image, pil: ModuleType) -> np.ndarray:
    """Return [H, W] or [H, W, 3] in the depth of the file: uint8, uint16, integer or float."""
    mode = picture.mode
    hidden = picture.info.get("transparency")  # a value or colour, or an alpha for each index
    # Before Pillow 11 16-bit grey of a PNG came as "I".
    if mode.startswith("I;16") or (mode == "I" and picture.format == "PNG"):
        pixels = np.asarray(picture).astype(np.uint16)
        return pixels if hidden is None else np.where(pixels == hidden, np.uint16(0), pixels)
    if hidden is not None and mode in ("1", "L", "RGB") and np.max(hidden) <= 255:
        return _over_black(picture, pil, "RGB" if mode == "RGB" else "L")
    if mode in ("L", "RGB", "F"):
        return np.asarray(picture)
    if mode == "1":
        return np.asarray(picture.convert("L"))
    if mode in ("CMYK", "YCbCr"):
        return np.asarray(picture.convert("RGB"))
    if mode == "I":
        return np.asarray(picture)
    if mode == "P" and "transparency" not in picture.info:
        return np.asarray(picture.convert("RGB"))
    if mode in ("P", "PA", "LA", "La", "RGBA", "RGBa"):
        return _over_black(picture, pil, "L" if mode in ("LA", "La") else "RGB")
    raise UndecodableError(
        f"pixels of the kind {mode!r}, neither grey nor RGB of 8 or 16 bits: save it as PNG"
    )


def _over_black(picture: Image, pil: ModuleType, mode: str) -> np.ndarray:
    """Return the pixels of a picture with transparent parts, in `mode`."""
    opaque = pil.new("RGBA", picture.size, (0, 0, 0, 255))
    opaque.alpha_composite(picture.convert("RGBA"))
    return np.asarray(opaque.convert(mode))


def with_channels(pixels: np.ndarray, channels: int | None) -> np.ndarray:
    """Turn uint8 [..., C] into uint8 [..., channels]; None leaves them as they are."""
    if channels in (None, pixels.shape[-1]):
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=-1)
    # Pillow's integer form of the ITU-R 601 luma, so that files and arrays agree.
    weights = np.array([19595, 38470, 7471], dtype=np.uint32)
    return ((pixels @ weights + 32768) >> 16).astype(np.uint8)[..., None]
