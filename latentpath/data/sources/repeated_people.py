"""Evidence that a person has several images, in how files and folders are called.

Where nothing says who is who, each image counts as one person, and k-anonymity is worth what this
count is worth. A number that recurs before a series or a side (`person12_bacteria_46`,
`10_left`/`10_right`, `sub-01_ses-02`, `IM-0115-0001`), folders of people below those of classes,
and one name with two endings tell otherwise.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from pathlib import PurePosixPath

import numpy as np

from latentpath.core import DataError
from latentpath.data.identifier_names import CLASS_WORDS, PEOPLE_WORDS, identifier_evidence
from latentpath.data.sources.folder_levels import SPLIT_NAMES, VIEW_NAMES, is_place

ONE_EACH = "--one-image-per-person"
# Names of files that say nothing: made by machines.
_OPAQUE = re.compile(r"[0-9]+(\.[0-9]+){4,}|(?=.*[0-9])(?=.*[a-f])[0-9a-f-]{10,}", re.IGNORECASE)
_SEPARATOR = re.compile(r"[\s_.()\[\]-]+")
_DATE = re.compile(r"(19|20)[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])")
_PART = re.compile(r"([A-Za-z]*)([0-9]+)([A-Za-z]*)")
# Words before a number that is no person's.
_OTHER_WORDS = CLASS_WORDS | frozenset((
    "fold", "batch", "split", "part", "epoch", "seed", "site", "hospital", "center", "centre",
    "device", "camera", "version", "v",
))  # fmt: skip
_LAST_WORDS = VIEW_NAMES | frozenset((
    "a", "b",
))  # fmt: skip
# At least so many people with several images, and this share of all.
_LEAST, _LEAST_SHARE = 2, 0.02
# Names that are words with a number behind: so many words that each has several images.
_LEAST_WORDS = 10
# Folders below the classes of no telling names are people's if there are many with few images.
_MANY_FOLDERS, _FEW_IMAGES = 5, 20
# Numbered folders of more images than this are portions of a set.
_SOME_IMAGES = 200

_Atom = tuple[str, bool]
"""A word or a number of a name, and whether it is a number."""


def evidence_in_names(files: Sequence[str], labels: np.ndarray) -> DataError | None:
    """Return the refusal to count each file as one person, None where its name allows it.

    Args:
        files: n paths.
        labels: [n] class of each.
    """
    return _two_endings(files) or _recurring_numbers(files, labels) or _recurring_words(files)


def evidence_in_folders(files: Sequence[str], class_folder: int) -> DataError | None:
    """Return the refusal to count each file as one person where folders look like people's.

    Args:
        files: n paths.
        class_folder: depth of the classes, whose folders are none; 0 where a table tells them.
    """
    folders = [file.split("/")[:-1] for file in files]
    for depth in range(1, max(map(len, folders), default=0) + 1):
        if depth == class_folder:
            continue
        names = Counter(own[depth - 1] for own in folders if len(own) >= depth)
        several = sum(count > 1 for count in names.values())
        if not several or all(map(_says_nothing, names)):
            continue
        own = sum(names.values())
        reason = identifier_evidence(list(names), None)
        if not reason and all(map(str.isdigit, names)) and own <= _SOME_IMAGES * len(names):
            reason = f"{len(names)} of {len(names)} are numbers"  # of what, if not of people
        many = len(names) >= _MANY_FOLDERS and own <= _FEW_IMAGES * len(names)
        if not reason and not (many and class_folder and depth > class_folder):
            continue
        looks = f", whose names look like people's ({reason})" if reason else ""
        return DataError(
            expected="every image to show another person, as nothing says who is who",
            got=f"{len(names)} folders at depth {depth}{looks}, {several} of them with several "
            "images",
            fix=f"if each of these folders is one person, say --identity-folder {depth}; if every "
            f"image shows another person, say {ONE_EACH}",
        )
    return None


def _says_nothing(folder: str) -> bool:
    return folder.lower() in SPLIT_NAMES | VIEW_NAMES or is_place(folder)


def _two_endings(files: Sequence[str]) -> DataError | None:
    names = Counter(PurePosixPath(file).with_suffix("").as_posix().casefold() for file in files)
    twice = sum(count for count in names.values() if count > 1)
    if not twice:
        return None
    return DataError(
        expected="every image to show another person, as nothing says who is who",
        got=f"{twice} of {len(files)} files that share their names with others but for the ending",
        fix=f"remove the copies, or say {ONE_EACH} if they show different people",
    )


def _recurring_numbers(files: Sequence[str], labels: np.ndarray) -> DataError | None:
    stems = [PurePosixPath(file).stem for file in files]
    atoms = [_atoms(stem) for stem in stems]
    keys = _people_keys(atoms)
    rows_of: dict[Hashable, list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        if key is not None:
            rows_of[key].append(row)
    # One name in two folders is counted anew in each: a/1.png, b/1.png.
    several = {key: rows for key, rows in rows_of.items() if len({stems[r] for r in rows}) > 1}
    if len(several) < max(_LEAST, _LEAST_SHARE * len(rows_of)):
        return None
    if _are_classes(rows_of, labels):
        return None
    count = sum(map(len, several.values()))
    pattern = _pattern([(stems[rows[0]], keys[rows[0]]) for rows in several.values()])
    return DataError(
        expected="every image to show another person, as nothing says who is who",
        got=f"{count} of {len(files)} images whose names share a recurring part, {len(several)} "
        "different ones, as the images of one person do",
        fix=f"say which part is the person, such as --identity-pattern '{pattern}', or name a "
        f"table of people with --identities; if every image shows another person, say {ONE_EACH}",
    )


def _recurring_words(files: Sequence[str]) -> DataError | None:
    """Words with a running number behind: Aaron_Eckhart_0001."""
    words: Counter[tuple[str, ...]] = Counter()
    for file in files:
        *before, last = _atoms(PurePosixPath(file).stem) or [("", False)]
        if last[1] and before and not any(number for _, number in before):
            words[tuple(word for word, _ in before)] += 1
    several = {word: count for word, count in words.items() if count > 1}
    if len(several) < _LEAST_WORDS or 2 * sum(several.values()) < len(files):
        return None
    return DataError(
        expected="every image to show another person, as nothing says who is who",
        got=f"{sum(several.values())} of {len(files)} images whose names begin with the same "
        f"words, {len(several)} different ones, as the images of one person do",
        fix="say which part is the person, such as --identity-pattern '([^/]+)_[0-9]+[.]', or name "
        f"a table of people with --identities; if every image shows another person, say {ONE_EACH}",
    )


def _atoms(stem: str) -> list[_Atom]:
    """Return the words and numbers of a name, in their order."""
    if _OPAQUE.fullmatch(stem):
        return [(stem, False)]
    atoms: list[_Atom] = []
    for part in _SEPARATOR.split(stem):
        whole = _PART.fullmatch(part)
        if whole and (not whole[3] or whole[3].lower() in _LAST_WORDS):
            atoms += [(whole[1].lower(), False), (whole[2], True), (whole[3].lower(), False)]
        else:
            atoms.append((part.lower(), False))
    return [atom for atom in atoms if atom[0]]


def _people_keys(names: Sequence[Sequence[_Atom]]) -> list[Hashable | None]:
    """Return the front of each name up to its first number that may be a person's."""
    values: dict[Hashable, set[str]] = defaultdict(set)
    for atoms in names:
        for place, (text, number) in enumerate(atoms):
            if number:
                values[_front(atoms, place)].add(text)
    return [_key(atoms, values) for atoms in names]


def _key(atoms: Sequence[_Atom], values: dict[Hashable, set[str]]) -> Hashable | None:
    for place, (text, number) in enumerate(atoms):
        before = atoms[place - 1] if place else ("", False)
        if not number or _DATE.fullmatch(text) or (not before[1] and before[0] in _OTHER_WORDS):
            continue
        front = _front(atoms, place)
        if len(values[front]) > 1:  # else it is the same in all names of the kind
            return (front, text)
    rest = tuple(text for text, _ in atoms if text not in VIEW_NAMES)
    return rest if 0 < len(rest) < len(atoms) else None


def _front(atoms: Sequence[_Atom], place: int) -> tuple[str, ...]:
    return tuple(text for text, _ in atoms[:place])


def _are_classes(rows_of: dict[Hashable, list[int]], labels: np.ndarray) -> bool:
    """Say whether a recurring part is the name of the class once more."""
    if len(rows_of) > len(np.unique(labels)):
        return False
    return all(len(np.unique(labels[rows])) == 1 for rows in rows_of.values())


def _pattern(examples: Sequence[tuple[str, Hashable | None]]) -> str:
    """Return a regular expression that finds the people of names, as far as it is clear.

    Only words of ours are in it: any other may be a person's name.

    Args:
        examples: names of files and their keys.
    """
    found: list[str] = []
    for stem, key in examples:
        number = key[1] if isinstance(key, tuple) and len(key) == 2 else None
        if not isinstance(number, str) or not number.isdigit():
            continue
        part = re.search(rf"([A-Za-z]*)([-_ ]?)(?<![0-9]){number}(?![0-9])([-_ ]?)", stem)
        if part is None or (part[1] and part[1].lower() not in PEOPLE_WORDS):
            continue
        end = part[3] + ("" if part[1] else "[^/]*$")
        pattern = f"{part[1]}{part[2] if part[1] else ''}([0-9]+){end}"
        if pattern not in found:
            found.append(pattern)
    return "|".join(found[:3]) or "person([0-9]+)_"
