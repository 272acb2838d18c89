"""From finished shards to the set on the disk: the samples that count, in the order of the plan.

Shards pass by one after another, read and unpacked by threads ahead of the writers, so that a set
may be larger than the memory. The set and its private file appear whole or not at all.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from latentpath.core import IntegrityError, Progress, hash_bytes, new_folder, same_names, silent
from latentpath.data import (
    Batch,
    DatasetCard,
    SetForm,
    describe_set,
    manifest as manifest_file,
    write_card_and_manifest,
    write_layouts,
)
from latentpath.production.plan import Plan
from latentpath.production.private_file import People, PrivateRecord, private_file
from latentpath.production.run.ledger import ShardRow
from latentpath.production.run.run_config import OutputConfig
from latentpath.production.run.run_folder import RunFolder, named_disk_errors
from latentpath.production.selection import Selection
from latentpath.production.shard import Shard, read_shard

STAGE = "write set"
_READERS = 4

ReadShard = Callable[[int], Shard]
"""Gives a finished shard by its number."""


class LostShardError(Exception):
    """A finished shard is damaged or gone: it has to be made anew."""

    def __init__(self, number: int, reason: IntegrityError) -> None:
        super().__init__(number, reason)
        self.number, self.reason = number, reason


def stored_shards(plan: Plan, folder: RunFolder, rows: tuple[ShardRow, ...]) -> ReadShard:
    """Read shards from a run's folder; each must be as the ledger has it.

    What is returned raises LostShardError for a shard that is not.
    """
    hashes = {row.number: row.sha256 for row in rows}

    def read(number: int) -> Shard:
        try:
            return read_shard(folder.shard(number), number, plan.hash, hashes[number])
        except IntegrityError as error:
            raise LostShardError(number, error) from error

    return read


@dataclass(frozen=True)
class _Sample:
    """One image of the set."""

    png: bytes
    label: int
    path: int
    """Row of the walks that count."""
    step: int


def write_set(
    plan: Plan,
    folder: RunFolder,
    chosen: Selection,
    read: ReadShard,
    output: OutputConfig,
    *,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Write the set and its private file; an earlier set of the run is replaced.

    Returns:
        The manifest as written.

    Raises:
        LostShardError: a shard is not as it was stored.
        RunError: the disk is full or cannot be written to.
    """
    pairs = np.concatenate([plan.task(shard.number).pairs for shard in chosen.shards])
    with ExitStack() as after, named_disk_errors():
        source = after.enter_context(SampleSource(plan, chosen, read))
        form = source.form
        with new_folder(folder.set, overwrite=True, is_ours=manifest_file.is_written_set) as out:
            files = write_layouts(
                out,
                output.chosen,
                form,
                source.batches(),
                shard_images=output.images_per_file,
                stage=STAGE,
                progress=progress,
            )
            content = _private_record(plan, pairs, source.digest()).encode()
            # It is put in place when this folder has been.
            after.enter_context(private_file(folder.private_file, folder.set, content))
            described = describe_set(form, output.chosen, chosen.class_counts)
            card = DatasetCard(output.title, output.license)
            manifest = _manifest(plan, chosen, pairs, content)
            write_card_and_manifest(out, form, files, manifest, described, card)
    return manifest_file.read_manifest(folder.set)


class SampleSource:
    """Reads the shards that count, ahead of whoever takes their samples."""

    def __init__(self, plan: Plan, chosen: Selection, read: ReadShard) -> None:
        self._plan, self._chosen, self._read = plan, chosen, read
        self._readers = ThreadPoolExecutor(_READERS, "read", same_names())
        self._pixels = hashlib.sha256()
        self._columns: dict[str, list[int]] = {"label": [], "path": [], "step": []}
        first = read(chosen.shards[0].number)
        self.form = SetForm(
            *first.shape, plan.class_names, chosen.count, {"path": int, "step": int}
        )

    def __enter__(self) -> SampleSource:
        return self

    def __exit__(self, *raised: object) -> None:
        self._readers.shutdown(cancel_futures=True)

    def _unpacked(self, place: int) -> tuple[Shard, list[np.ndarray]]:
        shard = self._read(self._chosen.shards[place].number)
        return shard, [shard.image(row) for row in self._chosen.keep[place].tolist()]

    def _shards(self) -> Iterator[tuple[Shard, list[np.ndarray]]]:
        ahead: deque[Future[tuple[Shard, list[np.ndarray]]]] = deque()
        for place in range(len(self._chosen.shards)):
            ahead.append(self._readers.submit(self._unpacked, place))
            if len(ahead) > _READERS:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()

    def samples(self) -> Iterator[_Sample]:
        """The images of the set in their order."""
        before = 0  # walks of the shards so far
        for place, (shard, images) in enumerate(self._shards()):
            label = self._plan.task(shard.number).label
            rows = self._chosen.keep[place].tolist()
            places = shard.places[shard.passed][rows].tolist()
            for row, image, (walk, step) in zip(rows, images, places, strict=True):
                self._pixels.update(image.tobytes())
                sample = _Sample(shard.pictures[row], label, before + walk, step)
                for name, column in self._columns.items():
                    column.append(getattr(sample, name))
                yield sample
            before += len(shard.latents)

    def batches(self) -> Callable[[int, int], Batch]:
        """Gives the images from one row to another, asked for in their order."""
        samples, form = self.samples(), self.form

        def next_batch(start: int, end: int) -> Batch:
            part = list(islice(samples, end - start))
            return Batch.packed(
                [sample.png for sample in part],
                (form.height, form.width, form.channels),
                [sample.label for sample in part],
                {name: [getattr(sample, name) for sample in part] for name in form.columns},
            )

        return next_batch

    def digest(self) -> str:
        """Hash of the samples that were taken, as `samples_hash` has it."""
        for column in self._columns.values():
            self._pixels.update(np.array(column, "<i8").data)
        return self._pixels.hexdigest()


def _manifest(plan: Plan, chosen: Selection, pairs: np.ndarray, private: bytes) -> dict[str, Any]:
    """What travels with the set: settings and counts, nothing about any one person."""
    endpoints: dict[str, Any] = {"class": plan.arrays["labels"].tolist()}
    if "identity_counts" in plan.arrays:
        endpoints["people"] = plan.arrays["identity_counts"].tolist()
    gate: dict[str, Any] | None = {
        "tested": chosen.tested,
        "rejected": chosen.rejected,
        "lpips_threshold": round(plan.settings["gate_threshold"], 6),
    }
    if plan.config.uses_dp:
        gate = None  # exact counts and a distance between two real people
    relaxed = plan.settings["relaxed_endpoints"]
    return {
        "software": "latentpath",
        "software_version": plan.settings["software_version"],
        "config": plan.settings["config"],
        "seeds": {"seed": plan.config.seed},
        "run": {"threads": plan.settings["threads"]},
        "reading": plan.settings["reading"],
        "certificate": plan.settings["certificate"],
        **({} if relaxed is None else {"relaxed_endpoints": relaxed}),
        **({"networks": plan.settings["networks"]} if "networks" in plan.settings else {}),
        "gate": gate,
        "shortage": chosen.shortage,
        "endpoints": endpoints,
        "walks": {"points": plan.config.walk.steps, "pairs": pairs.tolist()},
        "private_file": {"sha256": hash_bytes(private)},
    }


def _private_record(plan: Plan, pairs: np.ndarray, samples: str) -> PrivateRecord:
    arrays = plan.arrays
    people = None
    if "assignment" in arrays:
        names = ("latents", "identities", "classes", "assignment")
        people = People(**{name: arrays[name] for name in names})
    return PrivateRecord(
        kind=plan.settings["certificate"]["kind"],
        samples=samples,
        salt=arrays["salt"].tobytes(),
        centroids=arrays["centroids"],
        labels=arrays["labels"],
        pairs=pairs,
        people=people,
    )
