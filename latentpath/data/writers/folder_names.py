"""Folder names that are safe whatever a class is called."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

# Names that Windows keeps for devices, whatever the extension.
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_LONGEST_NAME = 80


def safe_folder_names(class_names: Sequence[str]) -> tuple[str, ...]:
    """Return a folder name for each class that every common file system takes, all different.

    Letters and digits of any script, '-', '_' and '.' stay; anything else becomes '_'. Names that
    would differ only in case or in how an accent is stored get a number behind them.

    >>> safe_folder_names(["TB +", "tb -", "../etc", "con"])
    ('TB__', 'tb_-', '_.._etc', '_con')
    """
    taken: set[str] = set()
    names = []
    for name in class_names:
        base = _safe_name(name)
        candidate, number = base, 2
        while candidate.casefold() in taken:
            candidate, number = f"{base}_{number}", number + 1
        taken.add(candidate.casefold())
        names.append(candidate)
    return tuple(names)


def _safe_name(name: str) -> str:
    composed = unicodedata.normalize("NFC", name)
    safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in composed)
    safe = safe.encode("utf-8")[:_LONGEST_NAME].decode("utf-8", "ignore").rstrip(".")
    if not safe or safe[0] in ".-" or _DEVICES.fullmatch(safe):
        # Not hidden, not an option of some command, not a device.
        safe = "_" + safe
    return safe
