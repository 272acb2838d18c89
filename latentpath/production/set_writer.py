"""From finished shards to the set: the samples that count, thinned, in the order of the plan.

Shards pass by one after another, read and unpacked by threads ahead of the writers, so that a set
may be larger than the memory. The set and its private file appear whole or not at all.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from latentpath.core import IntegrityError, PrivacyError, Progress, hash_bytes, new_folder, silent
from latentpath.data import (
    Batch,
    DatasetCard,
    SetForm,
    describe_set,
    write_card_and_manifest,
    write_layouts,
)
from latentpath.data import manifest as manifest_file
from latentpath.production.output import OutputConfig
from latentpath.production.plan import Plan
from latentpath.production.prepared_endpoints import relaxed_entry
from latentpath.production.private_file import People, PrivateRecord, private_file
from latentpath.production.run.ledger import ShardRow
from latentpath.production.run.run_folder import RunFolder, named_disk_errors
from latentpath.production.selection import thin
from latentpath.production.shard import Shard, read_shard

STAGE = "write set"
_READERS = 4


class LostShardError(Exception):
    """A finished shard is damaged or gone: it has to be made anew."""

    def __init__(self, number: int, reason: IntegrityError) -> None:
        super().__init__(number, reason)
        self.number, self.reason = number, reason


@dataclass(frozen=True, eq=False)
class Selection:
    """Which samples of which shards make the set."""

    shards: tuple[ShardRow, ...]
    """The shards that count, in the order of the plan."""
    keep: tuple[np.ndarray, ...]
    """For each of them, rows of its pictures that are kept, ascending."""
    class_counts: tuple[int, ...]
    """Images by label."""
    shortage: dict[str, int]
    """Images missing by class name."""

    @property
    def count(self) -> int:
        """Images of the set."""
        return sum(map(len, self.keep))


@dataclass(frozen=True)
class _Sample:
    """One image of the set."""

    png: bytes
    label: int
    path: int
    """Row of the walks that count."""
    step: int


def select(plan: Plan, shards: tuple[ShardRow, ...]) -> Selection:
    """Decide what the set consists of, from the plan and the numbers of samples that passed.

    Raises:
        PrivacyError: no sample passed the gate.
    """
    labels = plan.arrays["shard_label"][[row.number for row in shards]]
    accepted = np.array([row.accepted for row in shards], np.int64)
    if not accepted.sum():
        rejected = rejected_by(shards)
        listed = ", ".join(f"{count} {reason}" for reason, count in sorted(rejected.items()))
        raise PrivacyError(
            expected="samples that pass the gate",
            got=f"none out of {sum(row.tested for row in shards)} ({listed})",
            fix="check the weights, walk further (--optim-steps), or loosen the gate",
        )
    sample_labels = labels.repeat(accepted)
    kept = thin(sample_labels, plan.wanted, plan.config.seed)
    counts = np.bincount(sample_labels[kept], minlength=len(plan.class_names))
    ends = accepted.cumsum()
    parts = np.split(kept, np.searchsorted(kept, ends[:-1]))
    keep = tuple(rows - start for rows, start in zip(parts, ends - accepted, strict=True))
    missing = {c: plan.wanted.get(c, 0) - int(n) for c, n in enumerate(counts)}
    shortage = {plan.class_names[c]: n for c, n in missing.items() if n > 0}
    return Selection(shards, keep, tuple(counts.tolist()), shortage)


def rejected_by(shards: tuple[ShardRow, ...]) -> dict[str, int]:
    """Samples that the gate turned away, by reason."""
    total: Counter[str] = Counter()
    for row in shards:
        total.update(row.rejections)
    return dict(sorted(total.items()))


def write_run_set(
    plan: Plan,
    folder: RunFolder,
    chosen: Selection,
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
    pairs = np.concatenate([plan.task(row.number).pairs for row in chosen.shards])
    with ExitStack() as after, named_disk_errors():
        source = after.enter_context(Source(plan, folder, chosen))
        with new_folder(folder.set, overwrite=True, is_ours=manifest_file.is_written_set) as out:
            samples = source.samples()
            files = write_layouts(
                out,
                output.chosen,
                source.form,
                lambda start, end: _batch(list(islice(samples, end - start)), source.form),
                shard_images=output.images_per_file,
                stage=STAGE,
                progress=progress,
            )
            content = _private_record(plan, pairs, source.digest()).encode()
            # It is put in place when this folder has been.
            after.enter_context(private_file(folder.private_file, folder.set, content))
            manifest = _manifest(plan, chosen, pairs, content)
            described = describe_set(source.form, output.chosen, chosen.class_counts)
            card = DatasetCard(output.title, output.license)
            write_card_and_manifest(out, source.form, files, manifest, described, card)
    return manifest_file.read_manifest(folder.set)


class Source:
    """Reads the shards that count, ahead of whoever takes their samples."""

    def __init__(self, plan: Plan, folder: RunFolder, chosen: Selection) -> None:
        self._plan, self._folder, self._chosen = plan, folder, chosen
        self._readers = ThreadPoolExecutor(_READERS, "read")
        self._pixels = hashlib.sha256()
        self._columns: dict[str, list[int]] = {"label": [], "path": [], "step": []}
        first = self._read(0)
        self.form = SetForm(
            *first.shape, plan.class_names, chosen.count, {"path": int, "step": int}
        )

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *raised: object) -> None:
        self._readers.shutdown(cancel_futures=True)

    def _read(self, place: int) -> Shard:
        row = self._chosen.shards[place]
        try:
            return read_shard(
                self._folder.shard(row.number), row.number, self._plan.hash, row.sha256
            )
        except IntegrityError as error:
            raise LostShardError(row.number, error) from error

    def _unpacked(self, place: int) -> tuple[Shard, list[np.ndarray]]:
        shard = self._read(place)
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

    def digest(self) -> str:
        """Hash of the samples that were taken, as `samples_hash` has it."""
        for column in self._columns.values():
            self._pixels.update(np.array(column, "<i8").data)
        return self._pixels.hexdigest()


def _batch(samples: list[_Sample], form: SetForm) -> Batch:
    return Batch.packed(
        [sample.png for sample in samples],
        (form.height, form.width, form.channels),
        [sample.label for sample in samples],
        {name: [getattr(sample, name) for sample in samples] for name in form.columns},
    )


def _manifest(plan: Plan, chosen: Selection, pairs: np.ndarray, private: bytes) -> dict[str, Any]:
    """What travels with the set: settings and counts, nothing about any one person."""
    endpoints: dict[str, Any] = {"class": plan.arrays["labels"].tolist()}
    if "identity_counts" in plan.arrays:
        endpoints["people"] = plan.arrays["identity_counts"].tolist()
    gate: dict[str, Any] | None = {
        "tested": sum(row.tested for row in chosen.shards),
        "rejected": rejected_by(chosen.shards),
        "lpips_threshold": round(plan.settings["gate_threshold"], 6),
    }
    if plan.config.uses_dp:
        gate = None  # exact counts and a distance between two real people
    return {
        "software": "latentpath",
        "software_version": plan.settings["software_version"],
        "config": plan.settings["config"],
        "seeds": {"seed": plan.config.seed},
        "run": {name: plan.settings[name] for name in ("shard_walks", "threads")},
        "certificate": plan.settings["certificate"],
        **relaxed_entry(plan.settings["relaxed_endpoints"]),
        "gate": gate,
        "shortage": chosen.shortage,
        "endpoints": endpoints,
        "walks": {"points": plan.config.steps, "pairs": pairs.tolist()},
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
