"""Arrays that are in memory already, checked as files are."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from latentpath.core import DataError, InputError, LatentpathWarning, ShapeError
from latentpath.data.contrast import Picture
from latentpath.data.images import ImageSet, Reading, check_class_names, check_images
from latentpath.data.sources.listing import Listing, number_names, number_people
from latentpath.data.survey import Surveyor


def image_set(
    images: Any,
    labels: Any,
    people: Any = None,
    *,
    class_names: Sequence[str] | None = None,
    one_image_per_person: bool = False,
    public_class_names: bool = False,
) -> ImageSet:
    """Make a private set of arrays, with the checks that files of images go through.

    ```
    data = latentpath.image_set(images, labels, people)
    ```

    Args:
        images: uint8 [n, H, W] (grey) or [n, H, W, C], C 1 or 3; NumPy arrays or tensors.
        labels: n whole numbers or texts, the class of each image.
        people: n whole numbers or texts, the person of each image; every person counts once
            however many images there are.
        class_names: K names, of which a whole number is the place, from 0. Left out, classes are
            called by their labels, in the order of their values.
        one_image_per_person: say so instead of giving `people`, if every image shows another
            person.
        public_class_names: say that names of classes which look like people's may be published.

    Raises:
        ShapeError: arrays of other shapes or kinds.
        InputError: neither `people` nor `one_image_per_person`, or both.
        DataError: a person or a class that is absent, labels that no class name belongs to, or
            class names that look like people's.

    Warns:
        LatentpathWarning: images of several people that show the same picture.
    """
    pixels = np.asarray(images)
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    check_images(pixels)
    n = len(pixels)
    if (people is None) != one_image_per_person:
        raise InputError(
            expected="who is who: people, one for each image, or one_image_per_person=True",
            got="neither" if people is None else "both",
            fix="give the person of each image: k-anonymity counts people, not images",
        )
    numbers, names = _classes(labels, class_names, n)
    identities = np.arange(n) if people is None else number_people(_column("people", people, n))
    told = "one-image-per-person" if one_image_per_person else "given"
    listing = Listing(
        "arrays",
        tuple(map(str, range(n))),
        numbers,
        names,
        identities,
        lambda row: Picture(pixels[row]),
        counted_by=told,
        public_class_names=public_class_names,
    )
    listing.check_classes()
    surveyor = Surveyor(listing)
    for row in range(n):
        surveyor.add(row, listing.read(row))
    reading = Reading(counted_by=told, public_class_names=public_class_names)
    made = ImageSet(pixels, numbers, identities, names, reading)
    for sentence in surveyor.report().suspicions():
        warnings.warn(sentence, LatentpathWarning, stacklevel=2)
    return made


def _classes(
    labels: Any, class_names: Sequence[str] | None, n: int
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Number of each image's class [n], and the names of the classes."""
    column = _column("labels", labels, n)
    if class_names is None:
        names, numbers = number_names(list(map(str, column)))
        return numbers, names
    names = tuple(class_names)
    check_class_names(names)
    # A whole number is a place among the names, a text is one of them.
    place: dict[int | str, int] = {name: number for number, name in enumerate(names)}
    place |= {number: number for number in range(len(names))}
    if odd := [label for label in column if label not in place]:
        raise DataError(
            expected=f"labels below {len(names)}, or among the {len(names)} class names",
            got=f"{len(odd)} labels that are not",
            fix="name every class, in the order of the labels",
        )
    return np.array([place[label] for label in column], np.int64), names


def _column(name: str, values: Any, n: int) -> list[int | str]:
    """Return n whole numbers or texts."""
    array = np.asarray(values)
    if array.shape == (n, 1):
        array = array[:, 0]
    if array.shape != (n,) or array.dtype.kind not in "biuUO":
        raise ShapeError(
            expected=f"{name} as {n} whole numbers or texts, one for each image",
            got=f"{array.dtype} {list(array.shape)}",
            fix=f"give one whole number or text per image as {name}",
        )
    cells = [int(cell) if isinstance(cell, bool) else cell for cell in array.tolist()]
    odd = [cell for cell in cells if not isinstance(cell, int | str) or str(cell).strip() == ""]
    if odd:
        raise DataError(
            expected=f"a whole number or text for each image as {name}",
            got=f"{len(odd)} of {n} that are empty or something else",
            fix="fill them in, or leave these images out",
        )
    return cells
