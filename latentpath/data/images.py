"""A labelled set of images in memory, and the two forms that its images take.

As data, images are uint8 `[n, H, W, C]`; as tensors, float32 `[n, C, H, W]` in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from latentpath.core import DataError, InputError, ShapeError, check_one_of, require_extra

COUNTED_BY = {
    "given": "by whoever made the set in memory",
    "images": "each image is one person, as nothing told otherwise",
    "one-image-per-person": "each image is one person, by the word of whoever made the set",
    "identity-column": "by a column of people in a table, or an array, that was named",
    "people-array": "by an array in the file that is called as people's are; nobody named it",
    "identities": "by a table of people",
    "identity-pattern": "by a pattern in the names of files",
    "identity-folder": "by folders, each of one person",
    "patients": "by the patients and studies of DICOM files",
    "names": "by the names of files, as the published set has them",
}
"""What may have told people apart, and what it means."""

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image, Resampling

RESIZES = ("pad", "crop", "stretch")
"""How an image that is no square becomes one: black edges beside the whole of it, its middle alone,
or squeezed, which alone loses the aspect ratio."""


@dataclass(frozen=True)
class Reading:
    """How files became images of people: what a set made from it says of it."""

    window: str = "1"
    """Which values became black and white, in the words of `parse_window`."""
    resize: str = "pad"
    """How images that are no squares are resized, one of `RESIZES`."""
    counted_by: str = "given"
    """What told people apart, one of `COUNTED_BY`."""
    public_class_names: bool = False
    """Whether somebody said that class names which look like identifiers of people may be
    published."""

    def __post_init__(self) -> None:
        check_one_of(RESIZES, resize=self.resize)
        check_one_of(COUNTED_BY, counted_by=self.counted_by)

    def as_dict(self) -> dict[str, str | bool]:
        """Return it as plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images of equal size with a class and a person each.

    It checks itself when it is made, so whoever is handed one need not check again.

    Attributes:
        images: uint8 [n, H, W, C], n at least 1, C 1 (grey) or 3 (colour).
        labels: int64 [n], class of each image, 0 .. K-1. Not every class need occur.
        identities: int64 [n], person of each image, 0 .. N-1. Every number occurs, so
            N is both the number of people and the width of an identity classifier.
        class_names: the K class names, all different.
        reading: how it came from files: what became of pixels, and what told people apart.
        person_digests: uint64 [n], a digest of the name or number that the person of each image has
            in files and tables, 0 where there is none, by which people of two sets are compared;
            None where nothing names anybody. It is written nowhere.

    Raises:
        ShapeError: an array has the wrong shape or dtype.
        DataError: no images, labels or identities out of range, class names that clash.
    """

    images: np.ndarray  # [n, H, W, C]
    labels: np.ndarray  # [n]
    identities: np.ndarray  # [n]
    class_names: tuple[str, ...]
    reading: Reading = Reading()
    person_digests: np.ndarray | None = None  # [n]

    def __post_init__(self) -> None:
        check_images(self.images)
        if len(self.images) == 0:
            raise DataError(
                expected="at least one image", got="none", fix="check the folder or the subset"
            )
        object.__setattr__(self, "class_names", tuple(self.class_names))
        object.__setattr__(self, "labels", _as_index_column("labels", self.labels, len(self)))
        object.__setattr__(
            self, "identities", _as_index_column("identities", self.identities, len(self))
        )
        check_class_names(self.class_names)
        digests = self.person_digests
        if digests is not None and digests.shape != (len(self),):
            raise ShapeError(
                expected=f"person_digests as integers [{len(self)}], one per image",
                got=str(list(digests.shape)),
                fix="give one per image, or None",
            )
        if self.labels.max() >= len(self.class_names):
            raise DataError(
                expected=f"labels below {len(self.class_names)}, the number of class names",
                got=f"label {self.labels.max()}",
                fix="name every class, in the order of the labels",
            )
        present = np.unique(self.identities)
        if present[-1] != len(present) - 1:
            raise DataError(
                expected="identities numbered 0 .. N-1 without gaps",
                got=f"{len(present)} identities numbered up to {present[-1]}",
                fix="renumber them with np.unique(identities, return_inverse=True)[1]",
            )

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        n, height, width, channels = self.images.shape
        return (
            f"ImageSet({n} images {height}x{width}x{channels}, {self.num_classes} classes, "
            f"{self.num_identities} identities)"
        )

    @property
    def num_classes(self) -> int:
        """K, classes without images included."""
        return len(self.class_names)

    @property
    def num_identities(self) -> int:
        """N, the number of different people."""
        return int(self.identities.max()) + 1

    @property
    def channels(self) -> int:
        """1 for grey, 3 for colour."""
        return self.images.shape[3]

    def class_counts(self) -> dict[str, int]:
        """Images per class name, in the order of the labels, classes without images included."""
        counts = np.bincount(self.labels, minlength=self.num_classes)
        return {name: int(count) for name, count in zip(self.class_names, counts, strict=True)}

    def subset(self, index: np.ndarray | Sequence[int] | slice) -> ImageSet:
        """Return the chosen images as a set of their own.

        Class names stay, so labels mean the same in both sets. Identities are renumbered
        0 .. N'-1 in their old order, because the people left out are no longer there.

        Args:
            index: rows to take, in this order: integers [m], a mask [n] or a slice.
        """
        if not isinstance(index, slice):
            index = np.asarray(index)
            if index.size == 0:
                index = index.astype(np.int64)
        _, identities = np.unique(self.identities[index], return_inverse=True)
        return replace(
            self,
            images=self.images[index],
            labels=self.labels[index],
            identities=identities,
            person_digests=None if self.person_digests is None else self.person_digests[index],
        )


def check_images(images: np.ndarray) -> None:
    """Raise ShapeError unless `images` is uint8 [n, H, W, C] with C 1 or 3."""
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
        got = getattr(images, "dtype", type(images).__name__)
        raise ShapeError(
            expected="images as a uint8 array [n, H, W, C]",
            got=str(got),
            fix="scale them to 0 .. 255 and convert, or use to_uint8 on a tensor in [-1, 1]",
        )
    if images.ndim != 4 or images.shape[3] not in (1, 3) or 0 in images.shape[1:]:
        raise ShapeError(
            expected="images [n, H, W, C] with C 1 or 3",
            got=str(list(images.shape)),
            fix="put the channels last, and add a channel axis to grey images",
        )


def _as_index_column(name: str, values: np.ndarray, n: int) -> np.ndarray:
    """Return int64 [n] of non-negative numbers, or raise."""
    values = np.asarray(values)
    if values.shape != (n,) or values.dtype.kind not in "iu":
        raise ShapeError(
            expected=f"{name} as integers [{n}], one per image",
            got=f"{values.dtype} {list(values.shape)}",
            fix=f"give one whole number per image as {name}",
        )
    if values.min() < 0:
        raise DataError(
            expected=f"{name} of 0 or more", got=str(values.min()), fix="number them from 0"
        )
    return values.astype(np.int64)


def check_class_names(names: tuple[str, ...]) -> None:
    """Raise DataError unless the names are texts, not empty and all different."""
    if not names or not all(isinstance(name, str) and name and is_text(name) for name in names):
        raise DataError(
            expected="class names that are non-empty texts",
            got=ascii(names)[:80],
            fix="give one name per class",
        )
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(
            expected="class names that differ", got=f"{twice!r} twice", fix="rename one of them"
        )


def is_text(name: str) -> bool:
    """Say whether a name can be written: names of files may hold bytes that are no UTF-8."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def to_tensor(images: np.ndarray) -> torch.Tensor:
    """Turn images into the form networks take.

    Args:
        images: uint8 [n, H, W, C].

    Returns:
        float32 [n, C, H, W] with 0 at -1 and 255 at 1; `to_uint8` is its exact inverse.

    >>> to_tensor(np.array([[[[0], [255]]]], dtype=np.uint8))
    tensor([[[[-1.,  1.]]]])
    """
    import torch  # here: whoever looks at images alone needs no PyTorch

    check_images(images)
    planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return torch.from_numpy(planes).to(torch.float32).div_(127.5).sub_(1.0)


def to_uint8(tensor: torch.Tensor) -> np.ndarray:
    """Turn network images into data: clamp to [-1, 1], round to the nearest grey level, half up.

    Args:
        tensor: [n, C, H, W], any floating dtype and device, C 1 or 3.

    Returns:
        uint8 [n, H, W, C].

    Raises:
        ShapeError: not a floating tensor of that shape.
        DataError: NaN among the values.

    >>> import torch
    >>> to_uint8(torch.tensor([[[[-1.0, 0.0, 7.0]]]])).ravel()
    array([  0, 128, 255], dtype=uint8)
    """
    if tensor.ndim != 4 or tensor.shape[1] not in (1, 3) or not tensor.is_floating_point():
        raise ShapeError(
            expected="floating images [n, C, H, W] with C 1 or 3",
            got=f"{tensor.dtype} {list(tensor.shape)}",
            fix="put the channels second, values in [-1, 1]",
        )
    tensor = tensor.detach().float()
    if missing := int(tensor.isnan().sum()):
        raise DataError(
            expected="images without NaN",
            got=f"{missing} NaN values",
            fix="check the weights or the latents that made them",
        )
    levels = tensor.clamp(-1.0, 1.0).add_(1.0).mul_(127.5).add_(0.5).floor_()
    return levels.byte().permute(0, 2, 3, 1).contiguous().cpu().numpy()


def resize_images(images: np.ndarray, size: int, how: str = "pad") -> np.ndarray:
    """Resize to `size` x `size` pixels with Pillow's antialiased bicubic filter.

    An image that is not square keeps its aspect ratio, unless it is stretched.

    Args:
        images: uint8 [n, H, W, C].
        size: pixels per side of the result, at least 1.
        how: one of `RESIZES`: "pad" puts black beside it, "crop" takes its middle, "stretch"
            squeezes it.

    Returns:
        uint8 [n, size, size, C]; images of that size already come back unchanged.
    """
    check_images(images)
    check_one_of(RESIZES, how=how)
    if size < 1:
        raise InputError(
            expected="a size of at least 1 pixel", got=str(size), fix="give the new side length"
        )
    if images.shape[1:3] == (size, size):
        return images.copy()
    pil = require_extra("PIL.Image", "pipeline")
    ops = require_extra("PIL.ImageOps", "pipeline")
    to_square = {"pad": ops.pad, "crop": ops.fit, "stretch": _stretched}[how]
    resized = np.empty((len(images), size, size, images.shape[3]), dtype=np.uint8)
    for source, target in zip(images, resized, strict=True):
        # Pillow wants grey images without a channel axis.
        picture = pil.fromarray(source[:, :, 0] if source.shape[2] == 1 else source)
        picture = to_square(picture, (size, size), pil.Resampling.BICUBIC)
        target[...] = np.asarray(picture).reshape(target.shape)
    return resized


def _stretched(picture: Image, size: tuple[int, int], method: Resampling) -> Image:
    return picture.resize(size, resample=method)
