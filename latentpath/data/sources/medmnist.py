"""The MedMNIST `.npz` layout: six arrays, `{train,val,test}_{images,labels}`.

Yang et al., "MedMNIST v2", Scientific Data 10 (2023). Images are [n, H, W] (grey) or
[n, H, W, 3], labels [n, 1].
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from latentpath.core import DataError
from latentpath.data.contrast import (
    OWN_WINDOW,
    Picture,
    UndecodableError,
    Window,
    grey_picture,
    to_eight_bits,
)
from latentpath.data.manifest import is_written_set
from latentpath.data.sources.archive import UNREADABLE, ArchiveLimits, open_archive, unreadable
from latentpath.data.sources.listing import Listing
from latentpath.data.sources.name_disclosure import detail

SPLITS = ("train", "val", "test")
MAX_CLASSES = 256

_LIMITS = ArchiveLimits(members=1000, member_bytes=1 << 40, small_bytes=1 << 28)
_WHAT = "a MedMNIST .npz file"
_KEYS = tuple(f"{split}_{part}" for split in SPLITS for part in ("images", "labels"))
# Numbering classes from 1000 upwards is a mistake, and would make networks of that width.
_PLAUSIBLE_CLASSES = 1000


def list_medmnist(path: Path, split: str = "train", window: Window = OWN_WINDOW) -> Listing:
    """List one split, or all of them, of a MedMNIST file.

    Classes are named "0" .. "K-1", with K from the labels of all splits, so that a label means
    the same in each of them. Each image is one identity. Values of more than 8 bits become 8 bits
    as in image files. The pixels are in memory.

    Args:
        path: the `.npz` file.
        split: "train", "val", "test", or "all" for the three behind one another.
        window: what of grey values of more than 8 bits becomes black and white.

    Raises:
        DataError: not such a file, keys absent, several labels per image, pickled objects, sizes
            that do not match, NaN, no images.
    """
    wanted: tuple[str, ...] = SPLITS if split == "all" else (split,)
    with open_archive(path, _WHAT, _LIMITS) as archive:
        present = [s for s in SPLITS if f"{s}_labels.npy" in archive.namelist()]
        if split == "all" and present:
            wanted = tuple(present)
        _check_keys(archive, wanted)
        try:
            labels = {s: _labels(f"{s}_labels", archive) for s in present}
            images = [_images(f"{s}_images", archive, window) for s in wanted]
        except DataError:
            raise
        except UNREADABLE as error:
            raise unreadable(_WHAT, error) from error
    for s, array in zip(wanted, images, strict=True):
        if len(array.pixels) != len(labels[s]):
            raise DataError(
                expected="one label per image in the .npz file",
                got=f"{len(array.pixels)} {s}_images and {len(labels[s])} {s}_labels",
                fix="check how the file was made",
            )
    # The splits that a writer left empty have no size worth comparing.
    filled = [array for array in images if len(array.pixels)]
    if not filled:
        raise DataError(
            expected=f"images in the split {split!r} of the .npz file",
            got="none",
            fix=f"choose another split: {', '.join(s for s in present if len(labels[s])) or '-'}",
        )
    if len({array.pixels.shape[1:] for array in filled}) > 1:
        raise DataError(
            expected="images of one size in all splits",
            got=", ".join(str(list(array.pixels.shape[1:])) for array in filled),
            fix="read the splits one by one",
        )
    joined = filled[0] if len(filled) == 1 else EightBitImages.joined(filled)
    num_classes = 1 + max(int(column.max(initial=0)) for column in labels.values())

    return Listing(
        "medmnist",
        tuple(map(str, range(len(joined.pixels)))),
        np.concatenate([labels[s] for s in wanted]),
        tuple(map(str, range(num_classes))),
        np.arange(len(joined.pixels)),
        joined.picture,
        pixels=joined.pixels,
        ours=is_written_set(path.parent),
    )


def _check_keys(archive: zipfile.ZipFile, splits: tuple[str, ...]) -> None:
    keys = [name.removesuffix(".npy") for name in archive.namelist()]
    absent = [f"{s}_{p}" for s in splits for p in ("images", "labels") if f"{s}_{p}" not in keys]
    if absent:
        known = [key for key in _KEYS if key in keys]
        raise DataError(
            expected=f"the arrays {', '.join(absent)} in the .npz file",
            got=f"{len(keys)} arrays, of MedMNIST's {', '.join(known) or 'none'}",
            fix="choose another split or use a MedMNIST file",
        )


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
        if array.dtype == np.uint8 or array.shape[3] == 3:
            return cls(to_eight_bits(array))
        pixels, views = np.empty(array.shape, np.uint8), []
        for image, place in zip(array, pixels, strict=True):
            picture = grey_picture(image[..., 0], window)
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


def _images(key: str, archive: zipfile.ZipFile, window: Window) -> EightBitImages:
    array = _array(key, archive)
    shape = array.shape
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or array.shape[3] not in (1, 3) or 0 in array.shape[1:]:
        raise DataError(
            expected=f"{key} [n, H, W] or [n, H, W, 3] in the .npz file",
            got=str(list(shape)),
            fix="volumes and other channel numbers are not supported",
        )
    try:
        return EightBitImages.of(array, window)
    except UndecodableError as error:
        raise DataError(
            expected=f"{key} in 8 or 16 bits, or floats in [0, 1], in the .npz file",
            got=str(error),
            fix="scale them to 0 .. 255 and store them as uint8",
        ) from error


def _labels(key: str, archive: zipfile.ZipFile) -> np.ndarray:
    """Return int64 [n], 0 or more."""
    array = _array(key, archive)
    if array.ndim == 2 and array.shape[1] > 1:
        raise DataError(
            expected=f"one label per image, {key} [n, 1], in the .npz file",
            got=f"{array.shape[1]} labels per image, {list(array.shape)}",
            fix="choose one of the labels and write it as [n, 1]: sets with several labels per "
            "image are not supported",
        )
    if array.ndim not in (1, 2) or array.dtype.kind not in "iu":
        raise DataError(
            expected=f"whole-number labels [n, 1] as {key} in the .npz file",
            got=f"{array.dtype.name} {list(array.shape)}",  # fields of a record have names
            fix="number the classes from 0 and store them as integers",
        )
    array = array.reshape(-1)
    if len(array) and (array.min() < 0 or array.max() >= max(_PLAUSIBLE_CLASSES, len(array))):
        raise DataError(
            expected=f"{key} numbered 0 .. K-1 in the .npz file",
            got=f"labels from {array.min()} to {array.max()}",
            fix="number the classes from 0",
        )
    return array.astype(np.int64)


def _array(key: str, archive: zipfile.ZipFile) -> np.ndarray:
    """Read one array; its header is checked before memory is set aside for it."""
    member = archive.getinfo(f"{key}.npy")
    try:
        with archive.open(member) as stream:
            shape, dtype = _header(stream)
        claimed = math.prod(shape) * dtype.itemsize
        if not dtype.hasobject:
            if not 0 <= member.file_size - claimed <= 1 << 16:
                raise _unsound(
                    key, f"a header that claims {claimed} bytes, of which it has {member.file_size}"
                )
            with archive.open(member) as stream:
                return np.lib.format.read_array(stream, allow_pickle=False)
    except DataError:
        raise
    except (ValueError, MemoryError) as error:
        # NumPy quotes the header.
        raise _unsound(key, f"a damaged one ({detail(error)})") from error
    raise DataError(
        expected=f"numbers as {key} in the .npz file",
        got="pickled Python objects, which could run code when they are read",
        fix="store the array with a numeric dtype",
    )


def _unsound(key: str, got: str) -> DataError:
    return DataError(
        expected=f"a sound array {key} in the .npz file",
        got=got,
        fix="copy or download the file again",
    )


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(stream)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"version {version} of the array format")
    shape, _, dtype = readers[version](stream)
    return shape, dtype
