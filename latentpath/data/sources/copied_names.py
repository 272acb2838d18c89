"""Names of files that say that a picture is a copy of another one, changed or not.

File managers write `x (1)`, `x - Copy` and `Copy of x`, augmentation `x_rot90`, `x_flip` and
`x_jpg.rf.0a1b...`, and thumbnails are `x_small`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath

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
