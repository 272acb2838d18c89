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
from latentpath.data.identifier_names import PEOPLE_WORDS, identifier_evidence, may_be_people
from latentpath.data.sources.class_folders import VIEW_NAMES, is_no_class, is_place
from latentpath.data.sources.people_in_names import (
    OTHER_WORDS,
    SERIAL_WORDS,
    Atom,
    atoms_of_all,
    copied_names,
    copies_pattern,
    person_numbers,
    texts,
)
from latentpath.data.sources.people_patterns import (
    WORDS_BEFORE,
    WORDS_BEHIND,
    first_that_works,
    offered_pattern,
)
from latentpath.data.sources.people_words import known_people

ONE_EACH = "--one-image-per-person"
# At least so many people with several images, and this share of all.
_LEAST, _LEAST_SHARE = 2, 0.02
# Names that are words with a number behind: so many words that each has several images, fewer if
# they may be names of people, or are made by machines.
_LEAST_WORDS, _LEAST_NAMES = 10, 3
# At least so many names that recur in other folders, and this share of all names: of those below
# folders of views, of others. Numbers this dense count the files of a folder.
_LEAST_SAME, _SAME_VIEWS, _SAME, _DENSE = 3, 0.5, 0.9, 0.75
# Letters and digits without order.
_MADE = re.compile(r"(?=.*\d)(?=.*[^\W\d_]).{5,}")


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
        return _recurring(len(files), len(files), several, [pattern]) if several else None
    return recurring_numbers(files, labels) or _recurring_words(files, labels) or _same_names(files)


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
        fix=f"remove the copies, say --identity-pattern '{copies_pattern(files)}' to take them for "
        f"one person's, or {ONE_EACH} if they show different people",
    )


def _recurring(count: int, total: int, different: int, patterns: Sequence[str]) -> DataError:
    """Return the refusal where parts of names recur.

    Args:
        count: images whose names share a part.
        total: all images.
        different: parts.
        patterns: what finds the person, several where the names allow several readings.
    """
    table = "name a table of people with --identities"
    if len(patterns) > 1:
        fix = (
            f"say which part is the person: if the word is, --identity-pattern '{patterns[0]}', if "
            f"the number is, --identity-pattern '{patterns[1]}'; or {table}"
        )
    elif any(patterns):
        fix = (
            f"say which part is the person, such as --identity-pattern '{patterns[0]}', or {table}"
        )
    else:
        fix = f"{table}, or say --identity-pattern with a regular expression whose group finds them"
    return DataError(
        expected="every image to show another person, as nothing says who is who",
        got=f"{count} of {total} images whose names share a recurring part, {different} "
        "different ones, as the images of one person do",
        fix=f"{fix}; if every image shows another person, say {ONE_EACH}",
    )


def recurring_numbers(files: Sequence[str], labels: np.ndarray) -> DataError | None:
    """Return the refusal where numbers that may be people's, or words beside views, recur."""
    names = atoms_of_all(files)
    for found in person_numbers(names):
        rows_of: dict[Hashable, list[int]] = defaultdict(list)
        for row, one in enumerate(found):
            if one is not None:
                rows_of[one.key].append(row)
        # One name in two folders is counted anew in each: a/1.png, b/1.png.
        several = {key: rows for key, rows in rows_of.items()
                   if len({texts(names[row]) for row in rows}) > 1}  # fmt: skip
        if len(several) < max(_LEAST, _LEAST_SHARE * len(rows_of)):
            continue
        if not _are_classes(rows_of, labels):
            count = sum(map(len, several.values()))
            pattern = offered_pattern(files, names, found)
            words = _words_behind(files, names)
            return _recurring(
                count, len(files), len(several), [words, pattern] if words else [pattern]
            )
    return None


def _words_behind(files: Sequence[str], names: Sequence[Sequence[Atom]]) -> str:
    """Return a pattern of words behind a number that may be people: 001_meier, 002_meier."""
    if not all(atoms and atoms[0].number and len(atoms) > 1 for atoms in names):
        return ""
    words = [texts(atoms[1:]) for atoms in names]
    if any(atom.number for atoms in names for atom in atoms[1:]):
        return ""
    counts = Counter(words)
    plain = [" ".join(own) for own in counts]
    if len(counts) < 2 or min(counts.values()) < 2 or VIEW_NAMES.intersection(*words, plain):
        return ""
    return first_that_works([WORDS_BEHIND], files, words) if may_be_people(plain, 2) else ""


def _same_names(files: Sequence[str]) -> DataError | None:
    """Names that recur in several folders, though they are not counted anew in each.

    The same eyes in the folders of left and right ones, the same heads in those of sequences.
    """
    folders: dict[str, set[tuple[tuple[str, bool], ...]]] = defaultdict(set)
    for file, atoms in zip(files, atoms_of_all(files, anywhere=True), strict=True):
        name = tuple((atom.text, atom.number) for atom in atoms)
        folders[PurePosixPath(file).parent.as_posix()].add(name)
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


def _are_counted(names: Collection[tuple[tuple[str, bool], ...]]) -> bool:
    """Say whether the last numbers of names count them, with gaps at most."""
    numbers = {int(atoms[-1][0]) for atoms in names if atoms and atoms[-1][1]}
    return bool(numbers) and len(numbers) >= _DENSE * (max(numbers) - min(numbers) + 1)


def _recurring_words(files: Sequence[str], labels: np.ndarray) -> DataError | None:
    """Words with a running number behind: Aaron_Eckhart_0001."""
    rows_of: dict[Hashable, list[int]] = defaultdict(list)
    for row, atoms in enumerate(atoms_of_all(files)):
        before = texts(atoms[:-1])
        if before and atoms[-1].number and not any(atom.number for atom in atoms[:-1]):
            rows_of[" ".join(before)].append(row)
    several = {str(word): rows for word, rows in rows_of.items() if len(rows) > 1}
    count = sum(map(len, several.values()))
    if 2 * count < len(files) or not (
        len(several) >= _LEAST_WORDS or _are_names(several, rows_of, labels)
    ):
        return None
    return DataError(
        expected="every image to show another person, as nothing says who is who",
        got=f"{count} of {len(files)} images whose names begin with the same words, {len(several)} "
        "different ones, as the images of one person do",
        fix=f"say which part is the person, such as --identity-pattern '{WORDS_BEFORE}', or "
        "name a table of people with --identities; if every image shows another person, say "
        f"{ONE_EACH}",
    )


def _are_names(
    several: dict[str, list[int]], rows_of: dict[Hashable, list[int]], labels: np.ndarray
) -> bool:
    """Say whether a few words with numbers behind are made by machines, or people's names."""
    if _are_classes(rows_of, labels):
        return False
    made = [word for word in several if _MADE.fullmatch(word)]
    if len(made) >= max(_LEAST, _LEAST_SHARE * len(rows_of)):
        return True
    words = [word for word in several if not _is_general(word)]
    images = sum(len(several[word]) for word in words)
    return len(words) >= _LEAST_NAMES and may_be_people(words, images)


def _is_general(words: str) -> bool:
    known = VIEW_NAMES | OTHER_WORDS | SERIAL_WORDS | PEOPLE_WORDS
    return all(word in known or is_no_class(word) or is_place(word) for word in words.split())


def _are_classes(rows_of: dict[Hashable, list[int]], labels: np.ndarray) -> bool:
    """Say whether a recurring part is the name of the class once more."""
    if len(rows_of) > len(np.unique(labels)):
        return False
    return all(len(np.unique(labels[rows])) == 1 for rows in rows_of.values())


# Folders below the classes of no telling names are people's if there are many with few images.
_MANY_FOLDERS, _FEW_IMAGES = 5, 20
# Numbered folders of more images than this are portions of a set.
_SOME_IMAGES = 200
# A name to compare others with, which is nothing but a person's.
_A_NAME = "Meierhuber"


def evidence_in_folders(
    files: Sequence[str],
    class_folder: int,
    labels: np.ndarray | None = None,
    class_names: Collection[str] = (),
) -> DataError | None:
    """Return the refusal to count each file as one person where folders look like people's.

    Args:
        files: n paths.
        class_folder: depth of the classes, whose folders are none; 0 where a table tells them.
        labels: [n] class of each.
        class_names: of the classes, which folders may be called by, too.
    """
    folders = [file.split("/")[:-1] for file in files]
    classes = {name.casefold() for name in class_names}
    found: list[tuple[int, int, int, str]] = []
    for depth in range(1, max(map(len, folders), default=0) + 1):
        rows = [row for row, own in enumerate(folders) if len(own) >= depth]
        names = Counter(folders[row][depth - 1] for row in rows)
        if depth == class_folder or all(map(_says_nothing, names)):
            continue
        several = sum(count > 1 for count in names.values())
        reason = identifier_evidence(list(names), None)
        if not several:
            if reason and (told := recurring_numbers(list(names), np.zeros(len(names)))):
                return told
            continue
        own = sum(names.values())
        if not reason and all(map(str.isdigit, names)) and own <= _SOME_IMAGES * len(names):
            reason = f"{len(names)} of {len(names)} are numbers"  # of what, if not of people
        many = len(names) >= _MANY_FOLDERS and own <= _FEW_IMAGES * len(names)
        many = many and bool(class_folder) and depth > class_folder
        if not (reason or many) and depth > class_folder:
            other = [name for name in names if not _says_nothing(name)]
            many = (
                not classes.issuperset(name.casefold() for name in other)
                and _several_in_one_place([folders[row][:depth] for row in rows], set(other))
                and not _are_classes_of_table(names, rows, folders, depth, labels)
                and _may_be_names(other, sum(names[name] for name in other))
            )
        if reason or many:
            found.append((depth, len(names), several, reason))
    return _folders_of_people(found) if found else None


def _several_in_one_place(folders: Sequence[Sequence[str]], names: set[str]) -> bool:
    """Say whether one folder holds several of these names: one in each class is a wrapping."""
    inside: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for *above, name in folders:
        inside[tuple(above)].update({name} & names)
    return any(len(own) > 1 for own in inside.values())


def _are_classes_of_table(
    names: Collection[str],
    rows: Sequence[int],
    folders: Sequence[Sequence[str]],
    depth: int,
    labels: np.ndarray | None,
) -> bool:
    """Say whether a table's classes are the folders once more, one for each."""
    if labels is None:
        return False
    pairs = {(folders[row][depth - 1], int(labels[row])) for row in rows}
    return len(pairs) == len(names) == len({label for _, label in pairs}) == len(set(labels))


def _may_be_names(names: Sequence[str], images: int) -> bool:
    """Say whether names without a word of labels, or one such word with numbers, are people's."""
    words = {"".join(filter(str.isalpha, name)).casefold() for name in names} - {""}
    if not words or words & (OTHER_WORDS | SERIAL_WORDS):
        return False
    if len(words) == 1:
        return may_be_people([*words, _A_NAME], images) if len(names) > 1 else False
    return may_be_people(sorted(words), images)


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
