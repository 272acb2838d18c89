"""Class folders and a table: `images/<class>/<000123>.png` and `labels.csv`.

Folders have names that are safe whatever a class is called.
"""

from __future__ import annotations

import re
import shutil
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from latentpath.core import (
    InputError,
    OutputExistsError,
    csv_writer,
    hash_bytes,
    partial_path,
    put_in_place,
)
from latentpath.data.writers.writer import OWN_COLUMNS, Batch, SetForm, Writer, describe_file

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


IMAGES_NAME = "images"
TABLE_NAME = "labels.csv"


class FolderWriter(Writer):
    """A tree of PNG files. The table comes last: where it is, all images are.

    Unlike a file, a tree cannot appear at once. Who needs that gives a folder that is renamed
    afterwards, as `write_image_set` does.
    """

    layout = "folder"
    suffix = ""
    default_file = ""

    def __init__(
        self, root: str | Path, form: SetForm, *, file: str | None = None, first: int = 0
    ) -> None:
        super().__init__(root, form, first=first)
        if file:
            raise InputError(
                expected="no file name for the layout 'folder'",
                got=repr(file),
                fix="give the folder as root",
            )
        self._folders = safe_folder_names(form.class_names)
        self._made: set[int] = set()
        self.root.mkdir(parents=True, exist_ok=True)
        try:
            (self.root / IMAGES_NAME).mkdir()
        except FileExistsError as error:
            raise OutputExistsError(
                expected=f"a folder without {IMAGES_NAME}/",
                got="one that has it",
                fix="choose another folder",
            ) from error
        self._table_path = partial_path(self.root / TABLE_NAME)
        self._table = self._table_path.open("w", newline="", encoding="utf-8")
        self._rows = csv_writer(self._table)
        self._rows.writerow([*OWN_COLUMNS, *form.columns])

    def add(self, batch: Batch) -> None:
        numbers, labels = self.numbers(batch), batch.labels.tolist()
        for label in sorted(set(labels) - self._made):
            (self.root / IMAGES_NAME / self._folders[label]).mkdir()
            self._made.add(label)
        for row, (number, png, label) in enumerate(zip(numbers, batch.pngs, labels, strict=True)):
            name = f"{IMAGES_NAME}/{self._folders[label]}/{number:0{self.form.digits}d}.png"
            (self.root / name).write_bytes(png)
            self.files[name] = {"bytes": len(png), "sha256": hash_bytes(png)}
            extra = [values[row] for values in batch.columns.values()]
            self._rows.writerow([name, label, self.form.class_names[label], *extra])

    def close(self) -> None:
        self._table.close()
        entry = describe_file(self._table_path)
        put_in_place(self._table_path, self.root / TABLE_NAME)
        self.files[TABLE_NAME] = entry

    def abort(self) -> None:
        if TABLE_NAME in self.files:
            return
        self._table.close()
        self._table_path.unlink(missing_ok=True)
        shutil.rmtree(self.root / IMAGES_NAME, ignore_errors=True)
        self.files.clear()
