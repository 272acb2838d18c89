"""A regular expression that finds the people in names of files, to be offered to the user.

No word of a name is in it but those that all sets have: any other may be a person's name.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence

from latentpath.data.identifier_names import PEOPLE_WORDS

_RUN = re.compile(r"[0-9]+|[^\W\d_]+|[\W_]", re.DOTALL)
_FORMS = 3


def offered_pattern(
    files: Sequence[str], stems: Sequence[str], keys: Sequence[Hashable | None]
) -> str:
    """Return a pattern that tells the people of all files, as far as it is clear.

    Args:
        files: n paths.
        stems: n names without folders and endings.
        keys: n pairs of what stands before a person's number, and it; None where there is none.
    """
    forms: dict[str, dict[str, None]] = {"words": {}, "number": {}, "front": {}}
    for stem, key in zip(stems, keys, strict=True):
        number = key[1] if isinstance(key, tuple) and len(key) == 2 else None
        if not isinstance(number, str) or not number.isdigit():
            continue
        if words := _by_words(stem, number):
            forms["words"][words] = None
        place = _place(stem, key, number)
        if place is not None:
            before, after = _abstract(stem[: place[0]]), _after(stem[place[1] :])
            forms["number"][f"(?:^|/){before}([0-9]+){after}"] = None
            forms["front"][f"(?:^|/)({before}[0-9]+){after}"] = None
    people = len(set(keys))
    tried = ["|".join(own) for own in forms.values() if 0 < len(own) <= _FORMS]
    found = {pattern: _people_by(pattern, files) for pattern in tried}
    right = [pattern for pattern in tried if found[pattern] == people]
    some = [pattern for pattern in tried if found[pattern] > 1]
    return next(iter([*right, *some]), "") or next(iter(tried), "person([0-9]+)_")


def _people_by(pattern: str, files: Sequence[str]) -> int:
    """Return how many people a pattern tells apart, 0 if it misses a file."""
    found = [re.search(pattern, file) for file in files]
    if not all(found):
        return 0
    return len({tuple((t or "").casefold() for t in part.groups()) for part in found if part})


def _by_words(stem: str, number: str) -> str:
    part = re.search(rf"([A-Za-z]*)([-_ ]?)(?<![0-9]){number}(?![0-9])([-_ ]?)", stem)
    if part is None or (part[1] and part[1].lower() not in PEOPLE_WORDS):
        return ""
    end = part[3] + ("" if part[1] else "[^/]*$")
    return f"{part[1]}{part[2] if part[1] else ''}([0-9]+){end}"


def _place(stem: str, key: Hashable, number: str) -> tuple[int, int] | None:
    """Return where the person's number begins and ends: behind as many numbers as its key says."""
    assert isinstance(key, tuple)
    before = sum(re.fullmatch("[0-9]+", text) is not None and text == number for text in key[0])
    places = [m.span() for m in re.finditer(rf"(?<![0-9]){number}(?![0-9])", stem)]
    return places[before] if before < len(places) else None


def _abstract(front: str) -> str:
    """Return a pattern of the same form as a text, without its words."""
    parts = []
    for run in _RUN.findall(front):
        letters = "[^\\W\\d_]+" if run.isalpha() else re.escape(run)
        parts.append("[0-9]+" if run.isdigit() else letters)
    return "".join(parts)


def _after(rest: str) -> str:
    return re.escape(rest[0]) if rest and rest[0] in "-_ " else "(?![0-9])"
