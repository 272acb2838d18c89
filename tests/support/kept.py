"""Text that took long to make, kept in build/kept by what it was made from.

For compilations ahead of time and what compiled drivers print: whoever changes neither sources nor
compiler waits once.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "build" / "kept"


def kept(made_from: Iterable[str | Path], make: Callable[[], str]) -> str:
    """What `make()` returns, or returned when it was made from the same words and files.

    Args:
        made_from: everything that the text depends on: versions and options as words, and the
            files that are read.
        make: makes the text; where it raises nothing is kept.
    """
    digest = hashlib.sha256()
    for part in made_from:
        content = part.read_bytes() if isinstance(part, Path) else part.encode()
        digest.update(hashlib.sha256(content).digest())
    path = FOLDER / f"{digest.hexdigest()}.txt"
    if path.exists():
        return path.read_text(encoding="utf-8")
    text = make()
    FOLDER.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)  # other workers see all of it or nothing
    return text
