"""The MedMNIST `.npz` layout: six arrays, `{train,val,test}_{images,labels}`.

Yang et al., "MedMNIST v2", Scientific Data 10 (2023). Images are [n, H, W] (grey) or
[n, H, W, 3], labels [n, 1].
"""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from latentpath.data.decode import UndecodableError, to_eight_bits, with_channels
from latentpath.data.images import ImageSet
from latentpath.errors import DataError

SPLITS = ("train", "val", "test")
MAX_CLASSES = 256

# Deflate cannot do better than about 1,030 to 1. Real images stay below 20 to 1, so a large array
# that shrank this much is made to fill the memory.
_BOMB_RATIO = 200
_BOMB_BYTES = 1 << 28
# What zipfile raises on damaged, encrypted (RuntimeError) or foreign archives.
_UNREADABLE = (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)
# Numbering classes from 1000 upwards is a mistake, and would make networks of that width.
_PLAUSIBLE_CLASSES = 1000


def read_medmnist(path: Path, split: str = "train", channels: int | None = None) -> ImageSet:
    """Read one split, or all of them, of a MedMNIST file.

    Classes are named "0" .. "K-1", with K from the labels of all splits, so that a label means
    the same in each of them. Each image is one identity. 16-bit grey and floats in [0, 1] become
    8 bits as in image files.

    Args:
        path: the `.npz` file.
        split: "train", "val", "test", or "all" for the three behind one another.
        channels: 1 or 3 converts; None keeps what the file has.

    Raises:
        DataError: not such a file, keys absent, several labels per image, pickled objects, sizes
            that do not match, NaN, no images.
    """
    wanted: tuple[str, ...] = SPLITS if split == "all" else (split,)
    try:
        with zipfile.ZipFile(path) as archive:
            present = [s for s in SPLITS if f"{s}_labels.npy" in archive.namelist()]
            if split == "all" and present:
                wanted = tuple(present)
            _check_keys(path, archive, wanted)
            labels = {s: _labels(path, f"{s}_labels", archive) for s in present}
            images = [_images(path, f"{s}_images", archive) for s in wanted]
    except _UNREADABLE as error:
        raise DataError(
            expected="a MedMNIST .npz file",
            got=f"{path.name}, which cannot be read ({error})",
            fix="copy or download it again",
        ) from error
    for s, array in zip(wanted, images, strict=True):
        if len(array) != len(labels[s]):
            raise DataError(
                expected=f"one label per image in {path.name}",
                got=f"{len(array)} {s}_images and {len(labels[s])} {s}_labels",
                fix="check how the file was made",
            )
    # The splits that a writer left empty have no size worth comparing.
    filled = [array for array in images if len(array)]
    if not filled:
        raise DataError(
            expected=f"images in the split {split!r} of {path.name}",
            got="none",
            fix=f"choose another split: {', '.join(s for s in present if len(labels[s])) or '-'}",
        )
    if len({array.shape[1:] for array in filled}) > 1:
        raise DataError(
            expected="images of one size in all splits",
            got=", ".join(str(list(array.shape[1:])) for array in filled),
            fix="read the splits one by one",
        )
    chosen = np.concatenate([labels[s] for s in wanted])
    num_classes = 1 + max(int(column.max(initial=0)) for column in labels.values())
    pixels = with_channels(np.concatenate(filled), channels)
    names = tuple(str(label) for label in range(num_classes))
    return ImageSet(pixels, chosen, np.arange(len(pixels)), names)


def _check_keys(path: Path, archive: zipfile.ZipFile, splits: tuple[str, ...]) -> None:
    keys = [name.removesuffix(".npy") for name in archive.namelist()]
    absent = [f"{s}_{p}" for s in splits for p in ("images", "labels") if f"{s}_{p}" not in keys]
    if absent:
        raise DataError(
            expected=f"the arrays {', '.join(absent)} in {path.name}",
            got=f"the arrays {', '.join(keys[:12]) or 'none'}",
            fix="choose another split or use a MedMNIST file",
        )


def _images(path: Path, key: str, archive: zipfile.ZipFile) -> np.ndarray:
    """Return uint8 [n, H, W, C]."""
    array = _array(path, key, archive)
    shape = array.shape
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or array.shape[3] not in (1, 3) or 0 in array.shape[1:]:
        raise DataError(
            expected=f"{key} [n, H, W] or [n, H, W, 3] in {path.name}",
            got=str(list(shape)),
            fix="volumes and other channel numbers are not supported",
        )
    try:
        return to_eight_bits(array)
    except UndecodableError as error:
        raise DataError(
            expected=f"{key} in 8 or 16 bits, or floats in [0, 1], in {path.name}",
            got=str(error),
            fix="scale them to 0 .. 255 and store them as uint8",
        ) from error


def _labels(path: Path, key: str, archive: zipfile.ZipFile) -> np.ndarray:
    """Return int64 [n], 0 or more."""
    array = _array(path, key, archive)
    if array.ndim == 2 and array.shape[1] > 1:
        raise DataError(
            expected=f"one label per image, {key} [n, 1], in {path.name}",
            got=f"{array.shape[1]} labels per image, {list(array.shape)}",
            fix="choose one of the labels and write it as [n, 1]: sets with several labels per "
            "image are not supported",
        )
    if array.ndim not in (1, 2) or array.dtype.kind not in "iu":
        raise DataError(
            expected=f"whole-number labels [n, 1] as {key} in {path.name}",
            got=f"{array.dtype} {list(array.shape)}",
            fix="number the classes from 0 and store them as integers",
        )
    array = array.reshape(-1)
    if len(array) and (array.min() < 0 or array.max() >= max(_PLAUSIBLE_CLASSES, len(array))):
        raise DataError(
            expected=f"{key} numbered 0 .. K-1 in {path.name}",
            got=f"labels from {array.min()} to {array.max()}",
            fix="number the classes from 0",
        )
    return array.astype(np.int64)


def _array(path: Path, key: str, archive: zipfile.ZipFile) -> np.ndarray:
    """Read one array; its header is checked before memory is set aside for it."""
    member = archive.getinfo(f"{key}.npy")
    try:
        with archive.open(member) as stream:
            shape, dtype = _header(stream)
        claimed = math.prod(shape) * dtype.itemsize
        if not dtype.hasobject:
            if not 0 <= member.file_size - claimed <= 1 << 16:
                raise ValueError(f"its header claims {claimed} bytes, it has {member.file_size}")
            if claimed > _BOMB_BYTES and claimed > _BOMB_RATIO * member.compress_size:
                raise ValueError(f"{member.compress_size} bytes that unpack to {claimed}")
            with archive.open(member) as stream:
                return np.lib.format.read_array(stream, allow_pickle=False)
    except (ValueError, MemoryError) as error:
        raise DataError(
            expected=f"a sound array {key} in {path.name}",
            got=str(error),
            fix="copy or download the file again",
        ) from error
    raise DataError(
        expected=f"numbers as {key} in {path.name}",
        got="pickled Python objects, which could run code when they are read",
        fix="store the array with a numeric dtype",
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
