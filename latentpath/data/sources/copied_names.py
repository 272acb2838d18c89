"""Names of files that say that a picture is a copy of another one, changed or not.

File managers write `x (1)`, `x - Copy` and `Copy of x`, augmentation `x_rot90`, `x_flip` and
`x_jpg.rf.0a1b...`, and thumbnails are `x_small`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath

_CHANGES = (
    r"(?:rot(?:at(?:ed?|ion))?|[hv]?flip(?:ped)?(?:_?(?:lr|ud|h|v))?|mirror(?:ed)?|aug(?:mented)?"
    r"|crop(?:ped)?|nois[ey]|blur(?:red)?|bright(?:ness)?|contrast|shift(?:ed)?|zoom(?:ed)?"
    r"|shear(?:ed)?|transposed?|clahe|gamma|equali[sz]ed?|resized?|thumb(?:nail)?|small|large"
    r"|preview|original|orig)"
)
_COPY = r"(?:copy|copie|copia|kopie)"
# Behind a name; what each of them takes away is the copy's own.
_ENDS = (
    rf"[ _-]+{_COPY}(?: ?[(]?[0-9]+[)]?)?",
    r" ?[(][0-9]{1,2}[)]",
    rf"[ _.-]+{_CHANGES}[ _-]?[0-9]*(?:deg)?",
    r"[._](?:jpe?g|png|bmp)[.]rf[.][0-9a-f]{16,}",
)
_END = re.compile(f"(?:{'|'.join(_ENDS)})$", re.IGNORECASE)
_BEGINNING = re.compile(rf"(?:{_COPY} (?:of|von|de) |{_CHANGES}[ _-]?[0-9]*[ _-]+)", re.IGNORECASE)
# Finds what is left of a name without all of them.
PATTERN = f"(?i)([^/]+?)(?:{'|'.join(_ENDS)})*[.][^/.]*$"
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


def _original(stem: str) -> str:
    """Return a name without what copying put around it."""
    while (shorter := _END.sub("", stem)) and shorter != stem:
        stem = shorter
    return _BEGINNING.sub("", stem, count=1) if _BEGINNING.match(stem) else stem
