"""Evidence that a person has several images, in how files and folders are called.

Where nothing says who is who, each image counts as one person, and k-anonymity is worth what this
count is worth. A number that recurs before a series or a side (`person12_bacteria_46`,
`10_left`/`10_right`, `sub-01_ses-02`, `IM-0115-0001`), folders of people below those of classes,
and one name with two endings tell otherwise.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Hashable, Sequence
from pathlib import PurePosixPath

import numpy as np

from latentpath.core import DataError
from latentpath.data.identifier_names import CLASS_WORDS, identifier_evidence
from latentpath.data.sources.copied_names import PATTERN, copied_names
from latentpath.data.sources.folder_levels import VIEW_NAMES, is_no_class, is_place
from latentpath.data.sources.known_names import known_people
from latentpath.data.sources.people_patterns import offered_pattern

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
# Numbers of a name to look at: the first may be that of a hospital.
_NUMBERS = 3
# At least so many names that recur in other folders, and this share of all names: of those below
# folders of views, of others. Numbers this dense count the files of a folder.
_LEAST_SAME, _SAME_VIEWS, _SAME, _DENSE = 3, 0.5, 0.9, 0.75
_WORDS_PATTERN = "([^/]+?)[-_ (]*[0-9]+[)]?[.][^/.]*$"
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
    told = _two_endings(files) or _named_copies(files)
    if told:
        return told
    pattern, people = known_people(files)
    if pattern:
        several = sum(count > 1 for count in people.values())
        return _recurring(len(files), len(files), several, pattern) if several else None
    return _recurring_numbers(files, labels) or _recurring_words(files) or _same_names(files)


def evidence_in_folders(files: Sequence[str], class_folder: int) -> DataError | None:
    """Return the refusal to count each file as one person where folders look like people's.

    Args:
        files: n paths.
        class_folder: depth of the classes, whose folders are none; 0 where a table tells them.
    """
    folders = [file.split("/")[:-1] for file in files]
    found: list[tuple[int, int, int, str]] = []
    for depth in range(1, max(map(len, folders), default=0) + 1):
        names = Counter(own[depth - 1] for own in folders if len(own) >= depth)
        if depth == class_folder or all(map(_says_nothing, names)):
            continue
        several = sum(count > 1 for count in names.values())
        reason = identifier_evidence(list(names), None)
        if not several:
            if reason and (told := _recurring_numbers(list(names), np.zeros(len(names)))):
                return told
            continue
        own = sum(names.values())
        if not reason and all(map(str.isdigit, names)) and own <= _SOME_IMAGES * len(names):
            reason = f"{len(names)} of {len(names)} are numbers"  # of what, if not of people
        many = len(names) >= _MANY_FOLDERS and own <= _FEW_IMAGES * len(names)
        if reason or (many and class_folder and depth > class_folder):
            found.append((depth, len(names), several, reason))
    return _folders_of_people(found) if found else None


def _folders_of_people(found: Sequence[tuple[int, int, int, str]]) -> DataError:
    """Return the refusal, for (depth, folders, those with several images, why) of each level."""
    texts = [
        f"{count} folders at depth {depth}"
        + (f", whose names look like people's ({reason})" if reason else "")
        + f", {several} of them with several images"
        for depth, count, several, reason in found
    ]
    one = f"if each of these folders is one person, say --identity-folder {found[0][0]}"
    return DataError(
        expected="every image to show another person, as nothing says who is who",
        got=", and ".join(texts),
        fix=(one if len(found) == 1 else "say --identity-folder with the depth of which each "
             "folder is one person") + f"; if every image shows another person, say {ONE_EACH}",
    )  # fmt: skip


def _says_nothing(folder: str) -> bool:
    return is_no_class(folder) or is_place(folder)


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


def _named_copies(files: Sequence[str]) -> DataError | None:
    copies = copied_names(files)
    if not copies:
        return None
    return DataError(
        expected="every image to show another person, as nothing says who is who",
        got=f"{copies} of {len(files)} files that are copies of one another by their names ((1), "
        "copy, rot90, flip, aug, small and the like)",
        fix=f"remove the copies, say --identity-pattern '{PATTERN}' to take them for one person's, "
        f"or {ONE_EACH} if they show different people",
    )


def _recurring(count: int, total: int, different: int, pattern: str) -> DataError:
    return DataError(
        expected="every image to show another person, as nothing says who is who",
        got=f"{count} of {total} images whose names share a recurring part, {different} "
        "different ones, as the images of one person do",
        fix=f"say which part is the person, such as --identity-pattern '{pattern}', or name a "
        f"table of people with --identities; if every image shows another person, say {ONE_EACH}",
    )


def _recurring_numbers(files: Sequence[str], labels: np.ndarray) -> DataError | None:
    stems = [PurePosixPath(file).stem for file in files]
    atoms = [_atoms_of(file) for file in files]
    for passed in range(_NUMBERS):
        keys = _people_keys(atoms, passed)
        rows_of: dict[Hashable, list[int]] = defaultdict(list)
        for row, key in enumerate(keys):
            if key is not None:
                rows_of[key].append(row)
        # One name in two folders is counted anew in each: a/1.png, b/1.png.
        several = {key: rows for key, rows in rows_of.items()
                   if len({tuple(atoms[row]) for row in rows}) > 1}  # fmt: skip
        if len(several) < max(_LEAST, _LEAST_SHARE * len(rows_of)):
            return None
        if not _are_classes(rows_of, labels):
            count = sum(map(len, several.values()))
            return _recurring(count, len(files), len(several), offered_pattern(files, stems, keys))
    return None


def _same_names(files: Sequence[str]) -> DataError | None:
    """Names that recur in several folders, though they are not counted anew in each.

    The same eyes in the folders of left and right ones, the same heads in those of sequences.
    """
    folders: dict[str, set[tuple[_Atom, ...]]] = defaultdict(set)
    for file in files:
        folders[PurePosixPath(file).parent.as_posix()].add(tuple(_atoms_of(file, anywhere=True)))
    own = [names for names in folders.values() if len(names) >= _LEAST_SAME]
    counts = Counter(name for names in own for name in names)
    shared = sum(count > 1 for count in counts.values())
    views = all(is_no_class(PurePosixPath(folder).name) for folder in folders)
    if shared < max(_LEAST_SAME, (_SAME_VIEWS if views else _SAME) * len(counts)):
        return None
    if not views and any(map(_are_counted, own)):
        return None
    images = sum(count for count in counts.values() if count > 1)
    return DataError(
        expected="every image to show another person, as nothing says who is who",
        got=f"{images} of {len(files)} images with names that recur in other folders, {shared} "
        "different ones, as views and sequences of one person do",
        fix="if the name of a file is the person, say --identity-pattern '([^/]+)[.][^/]*$'; if "
        f"every image shows another person, say {ONE_EACH}",
    )


def _are_counted(names: Collection[tuple[_Atom, ...]]) -> bool:
    """Say whether the last numbers of names count them, with gaps at most."""
    numbers = {int(atoms[-1][0]) for atoms in names if atoms and atoms[-1][1]}
    return bool(numbers) and len(numbers) >= _DENSE * (max(numbers) - min(numbers) + 1)


def _recurring_words(files: Sequence[str]) -> DataError | None:
    """Words with a running number behind: Aaron_Eckhart_0001."""
    words: Counter[tuple[str, ...]] = Counter()
    for file in files:
        *before, last = _atoms_of(file) or [("", False)]
        if last[1] and before and not any(number for _, number in before):
            words[tuple(word for word, _ in before)] += 1
    several = {word: count for word, count in words.items() if count > 1}
    if len(several) < _LEAST_WORDS or 2 * sum(several.values()) < len(files):
        return None
    return DataError(
        expected="every image to show another person, as nothing says who is who",
        got=f"{sum(several.values())} of {len(files)} images whose names begin with the same "
        f"words, {len(several)} different ones, as the images of one person do",
        fix=f"say which part is the person, such as --identity-pattern '{_WORDS_PATTERN}', or "
        "name a table of people with --identities; if every image shows another person, say "
        f"{ONE_EACH}",
    )


def _atoms_of(file: str, *, anywhere: bool = False) -> list[_Atom]:
    """Return those of a file's name, without the words of its folders: the class once more.

    Args:
        file: its path.
        anywhere: leave these words out before a number, too.
    """
    path = PurePosixPath(file)
    atoms = _atoms(path.stem)
    known = {word.lower() for folder in path.parts[:-1] for word in _SEPARATOR.split(folder)}
    known -= VIEW_NAMES
    numbers = [place for place, (_, number) in enumerate(atoms) if number]
    first = 0 if anywhere or not numbers else numbers[0]
    return [atom for place, atom in enumerate(atoms)
            if (place <= first and not anywhere) or atom[1] or atom[0] not in known]  # fmt: skip


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


def _people_keys(names: Sequence[Sequence[_Atom]], passed: int) -> list[Hashable | None]:
    """Return the front of each name up to a number that may be a person's.

    Args:
        names: words and numbers of each.
        passed: such numbers to pass over, from the first.
    """
    values: dict[Hashable, set[str]] = defaultdict(set)
    for atoms in names:
        for place, (text, number) in enumerate(atoms):
            if number:
                values[_front(atoms, place)].add(text)
    return [_key(atoms, values, passed) for atoms in names]


def _key(atoms: Sequence[_Atom], values: dict[Hashable, set[str]], passed: int) -> Hashable | None:
    for place, (text, number) in enumerate(atoms):
        before = atoms[place - 1] if place else ("", False)
        if not number or _DATE.fullmatch(text) or (not before[1] and before[0] in _OTHER_WORDS):
            continue
        front = _front(atoms, place)
        if len(values[front]) > 1:  # else it is the same in all names of the kind
            if not passed:
                return (front, text)
            passed -= 1
    rest = tuple(text for text, _ in atoms if text not in VIEW_NAMES)
    return rest if 0 < len(rest) < len(atoms) else None


def _front(atoms: Sequence[_Atom], place: int) -> tuple[str, ...]:
    return tuple(text for text, _ in atoms[:place])


def _are_classes(rows_of: dict[Hashable, list[int]], labels: np.ndarray) -> bool:
    """Say whether a recurring part is the name of the class once more."""
    if len(rows_of) > len(np.unique(labels)):
        return False
    return all(len(np.unique(labels[rows])) == 1 for rows in rows_of.values())
