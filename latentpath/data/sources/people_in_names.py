"""Names of files taken apart: words and numbers, which number is the person's, and copies.

Names are made of words and numbers in any script and between any signs. The number of a person is
the one behind a word for people, or else the first; never that of a slice, a view or a frame where
there is another.

Some names say that a picture is a copy of another one, changed or not. File managers write `x (1)`,
`x - Copy` and `Copy of x`, augmentation `x_rot90`, `x_flip` and `x_jpg.rf.0a1b...`, and thumbnails
are `x_small`.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Hashable, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from latentpath.data.identifier_names import CLASS_WORDS
from latentpath.data.sources.class_folders import VIEW_NAMES
from latentpath.data.sources.people_words import names_people

# Names of files that say nothing: made by machines.
_OPAQUE = re.compile(r"[0-9]+(\.[0-9]+){4,}|(?=.*[0-9])(?=.*[a-f])[0-9a-f-]{10,}", re.IGNORECASE)
_PART = re.compile(r"[^\W_]+")
_WORD_NUMBER = re.compile(r"([^\W\d_]*)(\d+)([^\W\d_]*)")
_RUN = re.compile(r"\d+|[^\W\d_]+")
# Behind a number, these are no part of it: 10L, 7b.
_LAST_WORDS = VIEW_NAMES | frozenset(("a", "b"))
# P01S00 and 17S00, but not 1nodule40.
_IN_PARTS = re.compile(r"[^\W\d_]+#|#[^\W\d_]{1,2}#")
# So many names with letters behind their digits in one form, P01S00, are made of several parts.
_LEAST_OF_A_FORM = 3


class Atom(NamedTuple):
    """A word or a number of a name."""

    text: str
    """Words in small letters."""
    number: bool
    """Whether it is a number."""
    start: int
    """Where it begins in the name."""
    end: int
    """Where it ends."""


def stem_of(file: str) -> str:
    """Return the name of a file without folders and ending, its accents in one form."""
    return unicodedata.normalize("NFC", PurePosixPath(file).stem)


def atoms_of_all(files: Sequence[str], *, anywhere: bool = False) -> list[list[Atom]]:
    """Return those of each file's name, without the words of its folders: the class once more.

    Args:
        files: n paths.
        anywhere: leave these words out before a number, too.
    """
    stems = [stem_of(file) for file in files]
    forms: dict[str, set[str]] = defaultdict(set)
    for stem in stems:
        for part in () if _OPAQUE.fullmatch(stem) else _PART.findall(stem):
            forms[_form(part)].add(part)
    common = {form for form, parts in forms.items()
              if len(parts) >= _LEAST_OF_A_FORM and _IN_PARTS.match(form)}  # fmt: skip
    return [
        _without_folders(file, _atoms(stem, common), anywhere)
        for file, stem in zip(files, stems, strict=True)
    ]


def _form(part: str) -> str:
    return re.sub(r"\d+", "#", part.casefold())


def _atoms(stem: str, common: set[str]) -> list[Atom]:
    """Return the words and numbers of a name, in their order."""
    if _OPAQUE.fullmatch(stem):
        return [Atom(stem.lower(), False, 0, len(stem))]
    atoms: list[Atom] = []
    for part in _PART.finditer(stem):
        whole = _WORD_NUMBER.fullmatch(part[0])
        view = part[0].lower() in VIEW_NAMES  # T1 is a sequence, no number of a t
        split = whole is not None and (not whole[3] or whole[3].lower() in _LAST_WORDS)
        if not view and (split or (_form(part[0]) in common and not _OPAQUE.fullmatch(part[0]))):
            for run in _RUN.finditer(part[0]):
                start = part.start() + run.start()
                text = run[0].lower()
                atoms.append(Atom(text, text.isdecimal(), start, start + len(text)))
        else:
            atoms.append(Atom(part[0].lower(), part[0].isdecimal(), part.start(), part.end()))
    return atoms


def _without_folders(file: str, atoms: list[Atom], anywhere: bool) -> list[Atom]:
    folders = unicodedata.normalize("NFC", "/".join(file.split("/")[:-1])).lower()
    known = set(_PART.findall(folders)) - VIEW_NAMES
    numbers = [place for place, atom in enumerate(atoms) if atom.number]
    first = 0 if anywhere or not numbers else numbers[0]
    return [
        atom
        for place, atom in enumerate(atoms)
        if (place <= first and not anywhere) or atom.number or atom.text not in known
    ]


def texts(atoms: Sequence[Atom]) -> tuple[str, ...]:
    """Return what a name says, without where."""
    return tuple(atom.text for atom in atoms)


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


_WORDS = (
    "rot(?:at(?:ed?|ion))?", "[hv]?flip(?:ped)?(?:_?(?:lr|ud|h|v))?", "mirror(?:ed)?",
    "aug(?:mented)?", "crop(?:ped)?", "nois[ey]", "blur(?:red)?", "bright(?:ness)?", "contrast",
    "shift(?:ed)?", "zoom(?:ed)?", "shear(?:ed)?", "transposed?", "clahe", "gamma",
    "equali[sz]ed?", "resized?", "thumb(?:nail)?", "small", "large", "preview", "original", "orig",
)  # fmt: skip
_COPY = r"(?:copy|copie|copia|kopie)"
# Behind a name; what each of them takes away is the copy's own.
_CHANGE_ENDS = tuple(rf"[ _.-]+{word}[ _-]?[0-9]*(?:deg)?" for word in _WORDS)
_ENDS = (
    rf"[ _-]+{_COPY}(?: ?[(]?[0-9]+[)]?)?",
    r" ?[(][0-9]{1,2}[)]",
    *_CHANGE_ENDS,
    r"[._](?:jpe?g|png|bmp)[.]rf[.][0-9a-f]{16,}",
)
# Before it.
_BEGINNINGS = (rf"{_COPY} (?:of|von|de) ", *(rf"{word}[ _-]?[0-9]*[ _-]+" for word in _WORDS))
_END = re.compile(f"(?:{'|'.join(_ENDS)})$", re.IGNORECASE)
_BEGINNING = re.compile(f"(?:{'|'.join(_BEGINNINGS)})", re.IGNORECASE)
_ROBOFLOW = re.compile(r"[._](?:jpe?g|png|bmp)[.]rf[.]", re.IGNORECASE)


def copied_names(files: Sequence[str]) -> int:
    """Return how many files have names of copies of another file, that one included.

    >>> copied_names(["a/x.png", "a/x_rot90.png", "a/y (1).png", "a/y (2).png"])
    2
    """
    rows_of: dict[str, set[str]] = defaultdict(set)
    plain: set[str] = set()
    for file in files:
        path = PurePosixPath(file)
        stem, folder = path.stem, path.parent.as_posix()
        original = _original(stem)
        key = f"{folder}/{original}".casefold()
        rows_of[key].add(file)
        if original == stem or _ROBOFLOW.search(stem):
            plain.add(key)
    # x (1) and x (2) without an x are numbered names, as some sets have them.
    return sum(len(own) for key, own in rows_of.items() if len(own) > 1 and key in plain)


def copies_pattern(files: Sequence[str]) -> str:
    """Return a regular expression that finds what copies share, with the changes that there are.

    >>> copies_pattern(["a/x.png", "a/x (1).png"])
    '(?i)([^/]+?)(?: ?[(][0-9]{1,2}[)])*[.][^/.]*$'
    """
    ends: dict[str, None] = {}
    beginnings: dict[str, None] = {}
    for file in files:
        stem = PurePosixPath(file).stem
        while found := _END.search(stem):
            ends.update(_fitting(_ENDS, found[0]))
            stem = stem[: found.start()]
        if found := _BEGINNING.match(stem):
            beginnings.update(_fitting(_BEGINNINGS, found[0]))
    front = f"(?:^|/)(?:{'|'.join(beginnings)})?" if beginnings else ""
    behind = f"(?:{'|'.join(ends)})*" if ends else ""
    return f"(?i){front}([^/]+?){behind}[.][^/.]*$"


def _fitting(patterns: Sequence[str], text: str) -> dict[str, None]:
    """Return the first of the patterns that a text has the form of."""
    first = next(own for own in patterns if re.fullmatch(own, text, re.IGNORECASE))
    return {first: None}


def _original(stem: str) -> str:
    """Return a name without what copying put around it."""
    while (shorter := _END.sub("", stem)) and shorter != stem:
        stem = shorter
    return _BEGINNING.sub("", stem, count=1) if _BEGINNING.match(stem) else stem
