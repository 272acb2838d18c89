"""Results on the disk: what an experiment has done is never done again, nor mixed with another."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latentpath.core import DataError, OutputExistsError, plain_values
from latentpath.production import check_same, write_durably

FORMAT = 1
_SETTINGS = "experiment.json"


class ResultStore:
    """The folder of an experiment: its settings, and one JSON file per result.

    Args:
        folder: absent, empty, or that of the same experiment.

    Raises:
        OutputExistsError: the folder holds anything else.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if self.folder.exists() and not self.folder.is_dir():
            raise OutputExistsError(
                expected="a folder for the experiment", got="a file", fix="choose another --out"
            )
        if not self._settings.exists() and self.folder.exists() and any(self.folder.iterdir()):
            raise OutputExistsError(
                expected=f"an empty folder, or that of an experiment ({_SETTINGS})",
                got="other files",
                fix="choose another --out",
            )

    def agree(self, part: str, settings: Mapping[str, Any]) -> None:
        """Note what a part of the experiment is made with, or compare with what was noted.

        Args:
            part: such as "comparison"; parts are agreed on one by one.
            settings: plain JSON values by name.

        Raises:
            InputError: the folder's results were made with others; the names are told.
        """
        plain = plain_values(settings)
        known: dict[str, Any] = {"format": FORMAT}
        if self._settings.exists():
            known = _read(self._settings)
        if part in known:
            check_same(
                f"settings ({part})",
                known[part],
                plain,
                "give the same options and data to go on, or another --out",
            )
            return
        self._write(self._settings, {**known, part: plain})

    def get(self, key: str) -> dict[str, Any] | None:
        """A result that was put, or None.

        Raises:
            DataError: its file was changed or damaged.
        """
        path = self._path(key)
        return _read(path) if path.exists() else None

    def put(self, key: str, result: Mapping[str, Any]) -> None:
        """Keep a result; it is on the disk as a whole or not at all."""
        self._write(self._path(key), result)

    @property
    def _settings(self) -> Path:
        return self.folder / _SETTINGS

    def _path(self, key: str) -> Path:
        return self.folder / "results" / f"{re.sub(r'[^A-Za-z0-9.,=-]', '_', key)}.json"

    def _write(self, path: Path, content: Mapping[str, Any]) -> None:
        text = json.dumps(content, indent=1, allow_nan=False)
        write_durably(path, text.encode())


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(
            expected="a result as it was written",
            got=f"{path.name}, which is damaged",
            fix="remove that file; its result will be made again",
        ) from error
    if not isinstance(content, dict):
        raise DataError(
            expected="a result as it was written",
            got=f"{path.name} with another content",
            fix="remove that file; its result will be made again",
        )
    return content
