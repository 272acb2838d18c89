"""Joining what shows one person: by a number, a study, a folder, or several of these together."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Collection, Hashable, Sequence

import numpy as np

from latentpath.data.sources.listing import number_people

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
