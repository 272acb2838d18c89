"""Which images a data set holds, with the class and the person of each, before any is read.

What shows one person is joined: by a number, a study, a folder, or several of these together.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from latentpath.core import DataError
from latentpath.data.contrast import Picture
from latentpath.data.identifier_names import alike_names, identifier_evidence, may_be_people
from latentpath.data.sources.name_disclosure import named

ReadImage = Callable[[int], Picture]
"""Reads the image of a row; raises UndecodableError."""

# So many classes of one person each are people.
_FEW_CLASSES = 5

IMAGE_KINDS = "PNG, JPEG, TIFF or BMP images"


@dataclass(frozen=True, eq=False)
class Listing:
    """A data set on disk: n images that can be read one by one.

    Attributes:
        format: its form, one of `FORMATS`.
        files: n names, in the order of the rows; for an .npz the rows' numbers.
        labels: int64 [n], 0 .. K-1.
        class_names: K names.
        identities: int64 [n], 0 .. N-1.
        read: reads one of them.
        notes: what a user should know about files that were left out, one sentence each.
        pixels: uint8 [n, H, W, C], where they are in memory anyway.
        nameless: rows that should name a person and do not; each counts as one.
        frames: int64 [n], the frame of each row in its file, from 0, where a file has several.
        ours: whether we wrote it.
        synthetic: whether it shows no people, as one of ours: then it may repeat itself.
        counted_by: what tells people apart, one of `COUNTED_BY`.
        person_names: n names or numbers of the persons, as a table, an array, files or folders have
            them, empty where there is none; None where nothing names anybody.
        public_class_names: whether somebody said that names of classes may be published.
        doubt: why it must not be "images": the error to raise before the set is used.
        unsettled: what the options leave open of all else, so that a guess is listed: errors to
            raise before it is used.
        classes_known: whether the classes are no guess, and their names may be shown.
    """

    format: str
    files: tuple[str, ...]
    labels: np.ndarray
    class_names: tuple[str, ...]
    identities: np.ndarray
    read: ReadImage
    notes: tuple[str, ...] = ()
    pixels: np.ndarray | None = None
    nameless: frozenset[int] = frozenset()
    frames: np.ndarray | None = None
    ours: bool = False
    synthetic: bool = False
    counted_by: str = "images"
    person_names: Sequence[str] | None = None
    public_class_names: bool = False
    doubt: DataError | None = None
    unsettled: tuple[DataError, ...] = ()
    classes_known: bool = True

    def with_sound_classes(self) -> Listing:
        """The same, with what speaks against its classes among what is unsettled."""
        if not self.classes_known:  # whatever speaks against a guess says nothing
            return self
        try:
            self.check_classes()
        except DataError as error:
            return replace(self, unsettled=(*self.unsettled, error), classes_known=False)
        return self

    def place(self, row: int) -> str:
        """Return what a message calls a row: its number, or its name where names may be shown."""
        if self.frames is None:
            return named(self.files[row], f"file {row + 1} of {len(self.files)}")
        first = self.frames == 0
        number, total = np.count_nonzero(first[: row + 1]), np.count_nonzero(first)
        file = named(self.files[row], f"file {number} of {total}")
        return f"{file}, frame {self.frames[row] + 1}"

    def check_classes(self) -> None:
        """Refuse classes that are people: their names would be shown, and written, as classes.

        Raises:
            DataError: names that look like identifiers or may be people's, classes of one person
                each, or names that differ in case or spaces alone.
        """
        if self.synthetic:
            return
        names, n = self.class_names, len(self.files)
        fix = (
            "sort images into folders by class (--class-folder says at which depth they are), or "
            "name the right column of labels with --label-column; if these are classes whose "
            "names may be published, say --public-class-names"
        )
        reason = "" if self.public_class_names else identifier_evidence(names, n)
        if reason:
            raise DataError(
                expected="names of classes",
                got=f"{len(names)} classes for {n} images, whose names look like people's: "
                f"{reason}",
                fix=fix,
            )
        people = {tuple(pair) for pair in zip(self.labels.tolist(), self.identities.tolist(),
                  strict=True)}  # fmt: skip
        alone = len(people) == len(names) == len(np.unique(self.identities)) < n
        if alone and len(names) >= _FEW_CLASSES and not self.public_class_names:
            raise DataError(
                expected="classes of several people",
                got=f"{len(names)} classes of one person each, with {n} images",
                fix=fix,
            )
        if not self.public_class_names and not self._people_above_one() and may_be_people(names, n):
            raise DataError(
                expected="names of classes, as they are published",
                got=f"{len(names)} plain words for {n} images, none of them one that labels are "
                "made of: they may be names of people",
                fix="if they are classes whose names may be published, say --public-class-names; "
                "if they are people, " + fix.split(";")[0] + ", and say who is who with "
                "--identity-folder or --identity-column",
            )
        if alike := alike_names(names):
            raise DataError(
                expected="classes that differ in more than case, spaces or the form of a number",
                got=f"{alike} of {len(names)} names of classes that do not",
                fix="give each class one name",
            )

    def _people_above_one(self) -> bool:
        """Say whether people who were told, not counted by images, are several in each class."""
        if self.counted_by in ("images", "one-image-per-person"):
            return False
        pairs = np.unique(np.stack([self.labels, self.identities], axis=1), axis=0)
        return bool(np.bincount(pairs[:, 0]).min() > 1)


def number_names(names: Sequence[str]) -> tuple[tuple[str, ...], np.ndarray]:
    """Number names in their order (whole numbers by value): (K different names, int64 [n])."""
    different = set(names)
    if all(re.fullmatch("-?[0-9]{1,18}", name) for name in different):
        ordered = sorted(different, key=lambda name: (int(name), name))
    else:
        ordered = sorted(different)
    number = {name: index for index, name in enumerate(ordered)}
    return tuple(ordered), np.array([number[name] for name in names], dtype=np.int64)


def number_people(people: Sequence[Hashable] | np.ndarray) -> np.ndarray:  # int64 [n]
    """Number people in the order in which they first occur, which says nothing about their names.

    >>> number_people(["P7", "P2", "P7"])
    array([0, 1, 0])
    """
    if isinstance(people, np.ndarray):
        people = people.tolist()
    number: dict[Hashable, int] = {}
    return np.array([number.setdefault(person, len(number)) for person in people], dtype=np.int64)


# What stands in tables and arrays where a person is not known.
_NOBODY = frozenset((
    "", "-1", "nan", "none", "null", "na", "n/a", "#n/a", "unknown", "unbekannt", "?", "-", "--",
    "missing", "anonymous", "anonymized", "anonymised", "anonym", "notavailable", "tbd", "xxx",
))  # fmt: skip
# Of a long number a spreadsheet keeps the first digits alone: 1.23E+15.
_SHORTENED = re.compile(r"[0-9]([.,][0-9]+)?e[+]?[0-9]{2}")
_LEADING_ZEROS = re.compile(r"(?<![0-9.])0+(?=[0-9])")


def person_key(cell: str) -> str:
    """Return a person's name or number as tables write it, without what they write otherwise.

    >>> [person_key(cell) for cell in ("P 1", "p01", "P-1", "007", "7.0")]
    ['p1', 'p1', 'p-1', '7', '7']
    """
    name = "".join(unicodedata.normalize("NFKC", cell).casefold().split())
    number = re.fullmatch(r"0*([0-9]+)(?:[.]0*)?", name)
    return number[1] if number else _LEADING_ZEROS.sub("", name)


def is_nobody(key: str) -> bool:
    """Say whether a person's key stands for nobody in particular."""
    return key in _NOBODY


def digests_of_people(names: Sequence[str]) -> np.ndarray:  # uint64 [n]
    """Return a digest of what names the person of each of n images, 0 where nothing does.

    By them people of two sets are compared without their names. They are no secret: who has the
    names can compute them.

    >>> a, b, nobody = digests_of_people(["P 1", "p01", "unknown"])
    >>> bool(a == b), int(nobody)
    (True, 0)
    """
    keys = map(person_key, names)
    of = {
        key: 0
        if is_nobody(key)
        else int.from_bytes(
            hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "big"
        )
        for key in set(keys)
    }
    return np.array([of[person_key(name)] for name in names], dtype=np.uint64)


def people_notes(keys: Sequence[str]) -> tuple[str, ...]:
    """Return what should be known of cells that name people: each counts as one person at most.

    Args:
        keys: of n images, as `person_key` writes them.
    """
    notes = []
    if unknown := sum(map(is_nobody, keys)):
        notes.append(
            f"{unknown} of {len(keys)} images have no person's name or number (empty, -1, unknown "
            "and the like) and count as one person for each way to say so"
        )
    if shortened := sum(_SHORTENED.fullmatch(key) is not None for key in keys):
        notes.append(
            f"{shortened} of {len(keys)} images have a person's number that a spreadsheet cut "
            "(as 1.23E+15): people whose numbers begin alike count as one; import them as text"
        )
    return tuple(notes)


def join_people(keys: Sequence[Collection[Hashable]]) -> np.ndarray:  # int64 [n]
    """Number people in the order in which they first occur, images that share any key being one.

    Images that share no key themselves are one person, too, if a chain of others joins them: rather
    one person too few than one counted twice. An image without keys is a person of its own.

    >>> join_people([["P1"], ["P2", "study 7"], [], ["study 7", "P1"], ["P3"]])
    array([0, 0, 1, 0, 2])
    """
    parent = list(range(len(keys)))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    first: dict[Hashable, int] = {}
    for row, own in enumerate(keys):
        for key in own:
            one, other = root(first.setdefault(key, row)), root(row)
            # The smaller number stays the root, which keeps the chains short enough.
            parent[max(one, other)] = min(one, other)
    return number_people([root(row) for row in range(len(keys))])


_SHOWN = 9


def rows_of_split(
    splits: Sequence[str] | None, wanted: str, what: str
) -> np.ndarray | None:  # bool [n]
    """Return which images are of the split; None for all of them.

    Args:
        splits: n names of splits; None where nothing tells them.
        wanted: one of them, or "all". "train" is all of them where nothing tells them.
        what: what would tell them, "an array" or "a column of the table".

    Raises:
        DataError: no image is of this split.
    """
    if wanted == "all" or (splits is None and wanted == "train"):
        return None
    values = Counter(splits or ())
    if splits is None or wanted not in values:
        there = ", ".join(f"{value} ({n:,} images)" for value, n in values.most_common(_SHOWN))
        where = "where the splits are"
        if wanted == "train":
            where = "which is meant where none is named; the splits are"
        raise DataError(
            expected="one of the set's own splits as --split",
            got=f"{wanted!r}, {where} {there}"
            if there
            else f"{wanted!r}, and nothing that tells splits",
            fix="choose one of them with --split, or all of them with --split all"
            if there
            else f"name {what} with --split-column, or leave --split out",
        )
    return np.array([value == wanted for value in splits])
