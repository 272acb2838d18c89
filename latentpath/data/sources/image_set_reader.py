"""Reading a labelled image set, whatever form it has on disk."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from latentpath.core import DataError, InputError, LatentpathWarning, Progress, check_within, silent
from latentpath.data.contrast import Picture, UndecodableError
from latentpath.data.decode import with_channels
from latentpath.data.images import ImageSet, Reading, resize_images
from latentpath.data.sources.data_source import DataSource
from latentpath.data.sources.listing import Listing, digests_of_people
from latentpath.data.sources.name_disclosure import loggers_quiet
from latentpath.data.survey import Survey, Surveyor

STAGE = "read images"


def read_image_set(
    source: str | Path | DataSource,
    *,
    channels: int | None = None,
    resolution: int | None = None,
    resize: str = "pad",
    max_unreadable: float = 0.0,
    progress: Progress = silent,
    **options: Any,
) -> ImageSet:
    """Read a labelled image set into memory.

    Messages call files by their number; `names_shown` lets them quote names.

    Args:
        source: what to read; of a path, the `options` of `DataSource` say how: `csv`,
            `identity_column`, `identity_pattern`, `class_folder`, `format`, `window`, ....
        channels: 1 makes all images grey, 3 colour. None takes them as they are and refuses a
            mixture.
        resolution: resize every image to this many pixels per side (see `resize_images`), so
            that sizes may differ. None takes them as they are and refuses a mixture.
        resize: what becomes of images that are no squares, here and later: "pad" keeps all of them
            between black edges, "crop" their middle, "stretch" squeezes them.
        max_unreadable: share of the images, 0 to 1, that may be unreadable; they are left out with
            a warning.
        progress: told after every image, stage "read images".

    Raises:
        DataError: the set cannot be used; the message says which file, and what to do.
        InputError: arguments that do not go together.
        UnsupportedError: a set of ours in a later format.
        MissingExtraError: Pillow, or for DICOM files pydicom, is not installed.
    """
    return read_and_survey(
        source,
        channels=channels,
        resolution=resolution,
        resize=resize,
        max_unreadable=max_unreadable,
        progress=progress,
        **options,
    )[0]


def scan(source: str | Path | DataSource, *, progress: Progress = silent, **options: Any) -> Survey:
    """Look at every image of a set, and keep none.

    Args:
        source: as in `read_image_set`.
        progress: told after every image, stage "read images", and as they are held against each
            other, "compare images".

    Returns:
        What the set holds; `Survey.check` says whether the set can be read.

    Raises:
        DataError, InputError, UnsupportedError, MissingExtraError: as `read_image_set`, save for
            what a survey reports: unreadable images and mixtures.
    """
    return _surveyed(_source(source, options).list(progress), progress)


def _surveyed(listing: Listing, progress: Progress) -> Survey:
    surveyor = Surveyor(listing)
    with loggers_quiet():
        deque(_decoded(listing, surveyor, progress), maxlen=0)
    return surveyor.report(progress)


def read_and_survey(
    source: str | Path | DataSource,
    *,
    channels: int | None = None,
    resolution: int | None = None,
    resize: str = "pad",
    max_unreadable: float = 0.0,
    progress: Progress = silent,
    **options: Any,
) -> tuple[ImageSet, Survey]:
    """Read a set as `read_image_set` does, and survey it on the way."""
    check_reading(channels, resolution, max_unreadable)
    source = _source(source, options)
    listing = source.list(progress)
    if listing.unsettled or listing.doubt is not None:
        # No image is kept, but all are looked at: what else is to be settled is said with it.
        _surveyed(listing, progress).check(channels, resolution, max_unreadable)
    reading = Reading(str(source.contrast), resize, listing.counted_by, listing.public_class_names)
    surveyor = Surveyor(listing)
    store = _Store(listing, channels, resolution, reading)
    # It reads to the end before it complains, so that one error counts all unreadable files.
    with loggers_quiet():
        for row, picture in _decoded(listing, surveyor, progress):
            store.put(row, picture.pixels)
    survey = surveyor.report(progress)
    survey.check(channels, resolution, max_unreadable)
    for sentence in (*survey.notes, *survey.suspicions(), *_left_out(survey)):
        warnings.warn(sentence, LatentpathWarning, stacklevel=3)
    return store.images(surveyor.good_rows()), survey


def _source(source: str | Path | DataSource, options: dict[str, Any]) -> DataSource:
    if not isinstance(source, DataSource):
        return DataSource(Path(source), **options)
    if options:
        raise InputError(
            expected="options only with a path",
            got=f"a DataSource and {', '.join(options)}",
            fix="put them into the DataSource",
        )
    return source


def _decoded(
    listing: Listing, surveyor: Surveyor, progress: Progress
) -> Iterator[tuple[int, Picture]]:
    """Yield (row, picture) of the images that can be read, after the surveyor saw them."""
    total = len(listing.files)
    for row in range(total):
        try:
            picture = listing.read(row)
        except UndecodableError as reason:
            surveyor.add_unreadable(row, str(reason))
        else:
            surveyor.add(row, picture)
            yield row, picture
        progress(STAGE, row + 1, total, {"unreadable": surveyor.unreadable})


class _Store:
    """The images of a set as long as they have one size: then there is an error anyway."""

    def __init__(
        self, listing: Listing, channels: int | None, resolution: int | None, reading: Reading
    ) -> None:
        self._listing, self._channels, self._resolution = listing, channels, resolution
        self._reading = reading
        self._pixels: np.ndarray | None = None  # [n, H, W, C]
        # What is in memory as it is wanted need not be copied.
        self._as_it_is = listing.pixels if resolution is None else None
        if self._as_it_is is not None:
            self._pixels = with_channels(self._as_it_is, channels)

    def put(self, row: int, image: np.ndarray) -> None:
        if self._as_it_is is not None:
            return
        image = with_channels(image, self._channels)
        if self._resolution is not None:
            image = resize_images(image[None], self._resolution, self._reading.resize)[0]
        if self._pixels is None:
            # Made when the first image says how large.
            self._pixels = _room_for(len(self._listing.files), image.shape)
        if image.shape == self._pixels.shape[1:]:
            self._pixels[row] = image

    def images(self, rows: np.ndarray) -> ImageSet:
        """Return the set of the rows that were put."""
        listing, pixels = self._listing, self._pixels
        assert pixels is not None, "a set without a readable image is refused"
        if len(rows) < len(pixels):
            pixels = pixels[rows]
        _, people = np.unique(listing.identities[rows], return_inverse=True)
        names = listing.person_names
        return ImageSet(
            pixels,
            listing.labels[rows],
            people,
            listing.class_names,
            reading=self._reading,
            person_digests=None if names is None else digests_of_people([names[r] for r in rows]),
        )


def _room_for(total: int, shape: tuple[int, ...]) -> np.ndarray:
    try:
        return np.empty((total, *shape), dtype=np.uint8)
    except MemoryError as error:
        raise DataError(
            expected="a set that fits into memory",
            got=f"{total} images of {shape[1]}x{shape[0]} pixels",
            fix="resize all of them, such as with --resolution 64",
        ) from error


def _left_out(survey: Survey) -> list[str]:
    if not survey.unreadable:
        return []
    place, why = survey.unreadable[0]
    return [
        f"{len(survey.unreadable)} of {survey.listed} images cannot be read and are left out, the "
        f"first is {place}: {why}"
    ]


# Images are held at this side, all of them: a larger one is a slip of the pen.
_LARGEST_SIDE = 16_384


def check_reading(channels: int | None, resolution: int | None, max_unreadable: float) -> None:
    """Raise InputError where `read_image_set` would for these arguments."""
    if channels not in (None, 1, 3):
        raise InputError(expected="1 or 3 channels", got=str(channels), fix="choose one of them")
    check_within(1, _LARGEST_SIDE, resolution=1 if resolution is None else resolution)
    if not 0 <= max_unreadable < 1:
        raise InputError(
            expected="a max_unreadable from 0 to below 1, a share of the images",
            got=str(max_unreadable),
            fix="0.01 allows one image in a hundred",
        )
