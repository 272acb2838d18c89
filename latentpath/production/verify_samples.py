"""The samples of a written set: that its files agree, hold nothing else, and lie on its walks."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from latentpath.core import (
    IntegrityError,
    LatentpathError,
    PrivacyError,
    Progress,
    csv_writer,
    hash_bytes,
    silent,
)
from latentpath.data import (
    CARD_NAME,
    NPZ_NAME,
    SPLITS,
    TABLE_NAME,
    NotPlainError,
    PngFiles,
    read_plain_npz,
    read_plain_png,
    splits_of_walks,
)
from latentpath.production.verify_layouts import (
    Packed,
    check_card,
    check_claims,
    check_layouts,
    read_packed,
)

_COLUMNS = ["file", "label", "class_name", "path", "step"]


@dataclass(frozen=True, eq=False)
class Samples:
    """What a set's files hold."""

    images: np.ndarray
    """uint8 [n, H, W, C]."""
    labels: np.ndarray
    """int64 [n]."""
    path: np.ndarray
    """int64 [n] walk that each sample lies on."""
    step: np.ndarray
    """int64 [n] point of the walk."""
    known: np.ndarray
    """bool [n], whether the pixels are those that were written; others are zero."""


def check_samples(
    folder: Path,
    manifest: Mapping[str, Any],
    found: list[LatentpathError],
    not_verified: list[str],
    progress: Progress = silent,
    *,
    changed: frozenset[str] = frozenset(),
) -> Samples | None:
    """Read the files of all layouts with suspicion, and compare them; None if that fails.

    What cannot be checked, and why, is added to `not_verified`. Files that are known to be
    `changed` are left out: whatever is compared with them would be blamed for what they are.
    """
    check_claims(manifest, found)
    if "folder" in manifest["layouts"] and TABLE_NAME not in changed:
        packed = _read_folder(folder, manifest, changed)
    else:
        _check_pictures(folder, manifest, found, changed)
        packed = read_packed(folder, manifest, changed)
    if packed is None:
        not_verified.append(
            "That the samples lie on the walks, and that the files agree: needs the layout folder, "
            f"webdataset or parquet{', as it was written' if changed else ''}."
        )
        return None
    size, shape = manifest["images"], _shape(manifest)
    images = np.zeros((size["count"], *shape), np.uint8)
    known = ~np.isin(np.arange(size["count"]), list(packed.lost))
    for row in range(size["count"]):
        try:
            if known[row]:
                images[row] = read_plain_png(packed.png(row), *shape)
        except (NotPlainError, OSError) as error:
            found.append(_not_plain(packed.name(row), error))
        progress("verify", row + 1, size["count"], {})
    labels, path, step = (
        np.array(getattr(packed, name), np.int64) for name in ("labels", "path", "step")
    )
    samples = Samples(images, labels, path, step, known)
    if not found:
        if CARD_NAME not in changed:
            check_card(folder, manifest, found, not_verified)
        check_layouts(folder, manifest, packed, found, not_verified, changed)
        if "npz" in manifest["layouts"] and NPZ_NAME not in changed:
            _check_npz(folder, samples, found)
    return samples


def _shape(manifest: Mapping[str, Any]) -> tuple[int, int, int]:
    size = manifest["images"]
    return size["height"], size["width"], size["channels"]


def _check_pictures(
    folder: Path,
    manifest: Mapping[str, Any],
    found: list[LatentpathError],
    changed: frozenset[str],
) -> None:
    """Look into the single pictures of a set whose table is not as it was written."""
    for name in sorted(set(manifest["files"]) - changed):
        if name.endswith(".png"):
            try:
                read_plain_png((folder / name).read_bytes(), *_shape(manifest))
            except (NotPlainError, OSError) as error:
                found.append(_not_plain(name, error))


def _read_folder(
    folder: Path, manifest: Mapping[str, Any], changed: frozenset[str]
) -> Packed | None:
    columns = _read_table(folder, manifest)
    files = columns["file"]
    rows = {row for row, name in enumerate(files) if name in changed}
    kept = _kept_elsewhere(folder, manifest, changed, {row: files[row] for row in rows})
    pngs = PngFiles(folder, files)
    return Packed(
        columns["label"],
        columns["path"],
        columns["step"],
        lambda row: kept[row] if row in kept else pngs(row),
        files.__getitem__,
        frozenset(rows - kept.keys()),
    )


def _kept_elsewhere(
    folder: Path, manifest: Mapping[str, Any], changed: frozenset[str], names: Mapping[int, str]
) -> dict[int, bytes]:
    """Pictures that were changed, by row, as another layout still has them."""
    others = read_packed(folder, manifest, changed) if names else None
    if others is None:
        return {}
    pngs = {row: others.png(row) for row in names}
    listed = manifest["files"]
    return {
        row: png for row, png in pngs.items() if hash_bytes(png) == listed[names[row]]["sha256"]
    }


def _not_plain(name: str, error: Exception) -> PrivacyError:
    return PrivacyError(
        expected="files that hold pixels and nothing else",
        got=f"{name!r} with {error}",
        fix="do not share the set: write it again",
    )


def _read_table(folder: Path, manifest: Mapping[str, Any]) -> dict[str, list]:
    """Columns of labels.csv, in the one form that the writer gives it."""
    try:
        raw = (folder / TABLE_NAME).read_bytes()
        rows = list(csv.reader(io.StringIO(raw.decode("utf-8"), newline=""), strict=True))
    except (OSError, ValueError, csv.Error) as error:
        raise _table_changed(f"none that can be read ({error})") from error
    if not rows or rows[0] != _COLUMNS or any(len(row) != len(_COLUMNS) for row in rows):
        raise _table_changed(f"the columns {', '.join(rows[0]) if rows else ''}")
    classes, count = manifest["classes"], manifest["images"]["count"]
    width = max(6, len(str(count - 1)))
    columns: dict[str, list] = {name: [] for name in _COLUMNS}
    again = io.StringIO(newline="")
    writer = csv_writer(again)
    writer.writerow(_COLUMNS)
    for number, row in enumerate(rows[1:]):
        values = _numbers(row)
        if values is None or not 0 <= values[0] < len(classes):
            raise _table_changed(f"line {number + 2} without numbers")
        label, path, step = values
        entry = classes[label]
        name = f"images/{entry.get('folder')}/{number:0{width}d}.png"
        writer.writerow([name, label, entry["name"], path, step])
        for column, value in zip(_COLUMNS, (name, label, entry["name"], path, step), strict=True):
            columns[column].append(value)
    if again.getvalue().encode("utf-8") != raw or len(rows) - 1 != count:
        raise _table_changed("other file names, classes or formatting")
    pictures = [name for name in manifest["files"] if name.endswith(".png")]
    if set(pictures) != set(columns["file"]):
        raise _table_changed("other images than the manifest lists")
    return columns


def _numbers(row: list[str]) -> tuple[int, int, int] | None:
    """Label, path and step of a line, if they are numbers that an array can hold."""
    try:
        label, path, step = (int(np.int64(int(row[i]))) for i in (1, 3, 4))
    except (ValueError, OverflowError):
        return None
    return label, path, step


def _table_changed(got: str) -> IntegrityError:
    return IntegrityError(
        expected=f"a {TABLE_NAME} as latentpath writes it",
        got=got,
        fix="restore it from a copy, or write the set again",
    )


def _check_npz(folder: Path, samples: Samples, found: list[LatentpathError]) -> None:
    images, labels = samples.images, samples.labels
    try:
        arrays = read_plain_npz(folder / NPZ_NAME, images.nbytes)
    except (NotPlainError, OSError) as error:
        found.append(_not_plain(NPZ_NAME, error))
        return
    pixels = images[..., 0] if images.shape[3] == 1 else images
    column = labels.astype(np.uint8)[:, None]
    split = splits_of_walks(samples.path)
    expected = {f"{name}_images": pixels[split == name] for name in SPLITS}
    expected |= {f"{name}_labels": column[split == name] for name in SPLITS}
    if list(arrays) != [f"{s}_{part}" for s in SPLITS for part in ("images", "labels")]:
        found.append(_not_plain(NPZ_NAME, NotPlainError(f"the arrays {', '.join(arrays)}")))
        return
    for name, array in arrays.items():
        known = samples.known[split == name.partition("_")[0]]
        same = array.dtype == np.uint8 and array.shape == expected[name].shape
        if not (same and np.array_equal(array[known], expected[name][known])):
            found.append(
                IntegrityError(
                    expected=f"the same images and labels in {NPZ_NAME} as in the image files",
                    got=f"others in {name}",
                    fix="write the set again",
                )
            )


def check_walks(
    samples: Samples, manifest: Mapping[str, Any], found: list[LatentpathError]
) -> None:
    """Every sample on a listed walk, every walk between two listed endpoints of one class."""
    classes, pairs, points = _listed_walks(manifest)
    inside = np.logical_and(pairs >= 0, pairs < len(classes)).min(axis=1)
    good = inside.copy()
    ends = classes[pairs[inside]]
    good[inside] = (ends[:, 0] == ends[:, 1]) & (pairs[inside, 0] != pairs[inside, 1])
    for number in np.flatnonzero(~good):
        found.append(
            _off_the_walks(
                "walks between two different endpoints of one class",
                f"walk {number} between {pairs[number].tolist()}",
            )
        )
    path, step = samples.path, samples.step
    listed = (path >= 0) & (path < len(pairs)) & (step >= 0) & (step < points)
    on_good = listed.copy()
    on_good[listed] = good[path[listed]]
    in_class = np.zeros(len(path), dtype=bool)
    in_class[on_good] = classes[pairs[path[on_good], 0]] == samples.labels[on_good]
    for row in np.flatnonzero(~in_class):
        found.append(
            _off_the_walks(
                "samples on listed walks of their class",
                f"row {row} of class {samples.labels[row]} at walk {path[row]}, step {step[row]}",
            )
        )
    _, copies = np.unique(np.stack([path, step]), axis=1, return_counts=True)
    if (copies > 1).any():
        found.append(
            _off_the_walks(
                "one sample at each place", f"{int((copies > 1).sum())} places with several"
            )
        )


def _listed_walks(manifest: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray, int]:
    """Class of each endpoint [G], pairs [P, 2] and points on a walk, from the manifest."""
    try:
        classes = np.array(manifest["endpoints"]["class"], dtype=np.int64)
        pairs = np.array(manifest["walks"]["pairs"], dtype=np.int64)
        points = int(manifest["walks"]["points"])
        if classes.ndim != 1 or pairs.ndim != 2 or pairs.shape[1] != 2:
            raise ValueError("lists of other shapes")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise _off_the_walks("endpoints and walks in the manifest", f"{error!r}") from error
    return classes, pairs, points


def _off_the_walks(expected: str, got: str) -> IntegrityError:
    return IntegrityError(expected=expected, got=got, fix="write the set again")
