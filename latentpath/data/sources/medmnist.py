"""The MedMNIST `.npz` layout: six arrays, `{train,val,test}_{images,labels}`.

Yang et al., "MedMNIST v2", Scientific Data 10 (2023). Images are [n, H, W] (grey) or
[n, H, W, 3], labels [n, 1].
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from latentpath.core import DataError, InputError
from latentpath.data.contrast import OWN_WINDOW, Window
from latentpath.data.manifest import is_written_set
from latentpath.data.sources.archive import UNREADABLE, open_archive, unreadable
from latentpath.data.sources.array_images import EightBitImages, read_images
from latentpath.data.sources.listing import Listing
from latentpath.data.sources.npz_arrays import LIMITS, MEDMNIST_NAMES, SPLITS, read_array

MAX_CLASSES = 256

_WHAT = "an .npz file"
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
    if split not in (*SPLITS, "all"):
        raise InputError(
            expected="the split train, val, test or all", got=repr(split), fix="choose one of them"
        )
    wanted: tuple[str, ...] = SPLITS if split == "all" else (split,)
    with open_archive(path, _WHAT, LIMITS) as archive:
        present = [s for s in SPLITS if f"{s}_labels.npy" in archive.namelist()]
        if split == "all" and present:
            wanted = tuple(present)
        _check_keys(archive, wanted)
        try:
            labels = {s: _labels(f"{s}_labels", archive) for s in present}
            images = [read_images(archive, f"{s}_images", window) for s in wanted]
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


def is_medmnist(path: Path) -> bool:
    """Say whether a file has any of MedMNIST's arrays; one that cannot be read may be any."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except UNREADABLE:
        return True
    return any(f"{key}.npy" in names for key in MEDMNIST_NAMES)


def _check_keys(archive: zipfile.ZipFile, splits: tuple[str, ...]) -> None:
    keys = [name.removesuffix(".npy") for name in archive.namelist()]
    absent = [f"{s}_{p}" for s in splits for p in ("images", "labels") if f"{s}_{p}" not in keys]
    if absent:
        known = [key for key in MEDMNIST_NAMES if key in keys]
        raise DataError(
            expected=f"the arrays {', '.join(absent)} in the .npz file",
            got=f"{len(keys)} arrays, of MedMNIST's {', '.join(known) or 'none'}",
            fix="choose another split or use a MedMNIST file",
        )


def _labels(key: str, archive: zipfile.ZipFile) -> np.ndarray:
    """Return int64 [n], 0 or more."""
    array = read_array(archive, key)
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
