"""Images that come as an array: 8 bits of each, and what became of its contrast."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from latentpath.core import DataError
from latentpath.data.contrast import (
    Picture,
    UndecodableError,
    Window,
    picture_of,
    to_eight_bits,
)
from latentpath.data.sources.npz_arrays import read_array


@dataclass(frozen=True, eq=False)
class EightBitImages:
    """An array of images, and what became of the contrast of each."""

    pixels: np.ndarray
    """uint8 [n, H, W, C]."""
    views: tuple[tuple[int, str], ...] = ()
    """`values` and `view` of each image's `Picture`; nothing where 8 bits say it."""

    @classmethod
    def of(cls, array: np.ndarray, window: Window) -> EightBitImages:
        """Return images [n, H, W, C] of any number type in 8 bits.

        Raises:
            UndecodableError: values that have no clear 8-bit form.
        """
        if array.dtype in (np.uint8, np.bool_):
            return cls(to_eight_bits(array), ((0, window.shallow_view),) * len(array))
        pixels, views = np.empty(array.shape, np.uint8), []
        for image, place in zip(array, pixels, strict=True):
            picture = picture_of(image[..., 0] if image.shape[2] == 1 else image, window)
            place[...] = picture.pixels
            views.append((picture.values, picture.view))
        return cls(pixels, tuple(views))

    @classmethod
    def joined(cls, parts: Sequence[EightBitImages]) -> EightBitImages:
        """Return all images of arrays of one size."""
        nothing = (0, "")
        views = [view for part in parts for view in part.views or (nothing,) * len(part.pixels)]
        return cls(np.concatenate([part.pixels for part in parts]), tuple(views))

    def picture(self, row: int) -> Picture:
        """Return one image."""
        return Picture(self.pixels[row], *(self.views[row] if self.views else ()))


def read_images(
    archive: zipfile.ZipFile, key: str, window: Window, rows: np.ndarray | None = None
) -> EightBitImages:
    """Read an array of images [n, H, W] or [n, H, W, C], C 1 or 3.

    Args:
        archive: the `.npz` file.
        key: the array's name.
        window: what of grey values of more than 8 bits becomes black and white.
        rows: bool [n], which images to read; None for all.

    Raises:
        DataError: another shape, or values that have no clear 8-bit form.
    """
    array = read_array(archive, key, rows)
    shape = array.shape
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or array.shape[3] not in (1, 3) or 0 in array.shape[1:]:
        first = array.ndim == 4 and array.shape[1] in (1, 3)
        raise DataError(
            expected=f"{key} [n, H, W] or [n, H, W, 3] in the .npz file",
            got=str(list(shape)),
            fix="put the channels last"
            if first
            else "volumes and other channel numbers are not supported",
        )
    try:
        return EightBitImages.of(array, window)
    except UndecodableError as error:
        raise DataError(
            expected=f"{key} in 8 or 16 bits, or floats in [0, 1], in the .npz file",
            got=str(error),
            fix="where no --window helps, scale them to 0 .. 255 and store them as uint8",
        ) from error
