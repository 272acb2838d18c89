"""The words and numbers that names of files are made of, in any script and between any signs."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from latentpath.data.sources.folder_levels import VIEW_NAMES

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
