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
from latentpath.data.sources.archive import (
    LIMITS,
    MEDMNIST_NAMES,
    SPLITS,
    UNREADABLE,
    array_names,
    open_archive,
    read_array,
    unreadable,
)
from latentpath.data.sources.array_set import EightBitImages, read_images
from latentpath.data.sources.listing import Listing
from latentpath.data.sources.people_columns import (
    cells,
    chosen_people,
    columns_of,
    people_of_arrays,
    unreadable_people,
)

MAX_CLASSES = 256

_WHAT = "an .npz file"
# Numbering classes from 1000 upwards is a mistake, and would make networks of that width.
_PLAUSIBLE_CLASSES = 1000


def list_medmnist(
    path: Path,
    split: str = "train",
    window: Window = OWN_WINDOW,
    identity_column: str | None = None,
) -> Listing:
    """List one split, or all of them, of a MedMNIST file.

    Classes are named "0" .. "K-1", with K from the labels of all splits, so that a label means
    the same in each of them. Each image is one identity, unless the file has arrays of people
    besides, such as train_patients. Values of more than 8 bits become 8 bits as in image files. The
    pixels are in memory.

    Args:
        path: the `.npz` file.
        split: "train", "val", "test", or "all" for the three behind one another.
        window: what of grey values of more than 8 bits becomes black and white.
        identity_column: name of the arrays of people, without the split in front.

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
            others = _other_columns(archive, {s: len(labels[s]) for s in wanted})
            pickled = unreadable_people(archive, array_names(archive))
        except DataError:
            raise
        except UNREADABLE as error:
            raise unreadable(_WHAT, error) from error
    joined = _joined_images(dict(zip(wanted, images, strict=True)), labels, split)
    num_classes = 1 + max(int(column.max(initial=0)) for column in labels.values())
    classes = np.concatenate([labels[s] for s in wanted])
    named = _people_column(others, identity_column)
    ours = is_written_set(path.parent)
    told = people_of_arrays(
        None if named is None else others.pop(named),
        others,
        classes,
        pickled,
        asked=identity_column is not None or ours,
    )
    return Listing(
        "medmnist",
        tuple(map(str, range(len(joined.pixels)))),
        classes,
        tuple(map(str, range(num_classes))),
        told.people,
        joined.picture,
        told.notes,
        pixels=joined.pixels,
        ours=ours,
        synthetic=ours,
        counted_by=told.counted_by,
        person_names=told.names,
        doubt=told.doubt,
    )


def _joined_images(
    images: dict[str, EightBitImages], labels: dict[str, np.ndarray], split: str
) -> EightBitImages:
    """Return the images of the splits behind one another.

    Raises:
        DataError: not as many as labels, none at all, or of several sizes.
    """
    for s, array in images.items():
        if len(array.pixels) != len(labels[s]):
            raise DataError(
                expected="one label per image in the .npz file",
                got=f"{len(array.pixels)} {s}_images and {len(labels[s])} {s}_labels",
                fix="check how the file was made",
            )
    # The splits that a writer left empty have no size worth comparing.
    filled = [array for array in images.values() if len(array.pixels)]
    if not filled:
        raise DataError(
            expected=f"images in the split {split!r} of the .npz file",
            got="none",
            fix="choose another split: "
            f"{', '.join(s for s, column in labels.items() if len(column)) or '-'}",
        )
    if len({array.pixels.shape[1:] for array in filled}) > 1:
        raise DataError(
            expected="images of one size in all splits",
            got=", ".join(str(list(array.pixels.shape[1:])) for array in filled),
            fix="read the splits one by one",
        )
    return filled[0] if len(filled) == 1 else EightBitImages.joined(filled)


def _other_columns(archive: zipfile.ZipFile, counts: dict[str, int]) -> dict[str, list[str]]:
    """Return the cells of other arrays, one for each image of the splits, by their names.

    The split in front of a name is left out.

    Args:
        archive: the file.
        counts: images of each split that is read.
    """
    found: dict[str, dict[str, list[str]]] = {}
    plain = [key for key in array_names(archive) if not key.startswith(SPLITS)]
    for split, count in counts.items():
        own = [key for key in array_names(archive) if key.startswith(f"{split}_")]
        keys = [key for key in own if key not in MEDMNIST_NAMES]
        # One without a split in its name may be of any split of that size.
        for key, column in columns_of(archive, [*plain, *keys], count).items():
            found.setdefault(key.removeprefix(f"{split}_"), {})[split] = cells(column)
    return {
        key: [cell for split, count in counts.items() for cell in parts.get(split, [""] * count)]
        for key, parts in sorted(found.items())
    }


def _people_column(others: dict[str, list[str]], wanted: str | None) -> str | None:
    if wanted is None:
        known = chosen_people(list(others))
        return known[0] if len(known) == 1 else None  # of several, `doubtful_array` names one
    for split in SPLITS:
        if wanted not in others and wanted.startswith(f"{split}_"):
            wanted = wanted.removeprefix(f"{split}_")
    if wanted not in others:
        raise DataError(
            expected="arrays of people such as train_patients, with one whole number or text per "
            "image of each split that is read, in the .npz file",
            got="none of the name that was given",
            fix="check --identity-column (--verbose shows names), or read one split",
        )
    return wanted


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
