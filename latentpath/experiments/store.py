"""Results on the disk: what an experiment has done is never done again, nor mixed with another."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from latentpath.core import OutputExistsError
from latentpath.production import AgreedSettings, read_object, write_object

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
        """As `AgreedSettings.agree`."""
        AgreedSettings(self._settings, FORMAT).agree(part, settings)

    def get(self, key: str) -> dict[str, Any] | None:
        """A result that was put, or None.

        Raises:
            DataError: its file was changed or damaged.
        """
        path = self._path(key)
        return read_object(path) if path.exists() else None

    def put(self, key: str, result: Mapping[str, Any]) -> None:
        """Keep a result; it is on the disk as a whole or not at all."""
        write_object(self._path(key), result)

    @property
    def _settings(self) -> Path:
        return self.folder / _SETTINGS

    def _path(self, key: str) -> Path:
        return self.folder / "results" / f"{re.sub(r'[^A-Za-z0-9.,=-]', '_', key)}.json"
