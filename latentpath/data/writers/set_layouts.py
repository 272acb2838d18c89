"""All layouts of a set in one pass over its images, then its card and its manifest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from latentpath.core import Progress
from latentpath.data import manifest as manifest_file
from latentpath.data.card import CARD_NAME, DatasetCard
from latentpath.data.writers import WRITERS, Batch, SetForm, Writer, safe_folder_names
from latentpath.data.writers.writer import describe_file

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
