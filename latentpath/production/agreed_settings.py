"""What work in a folder was begun with, so that nobody goes on with anything else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latentpath.core import DataError, plain_values
from latentpath.production.fingerprints import check_same
from latentpath.production.run.run_folder import write_durably


class AgreedSettings:
    """A JSON file of settings, in parts that are agreed on one by one.

    Args:
        path: the file; it is made with the first part.
        format: number of its form, for later versions.
    """

    def __init__(self, path: Path, format: int = 1) -> None:
        self._path, self._format = path, format

    def agree(self, part: str, settings: Mapping[str, Any]) -> None:
        """Note what a part of the work is done with, or compare with what was noted.

        Args:
            part: such as "comparison".
            settings: plain JSON values by name.

        Raises:
            InputError: the folder's work was begun with others; the names are told.
            DataError: the file was changed or damaged.
        """
        plain = plain_values(settings)
        known: dict[str, Any] = {"format": self._format}
        if self._path.exists():
            known = read_object(self._path)
        if part in known:
            check_same(
                f"settings ({part})",
                known[part],
                plain,
                "give the same options and data to go on, or another --out",
            )
            return
        write_object(self._path, {**known, part: plain})

    def get(self, part: str) -> dict[str, Any] | None:
        """Return what was agreed on, or None.

        Raises:
            DataError: the file was changed or damaged.
        """
        return read_object(self._path).get(part) if self._path.exists() else None


def write_object(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON object; it is on the disk as a whole or not at all."""
    write_durably(path, json.dumps(content, indent=1, allow_nan=False).encode())


def read_object(path: Path) -> dict[str, Any]:
    """Read what `write_object` wrote.

    Raises:
        DataError: the file was changed or damaged.
    """
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise DataError(
            expected="a JSON file as it was written",
            got=f"{path.name}, which is damaged or another one",
            fix="restore it, or remove it where what it tells can be made again",
        )
    return content
