"""All layouts of a set in one pass over its images, then its card and its manifest.

A set that is in memory is written by `write_image_set`, whole or not at all.

Layouts, each with extra columns where it has room for them:

- "folder": `images/<class>/<000123>.png` (the row as the number) and `labels.csv` with the
  columns file, label and class_name;
- "npz": `medmnist.npz`, its splits of different walks where a column `path` gives their numbers,
  else all images as its training split;
- "webdataset": `webdataset/shard-000000.tar`, ...;
- "stylegan": `stylegan.zip`, square images only;
- "parquet": `data/train-00000-of-00001.parquet`, ..., as Hugging Face `datasets` writes them;
- always: `manifest.json`, the given entries and what the set consists of, with checksums.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch

from latentpath.core import (
    InputError,
    Progress,
    check_output_is_free,
    new_folder,
    silent,
)
from latentpath.data import manifest as manifest_file
from latentpath.data.card import CARD_NAME, DatasetCard
from latentpath.data.images import ImageSet
from latentpath.data.writers import WRITERS, Batch, SetForm, Writer, safe_folder_names
from latentpath.data.writers.archive_layouts import NpzWriter
from latentpath.data.writers.writer import checked_column, describe_file

_BATCH = 64

MakeBatch = Callable[[int, int], Batch]
"""Gives the batch of the images from one row to another; asked in order, each image once."""


def write_layouts(
    folder: Path,
    layouts: Sequence[str],
    form: SetForm,
    make_batch: MakeBatch,
    *,
    shard_images: int,
    stage: str,
    progress: Progress,
) -> dict[str, dict[str, Any]]:
    """Write all layouts in one pass; returns sizes and checksums of their files.

    Args:
        folder: to write into.
        layouts: names of `WRITERS`.
        form: of the set.
        make_batch: gives the images.
        shard_images: images in each file of the layouts that have several.
        stage: name of the work for `progress`.
        progress: told after every batch.
    """
    kinds = [WRITERS[name] for name in layouts]
    shards = -(-form.count // shard_images)
    with ExitStack() as whole_set:
        whole = [whole_set.enter_context(k(folder, form)) for k in kinds if not k.sharded]
        written = list(whole)
        for shard, first in enumerate(range(0, form.count, shard_images)):
            end = min(first + shard_images, form.count)
            with ExitStack() as one_shard:
                parts: list[Writer] = [
                    one_shard.enter_context(
                        k(folder, form, file=k.file_of(shard, shards), first=first)
                    )
                    for k in kinds
                    if k.sharded
                ]
                for row in range(first, end, _BATCH):
                    batch = make_batch(row, min(row + _BATCH, end))
                    for writer in (*whole, *parts):
                        writer.add(batch)
                    progress(stage, row + len(batch), form.count, {})
            written += parts
    return {name: entry for writer in written for name, entry in writer.files.items()}


def describe_set(
    form: SetForm, layouts: Sequence[str], class_counts: Sequence[int]
) -> dict[str, Any]:
    """Return the manifest's entries about the set itself.

    Args:
        form: of the set.
        layouts: names of `WRITERS`, in any order.
        class_counts: K numbers of images.
    """
    folders = safe_folder_names(form.class_names)
    return {
        "layouts": [name for name in WRITERS if name in layouts],
        "images": {
            "count": form.count,
            "height": form.height,
            "width": form.width,
            "channels": form.channels,
        },
        "classes": [
            {"name": name, "folder": folder, "images": int(images)}
            for name, folder, images in zip(form.class_names, folders, class_counts, strict=True)
        ],
    }


def write_card_and_manifest(
    folder: Path,
    form: SetForm,
    files: Mapping[str, Mapping[str, Any]],
    given: Mapping[str, Any],
    described: Mapping[str, Any],
    card: DatasetCard | None,
) -> None:
    """Complete a set whose layouts are written.

    Args:
        folder: of the set.
        form: of the set.
        files: what `write_layouts` returned.
        given: the caller's part of the manifest.
        described: what `describe_set` returned.
        card: makes `README.md`; None leaves it out.
    """
    files = dict(files)
    if card is not None:
        text = card.text(form, {**given, **described})
        (folder / CARD_NAME).write_text(text, encoding="utf-8", newline="\n")
        files[CARD_NAME] = describe_file(folder / CARD_NAME)
    encoded = manifest_file.encode_manifest(given, {**described, "files": files})
    (folder / manifest_file.FILE_NAME).write_bytes(encoded)


LAYOUTS = ("folder", "npz")
NPZ_NAME = NpzWriter.default_file
STAGE = "write images"
SHARD_IMAGES = 10_000
"""Images in each of the files of a layout that has several."""

_KINDS = {"i": int, "u": int, "f": float, "U": str}


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
    shard_images: int = SHARD_IMAGES,
    card: DatasetCard | None = None,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Write a labelled set so that it appears complete under its final name, or not at all.

    Equal input gives equal bytes (for one version of Pillow and pyarrow): no dates, machines' names
    or source paths are written. A set that passes memory is written with `latentpath.data.writers`.

    Args:
        out: the folder to be; absent or empty, see `check_output_is_free`.
        images: uint8 [n, H, W, C], n at least 1, C 1 or 3.
        labels: integers [n], 0 .. K-1.
        class_names: K names; folders get a safe form of them, the tables and the manifest the
            names themselves.
        manifest: what JSON can hold; "format", "layouts", "images", "classes" and "files" are
            filled in here.
        layouts: one or more of the module's.
        overwrite: replace a set of ours at `out`; the old one stays until the new one is
            complete.
        extra_columns: columns of the tables, n whole numbers, floats or texts each, such as path
            number and step.
        shard_images: images in each file of the layouts "webdataset" and "parquet".
        card: makes `README.md`, the dataset card.
        progress: told as images are written, stage "write images".

    Returns:
        The manifest as written.

    Raises:
        OutputExistsError: `out` holds something else.
        InputError: layouts, columns or manifest entries that are not possible; the subclasses
            ShapeError and DataError for the arrays.
        MissingExtraError: "parquet" without pyarrow.
    """
    check_output_is_free(out, overwrite, is_ours=manifest_file.is_written_set)
    chosen = _check_layouts(layouts)
    content = ImageSet(images, labels, np.arange(len(images)), tuple(class_names))
    columns, kinds = _check_columns(extra_columns or {}, len(content))
    form = _check_form(content, kinds, chosen, shard_images)
    # Before any work: what the caller gives must be fit for JSON.
    manifest_file.encode_manifest(manifest, {})
    described = describe_set(form, chosen, list(content.class_counts().values()))
    # As many threads as the user grants PyTorch.
    with (
        ThreadPoolExecutor(torch.get_num_threads()) as threads,
        new_folder(out, overwrite, is_ours=manifest_file.is_written_set) as folder,
    ):
        make_batch = _batches(content, columns, threads)
        files = write_layouts(
            folder,
            chosen,
            form,
            make_batch,
            shard_images=shard_images,
            stage=STAGE,
            progress=progress,
        )
        write_card_and_manifest(folder, form, files, manifest, described, card)
    return manifest_file.read_manifest(out)


def _batches(content: ImageSet, columns: Mapping[str, list[Any]], threads: Executor) -> MakeBatch:
    def make_batch(start: int, end: int) -> Batch:
        rows = slice(start, end)
        return Batch(
            content.images[rows],
            content.labels[rows],
            {name: values[rows] for name, values in columns.items()},
            threads=threads,
        )

    return make_batch


def _check_form(
    content: ImageSet, kinds: Mapping[str, type], layouts: Sequence[str], shard_images: int
) -> SetForm:
    """Return the form of the set, which all layouts can hold."""
    height, width, channels = content.images.shape[1:]
    form = SetForm(height, width, channels, content.class_names, len(content), kinds)
    for layout in layouts:
        WRITERS[layout].check_form(form)
    if shard_images < 1:
        raise InputError(
            expected="at least 1 image per shard", got=str(shard_images), fix="10,000 is usual"
        )
    return form


def _check_layouts(layouts: Sequence[str]) -> tuple[str, ...]:
    chosen = (layouts,) if isinstance(layouts, str) else tuple(layouts)
    unknown = [name for name in chosen if name not in WRITERS]
    if unknown or not chosen:
        raise InputError(
            expected=f"layouts among {', '.join(WRITERS)}",
            got=", ".join(map(repr, unknown)) or "none",
            fix="choose at least one of them",
        )
    return tuple(name for name in WRITERS if name in chosen)


def _check_columns(
    columns: Mapping[str, Sequence[Any] | np.ndarray], n: int
) -> tuple[dict[str, list[Any]], dict[str, type]]:
    """Return the columns as lists of plain Python values, and their types."""
    plain: dict[str, list[Any]] = {}
    kinds: dict[str, type] = {}
    for name, values in columns.items():
        array = checked_column(name, values, n)
        if array.dtype.kind not in _KINDS:
            raise InputError(
                expected=f"whole numbers, floats or texts in the extra column {name!r}",
                got=str(array.dtype),
                fix="convert them",
            )
        plain[name], kinds[name] = array.tolist(), _KINDS[array.dtype.kind]
    return plain, kinds
