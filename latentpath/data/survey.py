"""What a data set holds, every image looked at once: the report of a scan."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from latentpath.core import DataError, Progress, colour_of, joined, silent
from latentpath.data.contrast import Picture
from latentpath.data.contrast_survey import ContrastSurvey, ContrastSurveyor
from latentpath.data.images import COUNTED_BY
from latentpath.data.near_copies import NearCopies
from latentpath.data.sources.listing import Listing

# More sizes than this are summed up.
_SIZES_SHOWN = 4
# A class of so many images shows more than one person.
_IMAGES_OF_SEVERAL = 10
# Channels of grey pictures that were stored in colour differ by so many levels at most; colour is
# looked for in every so many pixels of a row and column first.
_GREY, _THIN = 8, 3


class Fault(NamedTuple):
    """One reason for which reading a set is refused."""

    error: DataError
    """What is raised."""
    settled_by: str = ""
    """The options that settle it, where that is no choice to be made by whoever knows the data."""


@dataclass(frozen=True)
class Survey:
    """What a data set holds."""

    format: str
    """Form of the set, one of `FORMATS`."""
    listed: int
    """Images that the set lists."""
    classes: tuple[tuple[str, int, int], ...]
    """Name, readable images and people of each class."""
    people: int
    """Different people among the readable images."""
    images_per_person: tuple[int, float, int]
    """Fewest, median and most; zeros where nothing is readable."""
    sizes: tuple[tuple[int, int, int, int], ...]
    """Width, height, channels and number of images, the commonest first."""
    copies: int
    """Images that are an exact copy of another one, that one included."""
    copies_across_people: int
    """Those of them whose copy belongs to another person."""
    near_copies: int
    """Images that show the same picture as another person's: exact copies, and those at another
    size, in another format or with another contrast, turned, inverted, cropped or in a border."""
    copies_across_classes: int
    """Those of them whose copy is in another class."""
    contrast: ContrastSurvey
    """What became of the values of the files' pixels."""
    unreadable: tuple[tuple[str, str], ...]
    """Place and reason of each image that cannot be read."""
    first_places: tuple[str, ...]
    """For each entry of `sizes`, the place of its first image."""
    nameless: tuple[str, ...]
    """Places of readable images that should name a person and do not (DICOM files)."""
    notes: tuple[str, ...]
    """Files that were left out, one sentence each."""
    synthetic: bool = False
    """Whether it shows no people."""
    counted_by: str = "given"
    """What told people apart, one of `COUNTED_BY`."""
    doubt: DataError | None = None
    """Why images must not be counted as people: what reading the set raises."""
    unsettled: tuple[DataError, ...] = ()
    """What is open of all else, so that the set was looked at by a guess: what reading it raises,
    too."""
    classes_known: bool = True
    """Whether the classes are no guess; else they are numbered and not named."""
    coloured: int = 0
    """Images of three channels that show colour, and not grey alone."""

    @property
    def readable(self) -> int:
        """Images that can be read."""
        return self.listed - len(self.unreadable)

    @property
    def oblong(self) -> int:
        """Images that are no squares."""
        return sum(count for width, height, _, count in self.sizes if width != height)

    def check(
        self,
        channels: int | None = None,
        resolution: int | None = None,
        max_unreadable: float = 0.0,
    ) -> None:
        """Raise what reading the set with these options would raise, all of it in one error.

        Raises:
            DataError: people who seem to have several images and are not told apart, or of whom
                each is a class, too many unreadable images, DICOM files without a patient, or a
                mixture of sizes or of grey and colour.
        """
        if faults := self.faults(channels, resolution, max_unreadable):
            raise joined([fault.error for fault in faults])

    def faults(
        self,
        channels: int | None = None,
        resolution: int | None = None,
        max_unreadable: float = 0.0,
    ) -> list[Fault]:
        """Every reason for which reading the set with these options is refused."""
        alone = None if self.unsettled else self._one_person_a_class()
        found = [Fault(error) for error in (*self.unsettled, self.doubt, alone) if error]
        for check in (
            lambda: self._check_readable(max_unreadable),
            self._check_people,
            self.contrast.check,
        ):
            try:
                check()
            except DataError as error:
                found.append(Fault(error))
        sizes = self._sizes_as_read(channels)
        if len({c for _, _, c in sizes}) > 1:
            certain = "" if self.coloured else "--channels 1"
            found.append(Fault(self._mixed_channels(sizes), certain))
        if len({(w, h) for w, h, _ in sizes}) > 1 and resolution is None:
            found.append(Fault(self._mixed_sizes(sizes), "--resolution 64"))
        return found

    def _one_person_a_class(self) -> DataError | None:
        """Refuse to take classes for people."""
        classes = [people for _, images, people in self.classes if images]
        several = self.readable >= _IMAGES_OF_SEVERAL * len(classes)
        if self.synthetic or not several or len(classes) < 2 or set(classes) != {1}:
            return None
        return DataError(
            expected="several people in a class, as averages over k of them are made of each",
            got=f"one person in each of {len(classes)} classes",
            fix="name what tells people apart, and not classes, with --identity-column, "
            "--identity-folder, --identity-pattern or --identities",
        )

    def _check_readable(self, max_unreadable: float) -> None:
        if not self.readable or len(self.unreadable) > max_unreadable * self.listed:
            place, why = self.unreadable[0]
            least = self.listed - int(max_unreadable * self.listed)
            raise DataError(
                expected=f"{least} readable images" + (" at least" if max_unreadable else ""),
                got=f"{len(self.unreadable)} of {self.listed} that are not, the first is {place}: "
                f"{why}",
                fix="replace or remove them (`latentpath scan` lists all), or raise "
                "--max-unreadable",
            )

    def _check_people(self) -> None:
        if self.nameless:
            raise DataError(
                expected="a patient number in every DICOM file",
                got=f"{len(self.nameless)} of {self.readable} images without, or with a word in "
                f"its place that several studies share; the first is {self.nameless[0]}",
                fix="name a table of people with --identities, or say --identity-folder, "
                "--identity-pattern or --one-image-per-person",
            )
        unsaid = self.counted_by == "images" and self.doubt is None
        if unsaid and self.near_copies and not self.synthetic:
            raise DataError(
                expected="a picture of another person in every image, as nothing says who is who",
                got=f"{self.near_copies} of {self.readable} images with a copy among the others, "
                "in whole, at another size, turned, inverted, cropped or in another form",
                fix="remove the copies, name a table of people with --identities, or say "
                "--one-image-per-person if they show different people",
            )

    def suspicions(self) -> list[str]:
        """Return what is allowed, but seldom meant, one sentence each."""
        suspicions = []
        if self.near_copies > self.copies_across_people and not self.synthetic:
            suspicions.append(
                f"{self.near_copies} images show the same picture as another identity's image, at "
                "another size or in another form"
            )
        if self.copies_across_people and not self.synthetic:
            suspicions.append(
                f"{self.copies_across_people} images are exact copies of another identity's image; "
                "if these are the same person, k-anonymity counts that person several times: "
                "remove the copies or name a column of identities"
            )
        if self.copies_across_classes and not self.synthetic:
            suspicions.append(
                f"{self.copies_across_classes} images are in the set under several classes: check "
                "their labels"
            )
        if not self.synthetic:
            suspicions += self.contrast.suspicions()
        return suspicions

    def summary(self) -> str:
        """Return one line."""
        width, height, channels, _ = self.sizes[0] if self.sizes else (0, 0, 1, 0)
        mixed = "" if len(self.sizes) <= 1 else f" and {len(self.sizes) - 1} other sizes"
        people = f" of {self.people:,} people"
        if self.synthetic:
            people = f" of {self.people:,} walks" if self.people < self.readable else ""
        return (
            f"{self.readable:,} images{people} in {len(self.classes)} classes, "
            f"{width}x{height} {colour_of(channels)}{mixed}; "
            f"{len(self.unreadable)} unreadable, {self.copies} exact copies"
        )

    def lines(self) -> list[str]:
        """Return the whole report, a line for each finding."""
        least, median, most = self.images_per_person
        lines = [f"format: {self.format}", f"images: {self.readable:,} of {self.listed:,} readable"]
        lines += [
            f"class {name!r}: {images:,} images of {people:,} people"
            for name, images, people in self.classes
            if self.classes_known
        ]
        if not self.classes_known:
            lines.append(f"classes: {len(self.classes):,}, if they are classes")
        lines.append(
            f"people: {self.people:,}, with {least} to {most} images each, median {median:g}"
        )
        lines.append(f"people counted: {COUNTED_BY[self.counted_by]}")
        lines += self._size_lines()
        lines.append(
            f"exact copies: {self.copies:,} images, {self.copies_across_people:,} across people, "
            f"{self.copies_across_classes:,} across classes"
        )
        lines += [f"unreadable: {place}: {why}" for place, why in self.unreadable]
        lines += [f"flattened: {place}" for place in self.contrast.flat]
        lines += [f"without a patient number: {place}" for place in self.nameless]
        lines += [f"note: {sentence}" for sentence in (*self.notes, *self.suspicions())]
        return lines

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        least, median, most = self.images_per_person
        return {
            "format": self.format,
            "listed": self.listed,
            "readable": self.readable,
            "classes": [
                {"name": name, "images": images, "people": people}
                for name, images, people in self.classes
            ],
            "people": self.people,
            "counted_by": self.counted_by,
            "images_per_person": {"least": least, "median": median, "most": most},
            "sizes": [
                {"width": width, "height": height, "channels": channels, "images": count}
                for width, height, channels, count in self.sizes
            ],
            "copies": {
                "images": self.copies,
                "across_people": self.copies_across_people,
                "near_across_people": self.near_copies,
                "across_classes": self.copies_across_classes,
            },
            "nameless": list(self.nameless),
            "unreadable": [{"file": place, "why": why} for place, why in self.unreadable],
            "notes": [*self.notes, *self.suspicions()],
        }

    def _size_lines(self) -> list[str]:
        """Return a line for each size, or for many of them where the commonest and the ends lie."""
        lines = [
            f"size: {width}x{height} {colour_of(channels)}, {count:,} image"
            f"{'s' if count > 1 else ''}"
            for width, height, channels, count in self.sizes[:_SIZES_SHOWN]
        ]
        if len(self.sizes) > _SIZES_SHOWN:
            order = sorted((w * h, w, h, count) for w, h, _, count in self.sizes)
            half = np.searchsorted(np.cumsum([count for *_, count in order]), self.readable / 2)
            smallest, median, largest = (
                f"{order[place][1]}x{order[place][2]}" for place in (0, int(half), -1)
            )
            kinds = [
                f"{sum(count for *_, own, count in self.sizes if own == channels):,} "
                f"{colour_of(channels)}"
                for channels in sorted({own for *_, own, _ in self.sizes})
            ]
            lines = [
                f"sizes: {len(self.sizes)}, from {smallest} to {largest} pixels, half of the "
                f"images up to {median}; {' and '.join(kinds)}",
                *(line for line in lines[: _SIZES_SHOWN - 1] if not line.endswith(" 1 image")),
            ]
        if self.oblong:
            lines.append(
                f"no squares: {self.oblong:,} images, which --resize pads (else crops or stretches)"
            )
        return lines

    def _sizes_as_read(self, channels: int | None) -> dict[tuple[int, int, int], int]:
        sizes: Counter[tuple[int, int, int]] = Counter()
        for width, height, own, count in self.sizes:
            sizes[width, height, channels or own] += count
        return dict(sizes)

    def _mixed_channels(self, sizes: dict[tuple[int, int, int], int]) -> DataError:
        counts = {c: sum(n for size, n in sizes.items() if size[2] == c) for c in (1, 3)}
        odd = min(counts, key=counts.__getitem__)
        example = next(
            p for p, size in zip(self.first_places, self.sizes, strict=True) if size[2] == odd
        )
        return DataError(
            expected="images that are all grey or all colour",
            got=f"{counts[1]} grey and {counts[3]} colour ones, the first of the rarer kind is "
            f"{example}",
            fix="say --channels 1 to turn all of them grey, or --channels 3 for colour"
            if self.coloured
            else "say --channels 1, which loses nothing: those in colour show grey alone",
        )

    def _mixed_sizes(self, sizes: dict[tuple[int, int, int], int]) -> DataError:
        ranked = sorted(sizes.items(), key=lambda item: -item[1])
        (common, count), (rare, rare_count) = ranked[0], ranked[-1]
        places = zip(self.first_places, self.sizes, strict=True)
        example = next(place for place, size in places if size[:2] == rare[:2])
        return DataError(
            expected="images of one size",
            got=f"{len(ranked)} sizes, {count} image{'s' if count > 1 else ''} of "
            f"{common[0]}x{common[1]} pixels and {rare_count} of {rare[0]}x{rare[1]}, the first of "
            f"these is {example}",
            fix="resize all of them, such as with --resolution 64 (`latentpath run` chooses a side "
            "itself)",
        )


def _shows_colour(image: np.ndarray) -> bool:  # [H, W, 3]
    """Whether any pixel is coloured: a mark of a few pixels, too, is lost in grey."""
    return any(np.ptp(part, axis=2).max() > _GREY for part in (image[::_THIN, ::_THIN], image))


class Surveyor:
    """Looks at the images of a listing, one after the other, and keeps no pixels.

    Args:
        listing: the set.
    """

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._sizes: Counter[tuple[int, int, int]] = Counter()
        self._first_of: dict[tuple[int, int, int], int] = {}
        self._rows_of: dict[bytes, list[int]] = {}
        self._unreadable: dict[int, str] = {}
        self._coloured = 0
        self._contrast = ContrastSurveyor(listing)
        self._near = NearCopies()

    @property
    def unreadable(self) -> int:
        """Images so far that cannot be read."""
        return len(self._unreadable)

    def add(self, row: int, picture: Picture) -> None:
        """Count an image."""
        image = picture.pixels
        height, width, channels = image.shape
        size = (width, height, channels)
        self._sizes[size] += 1
        if channels > 1:
            self._coloured += _shows_colour(image)
        self._first_of.setdefault(size, row)
        digest = hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16)
        digest.update(repr(size).encode())
        self._rows_of.setdefault(digest.digest(), []).append(row)
        self._contrast.add(row, picture)
        self._near.add(row, image)

    def add_unreadable(self, row: int, why: str) -> None:
        """Count an image that cannot be read."""
        self._unreadable[row] = why

    def good_rows(self) -> np.ndarray:
        """Return the rows that can be read, ascending."""
        rows = np.arange(len(self._listing.files))
        return rows[~np.isin(rows, list(self._unreadable))]

    def report(self, progress: Progress = silent) -> Survey:
        """Return what the images seen so far amount to.

        Args:
            progress: told as copies are sought, stage "compare images".
        """
        listing, good = self._listing, self.good_rows()
        labels, people = listing.labels[good], listing.identities[good]
        per_person = np.unique(people, return_counts=True)[1]
        copies = [rows for rows in self._rows_of.values() if len(rows) > 1]
        ranked = self._sizes.most_common()
        return Survey(
            format=listing.format,
            listed=len(listing.files),
            classes=tuple(
                (
                    name if listing.classes_known else str(c),
                    int((labels == c).sum()),
                    len(np.unique(people[labels == c])),
                )
                for c, name in enumerate(listing.class_names)
            ),
            people=len(per_person),
            images_per_person=(
                (int(per_person.min()), float(np.median(per_person)), int(per_person.max()))
                if len(per_person)
                else (0, 0.0, 0)
            ),
            sizes=tuple((*size, count) for size, count in ranked),
            copies=sum(map(len, copies)),
            copies_across_people=_across(copies, listing.identities),
            near_copies=max(
                0 if listing.synthetic else self._near.across(listing.identities, progress),
                _across(copies, listing.identities),
            ),
            copies_across_classes=_across(copies, listing.labels),
            contrast=self._contrast.report(),
            unreadable=tuple(
                (listing.place(row), why) for row, why in sorted(self._unreadable.items())
            ),
            first_places=tuple(listing.place(self._first_of[size]) for size, _ in ranked),
            nameless=tuple(listing.place(row) for row in good.tolist() if row in listing.nameless),
            notes=listing.notes,
            synthetic=listing.synthetic,
            counted_by=listing.counted_by,
            coloured=self._coloured,
            doubt=listing.doubt,
            unsettled=listing.unsettled,
            classes_known=listing.classes_known,
        )


def _across(groups: list[list[int]], values: np.ndarray) -> int:
    """Count the rows of groups that have several values, one for each value and group."""
    different = [len(set(values[rows].tolist())) for rows in groups]
    return sum(count for count in different if count > 1)
