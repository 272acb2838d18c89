"""Colour of 16 bits, and grey with alpha: Pillow keeps the high byte of each value alone.

Its decoders turn the bytes of a file into those of a picture by a "raw mode", such as `RGB;16B`,
and `RGB;16L` of the same file takes the other byte of each value. So a file is decoded twice, and
its values are whole.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

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
