"""Evidence that folders are people's, each with several images, below classes or with a table."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence

import numpy as np

from latentpath.core import DataError
from latentpath.data.identifier_names import identifier_evidence, may_be_people
from latentpath.data.sources.folder_levels import is_no_class, is_place
from latentpath.data.sources.people_numbers import OTHER_WORDS, SERIAL_WORDS
from latentpath.data.sources.repeated_people import ONE_EACH, recurring_numbers

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
                and not _are_classes(names, rows, folders, depth, labels)
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


def _are_classes(
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
