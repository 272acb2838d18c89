"""Class folders and a table: `images/<class>/<000123>.png` and `labels.csv`."""

from __future__ import annotations

import shutil
from pathlib import Path

from latentpath.core import (
    InputError,
    OutputExistsError,
    csv_writer,
    hash_bytes,
    partial_path,
    put_in_place,
)
from latentpath.data.writers.batch import Batch
from latentpath.data.writers.folder_names import safe_folder_names
from latentpath.data.writers.set_form import OWN_COLUMNS, SetForm
from latentpath.data.writers.writer import Writer, describe_file

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
