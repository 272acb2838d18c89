"""Writing a synthetic set in the layouts that training code reads."""

from __future__ import annotations

import csv
import hashlib
import io
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from latentpath.data import manifest as manifest_file
from latentpath.data.atomic import check_output_is_free, new_folder
from latentpath.data.images import ImageSet
from latentpath.data.medmnist import MAX_CLASSES, write_medmnist
from latentpath.errors import InputError, ShapeError, require_extra
from latentpath.progress import Progress, silent

LAYOUTS = ("folder", "medmnist")
TABLE_NAME = "labels.csv"
NPZ_NAME = "medmnist.npz"
STAGE = "write images"
_TABLE_COLUMNS = ("file", "label", "class_name")
# Names that Windows keeps for devices, whatever the extension.
_DEVICES = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
_LONGEST_NAME = 80


def write_image_set(
    out: str | Path,
    images: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    *,
    manifest: Mapping[str, Any],
    layouts: Sequence[str] = LAYOUTS,
    overwrite: bool = False,
    extra_columns: Mapping[str, Sequence[Any] | np.ndarray] | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Write a labelled set so that it appears complete under its final name, or not at all.

    - layout "folder": `images/<class>/<000123>.png` (the row as the number) and `labels.csv`
      with the columns file, label, class_name and `extra_columns`;
    - layout "medmnist": `medmnist.npz`, all images as its training split;
    - always: `manifest.json`, the given entries and what the set consists of, with checksums.

    Equal input gives equal bytes (for one version of Pillow and zlib): no dates, names of
    machines or source paths are written.

    Args:
        out: the folder to be; absent or empty, see `check_output_is_free`.
        images: uint8 [n, H, W, C], n at least 1, C 1 or 3.
        labels: integers [n], 0 .. K-1.
        class_names: K names; folders get a safe form of them, the table and the manifest the
            names themselves.
        manifest: what JSON can hold; "format", "layouts", "images", "classes" and "files" are
            filled in here.
        layouts: one or both of the above.
        overwrite: replace a set of ours at `out`; the old one stays until the new one is
            complete.
        extra_columns: columns of `labels.csv`, n values each, such as path number and step.
        progress: told after every image, stage "write images".

    Returns:
        The manifest as written.

    Raises:
        OutputExistsError: `out` holds something else.
        InputError: layouts, columns or manifest entries that are not possible; the subclasses
            ShapeError and DataError for the arrays.
    """
    check_output_is_free(out, overwrite)
    chosen = _check_layouts(layouts, len(class_names))
    content = ImageSet(images, labels, np.arange(len(images)), tuple(class_names))
    columns = _check_columns(extra_columns or {}, len(content))
    # Before any work: what the caller gives must be fit for JSON.
    manifest_file.encode_manifest(manifest, {})
    folders = safe_folder_names(content.class_names)
    with new_folder(out, overwrite) as folder:
        files = _Files(folder)
        if "folder" in chosen:
            _write_folder_layout(files, content, folders, columns, progress)
        if "medmnist" in chosen:
            _write_npz(files, content)
        written = _describe(content, folders, chosen, files.entries)
        encoded = manifest_file.encode_manifest(manifest, written)
        (folder / manifest_file.FILE_NAME).write_bytes(encoded)
    return manifest_file.read_manifest(out)


class _Files:
    """Writes files below a folder and remembers their sizes and checksums for the manifest."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.entries: dict[str, dict[str, Any]] = {}

    def add(self, name: str, content: bytes) -> None:
        (self.root / name).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        self.entries[name] = {"bytes": len(content), "sha256": digest}

    def add_written(self, name: str) -> None:
        """Note a file that was streamed to its place."""
        digest, size = hashlib.sha256(), 0
        with (self.root / name).open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
                size += len(block)
        self.entries[name] = {"bytes": size, "sha256": digest.hexdigest()}


def _write_folder_layout(
    files: _Files,
    content: ImageSet,
    folders: tuple[str, ...],
    columns: Mapping[str, Sequence[Any]],
    progress: Progress,
) -> None:
    for label in np.unique(content.labels):
        (files.root / "images" / folders[label]).mkdir(parents=True)
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow([*_TABLE_COLUMNS, *columns])
    width = max(6, len(str(len(content) - 1)))
    for row, (image, label) in enumerate(zip(content.images, content.labels, strict=True)):
        name = f"images/{folders[label]}/{row:0{width}d}.png"
        files.add(name, encode_png(image))
        extra = [values[row] for values in columns.values()]
        writer.writerow([name, int(label), content.class_names[label], *extra])
        progress(STAGE, row + 1, len(content), {})
    files.add(TABLE_NAME, table.getvalue().encode("utf-8"))


def _write_npz(files: _Files, content: ImageSet) -> None:
    with (files.root / NPZ_NAME).open("wb") as stream:
        write_medmnist(stream, content.images, content.labels)
    files.add_written(NPZ_NAME)


def encode_png(image: np.ndarray) -> bytes:
    """Return one image, uint8 [H, W, C], as PNG bytes that depend on its pixels alone."""
    pil = require_extra("PIL.Image", "pipeline")
    picture = pil.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    stream = io.BytesIO()
    picture.save(stream, format="PNG", compress_level=6)
    return stream.getvalue()


def _describe(
    content: ImageSet,
    folders: tuple[str, ...],
    layouts: tuple[str, ...],
    entries: dict[str, dict[str, Any]],
) -> dict[str, Any]:
    """Return the manifest's entries about the set itself."""
    count, height, width, channels = content.images.shape
    classes = [
        {"name": name, "folder": folder, "images": images}
        for (name, images), folder in zip(content.class_counts().items(), folders, strict=True)
    ]
    return {
        "layouts": list(layouts),
        "images": {"count": count, "height": height, "width": width, "channels": channels},
        "classes": classes,
        "files": entries,
    }


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


def _check_layouts(layouts: Sequence[str], num_classes: int) -> tuple[str, ...]:
    chosen = (layouts,) if isinstance(layouts, str) else tuple(layouts)
    unknown = [name for name in chosen if name not in LAYOUTS]
    if unknown or not chosen:
        raise InputError(
            expected=f"layouts among {', '.join(LAYOUTS)}",
            got=", ".join(map(repr, unknown)) or "none",
            fix="choose at least one of them",
        )
    if "medmnist" in chosen and num_classes > MAX_CLASSES:
        raise InputError(
            expected=f"at most {MAX_CLASSES} classes for the layout 'medmnist'",
            got=str(num_classes),
            fix="choose the layout 'folder' alone",
        )
    return tuple(name for name in LAYOUTS if name in chosen)


def _check_columns(
    columns: Mapping[str, Sequence[Any] | np.ndarray], n: int
) -> dict[str, Sequence[Any]]:
    """Return the columns as lists of plain Python values."""
    plain: dict[str, Sequence[Any]] = {}
    for name, values in columns.items():
        if name in _TABLE_COLUMNS:
            raise InputError(
                expected=f"extra columns other than {', '.join(_TABLE_COLUMNS)}",
                got=repr(name),
                fix="rename it",
            )
        array = np.asarray(values)
        if array.shape != (n,):
            raise ShapeError(
                expected=f"{n} values in the extra column {name!r}",
                got=str(list(array.shape)),
                fix="give one value per image",
            )
        plain[name] = array.tolist()
    return plain
