"""Sets of other sizes, colours and orders of classes, brought to one form before they are compared.

The form is that of the set in question: it is what would be shared, so it is compared as it is,
and everything else is turned into its size and colour, as the real images were when the set was
made from them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from latentpath.core import DataError, ShapeError
from latentpath.data import ImageSet, resize_images, with_channels

_SHOWN = 60


@dataclass(frozen=True)
class Form:
    """What the images of all sets of an audit have in common.

    Attributes:
        height: of an image, pixels.
        width: of an image, pixels.
        channels: 1 (grey) or 3 (colour).
    """

    height: int
    width: int
    channels: int

    @classmethod
    def of(cls, images: ImageSet) -> Form:
        """The form of a set."""
        return cls(*images.images.shape[1:])

    def __str__(self) -> str:
        return f"{self.width}x{self.height} {'colour' if self.channels == 3 else 'grey'}"


def in_form(images: ImageSet, form: Form) -> ImageSet:
    """Return the set in another form.

    Colour becomes grey by its luma (ITU-R 601), grey becomes colour by repeating. Sizes change by
    `resize_images`, to squares only: images of other proportions would be stretched in silence.

    Raises:
        ShapeError: another size is wanted, and it is no square.
    """
    pixels = with_channels(images.images, form.channels)
    if pixels.shape[1:3] != (form.height, form.width):
        if form.height != form.width:
            raise ShapeError(
                expected=f"images of {form.width}x{form.height} pixels, as the set in question",
                got=f"{pixels.shape[2]}x{pixels.shape[1]}",
                fix="resize the sets to one size first: only squares are resized here",
            )
        pixels = resize_images(pixels, form.height, images.reading.resize)
    if pixels is images.images:
        return images
    return replace(images, images=pixels)


def with_classes(images: ImageSet, names: tuple[str, ...], *, what: str) -> ImageSet:
    """Return the set with the classes of another, matched by name.

    Classes may be missing, and classes without images do not matter.

    Args:
        images: the set.
        names: the classes of the real set.
        what: the set's name in messages.

    Raises:
        DataError: the set has images of a class that the real set does not have.
    """
    if images.class_names == names:
        return images
    present = np.unique(images.labels)
    place = {name: number for number, name in enumerate(names)}
    unknown = [
        images.class_names[label] for label in present if images.class_names[label] not in place
    ]
    if unknown:
        raise DataError(
            expected=f"classes of the real set ({_short(names)}) in the {what} set",
            got=_short(tuple(unknown)),
            fix="name the classes alike in every set; they are matched by name",
        )
    number = np.zeros(images.num_classes, dtype=np.int64)
    for label in present:
        number[label] = place[images.class_names[label]]
    return replace(images, labels=number[images.labels], class_names=names)


def shared_images(first: ImageSet, second: ImageSet) -> int:
    """How many images of `second` are, pixel by pixel, also in `first`."""
    known = {image.tobytes() for image in first.images}
    return sum(image.tobytes() in known for image in second.images)


def named_in_both(first: ImageSet, second: ImageSet) -> np.ndarray:  # bool [n of second]
    """Which images of `second` are, by the person's name or number, of somebody in `first`."""
    if first.person_digests is None or second.person_digests is None:
        return np.zeros(len(second), dtype=bool)
    return np.isin(second.person_digests, first.person_digests) & (second.person_digests != 0)


def without_shared(first: ImageSet, second: ImageSet) -> ImageSet | None:
    """`second` without anybody who is also in `first`; None if nobody is left.

    In both is of whom an image is, pixel by pixel, and who is named in both.
    """
    known = {image.tobytes() for image in first.images}
    shared = np.array([image.tobytes() in known for image in second.images])
    shared |= named_in_both(first, second)
    apart = ~np.isin(second.identities, second.identities[shared])
    if apart.all():
        return second
    return second.subset(apart) if apart.any() else None


def _short(names: tuple[str, ...]) -> str:
    text = ", ".join(names)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
