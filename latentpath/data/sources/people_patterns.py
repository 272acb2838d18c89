"""Regular expressions that find the people in names of files, to be offered to the user.

Only those are offered that find somebody in every path and take no images of one person for those
of several. No word of a name is in them but those that all sets have: any other may be a person's
name.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Sequence

from latentpath.data.identifier_names import PEOPLE_WORDS
from latentpath.data.sources.class_folders import VIEW_NAMES
from latentpath.data.sources.people_in_names import Atom, PersonNumber, is_person_word, stem_of

_RUN = re.compile(r"[0-9]+|[^\W\d_]+|[\W_]", re.DOTALL)
_FORMS = 3
# A pattern may take some people for one, as long as it tells this share of them.
_LEAST_TOLD = 0.8
_SIGN = r"(?:[^\w/]|_)"
_ENDING = "[.][^/.]*$"
WORDS_BEFORE = f"([^/]+?){_SIGN}*[0-9]+[)]?{_ENDING}"
"""Finds the words before a running number: Aaron_Eckhart_0001."""

WORDS_BEHIND = f"(?:^|/)[0-9]+{_SIGN}*([^/]+){_ENDING}"
"""Finds the words behind a running number: 001_meier."""


def offered_pattern(
    files: Sequence[str],
    names: Sequence[Sequence[Atom]],
    found: Sequence[PersonNumber | None],
) -> str:
    """Return a pattern that tells the people of all files, "" if none is clear.

    Args:
        files: n paths.
        names: words and numbers of each name.
        found: what is a person's in each of them.
    """
    forms: dict[str, dict[str, None]] = {"words": {}, "number": {}, "front": {}}
    for file, atoms, one in zip(files, names, found, strict=True):
        if one is None or one.place < 0:
            continue
        stem, number = stem_of(file), atoms[one.place]
        before, after = _abstract(stem[: number.start]), _after(stem[number.end :])
        if words := _by_words(stem, atoms, one.place):
            forms["words"][words] = None
        forms["number"][f"(?:^|/){before}([0-9]+){after}"] = None
        forms["front"][f"(?:^|/)({before}[0-9]+){after}"] = None
    tried = ["|".join(own) for own in forms.values() if 0 < len(own) <= _FORMS]
    keys = [one.key if one else ("alone", row) for row, one in enumerate(found)]
    return first_that_works([*tried, *_of_views(names)], files, keys)


def first_that_works(
    patterns: Iterable[str], files: Sequence[str], keys: Sequence[Hashable]
) -> str:
    """Return the first pattern that tells just these people, else one that joins a few of them."""
    safe = ""
    for pattern in patterns:
        told = _told(pattern, files)
        if not told:
            continue
        pairs = set(zip(told, keys, strict=True))
        if len(pairs) == len(set(keys)):  # every person is told as one
            if len(set(told)) == len(pairs):
                return pattern
            if len(set(told)) >= _LEAST_TOLD * len(pairs):
                safe = safe or pattern
    return safe


def _told(pattern: str, files: Sequence[str]) -> list[tuple[str, ...]]:
    """Return who a pattern finds in each path, nothing if it misses one."""
    found = [re.search(pattern, file) for file in files]
    people = [tuple((text or "").casefold() for text in part.groups()) for part in found if part]
    return people if len(people) == len(files) and all(map(any, people)) else []


def _by_words(stem: str, atoms: Sequence[Atom], place: int) -> str:
    """Return a pattern with the word before a number, if that is one that all sets have."""
    number, before = atoms[place], atoms[place - 1] if place else None
    rest = stem[number.end :]
    sign = rest[0] if rest and rest[0] in "-_ " else ""
    if place and before is not None and not before.number:
        word, between = stem[before.start : before.end], stem[before.end : number.start]
        known = before.text in PEOPLE_WORDS or is_person_word(before.text, place)
        if not known or len(between) > 1:
            return ""
        between = between if between in "-_ " else re.escape(between)
        return f"{word}{between}([0-9]+){sign}"
    if number.start and stem[number.start - 1].isalpha():
        return ""
    return f"([0-9]+){sign}[^/]*$"


def _abstract(front: str) -> str:
    """Return a pattern of the same form as a text, without its words."""
    parts = []
    for run in _RUN.findall(front):
        letters = "[^\\W\\d_]+" if run.isalpha() else re.escape(run)
        parts.append("[0-9]+" if run.isdigit() else letters)
    return "".join(parts)


def _after(rest: str) -> str:
    return re.escape(rest[0]) if rest and rest[0] in "-_ " else "(?![0-9])"


def _of_views(names: Sequence[Sequence[Atom]]) -> list[str]:
    """Return patterns for names that end, or begin, with a view: meier-AP, meier-LAT."""
    views = sorted({atom.text for atoms in names for atom in atoms} & VIEW_NAMES)
    if not views:
        return []
    any_of = f"(?i:{'|'.join(map(re.escape, views))})"
    return [
        f"(?:^|/)([^/]+?){_SIGN}+{any_of}{_ENDING}",
        f"(?:^|/){any_of}{_SIGN}+([^/]+){_ENDING}",
    ]
