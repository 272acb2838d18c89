"""Which number of a name is the person's: the one behind a word for people, or else the first.

Never that of a slice, a view or a frame where there is another.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import NamedTuple

from latentpath.data.identifier_names import CLASS_WORDS
from latentpath.data.sources.folder_levels import VIEW_NAMES
from latentpath.data.sources.name_atoms import Atom
from latentpath.data.sources.people_words import names_people

# Words before a number that is no person's.
OTHER_WORDS = CLASS_WORDS | frozenset((
    "fold", "batch", "split", "part", "epoch", "seed", "site", "hospital", "center", "centre",
    "device", "camera", "version", "v", "set", "chunk", "shard", "portion", "scanner",
))  # fmt: skip
_PERSON_WORDS = frozenset(("sub", "case", "id", "sid", "uid", "child", "baby", "user"))
# Of one person there are many; the latter may also number people.
_PARTS = frozenset(("slice", "slices", "sl", "view", "frame", "frames", "fr", "z", "tile", "crop"))
_SCANS = frozenset(("img", "image", "images", "scan", "scans", "series", "ser", "pic", "photo"))
SERIAL_WORDS = _PARTS | _SCANS | frozenset(("im", "no", "nr", "s"))
_DATE = re.compile(r"(19|20)[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])")
_NUMBERS = 3
"""Numbers of a name to look at: the first may be that of a hospital."""


class PersonNumber(NamedTuple):
    """What may be a person's number in a name."""

    key: Hashable
    """It, and what stands before it; equal for the images of a person."""
    place: int
    """Its place among the words and numbers of the name; -1 for words alone."""


def person_numbers(names: Sequence[Sequence[Atom]]) -> list[list[PersonNumber | None]]:
    """Return for each reading of the names the number that may be a person's, likely ones first.

    Args:
        names: words and numbers of n names.

    Returns:
        Lists of n; None for a name in which nothing may be a person's.
    """
    values: dict[Hashable, set[str]] = defaultdict(set)
    for atoms in names:
        for place, atom in enumerate(atoms):
            if atom.number:
                for front in {_told_front(atoms, place), _front(atoms, place)}:
                    values[front].add(atom.text)
    # L31 is a left one where there is an R31, else a vertebra or a grade.
    right = any(atom.text == "r" for atoms in names for atom in atoms)
    nobodys = OTHER_WORDS - {"l"} if right else OTHER_WORDS
    ranked = [_ranked(atoms, values, nobodys) for atoms in names]
    return [
        [
            own[passed] if passed < len(own) else _words(atoms)
            for own, atoms in zip(ranked, names, strict=True)
        ]
        for passed in range(_NUMBERS)
    ]


def is_person_word(word: str, place: int) -> bool:
    """Say whether the number behind a word is a person's: patient7; p7 only at the front."""
    return names_people(word) or word in _PERSON_WORDS or (word == "p" and place <= 1)


def _ranked(
    atoms: Sequence[Atom], values: dict[Hashable, set[str]], nobodys: frozenset[str]
) -> list[PersonNumber]:
    told: list[PersonNumber] = []
    others: list[PersonNumber] = []
    scans: list[PersonNumber] = []
    parts: list[PersonNumber] = []
    for place, atom in enumerate(atoms):
        word = _word_before(atoms, place)
        if not atom.number or _DATE.fullmatch(atom.text) or word in nobodys:
            continue
        if is_person_word(word, place):
            front, kind = _told_front(atoms, place), told
        else:
            front = _front(atoms, place)
            kind = parts if word in _PARTS else scans if word in _SCANS else others
        if len(values[front]) > 1:  # else it is the same in all names of the kind
            kind.append(PersonNumber((front, atom.text), place))
    return told or [*others, *scans] or parts


def _words(atoms: Sequence[Atom]) -> PersonNumber | None:
    rest = tuple(atom.text for atom in atoms if atom.text not in VIEW_NAMES)
    return PersonNumber(rest, -1) if 0 < len(rest) < len(atoms) else None


def _word_before(atoms: Sequence[Atom], place: int) -> str:
    return atoms[place - 1].text if place and not atoms[place - 1].number else ""


def _told_front(atoms: Sequence[Atom], place: int) -> tuple[str, ...]:
    return ("person's", _word_before(atoms, place))


def _front(atoms: Sequence[Atom], place: int) -> tuple[str, ...]:
    """Return what stands before a number, without views and numbers of slices."""
    own_word = bool(_word_before(atoms, place))
    kept = []
    for other, atom in enumerate(atoms[:place]):
        word = _word_before(atoms, other)
        if atom.text in VIEW_NAMES or atom.text in _PARTS:
            continue
        if atom.number and (word in _PARTS or (word in _SCANS and own_word)):
            continue
        kept.append(atom.text)
    return tuple(kept)
