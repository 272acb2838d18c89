"""What a run finds when it goes on: its ledger, its shard files, and perhaps its set.

Ledger and shards are brought into agreement. Of a set every file is compared with its checksum, so
that going on with a run mends its set.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latentpath.core import (
    RESUME,
    DataError,
    IntegrityError,
    Progress,
    hash_bytes,
    hash_file,
    option,
    silent,
)
from latentpath.data import (
    CARD_NAME,
    WRITERS,
    DatasetCard,
    describe_file,
    files_of_layout,
    manifest as manifest_file,
)
from latentpath.production.plan import Plan
from latentpath.production.private_file import committed_hash, read_record
from latentpath.production.run.ledger import DONE, Ledger, ShardRow
from latentpath.production.run.run_config import OutputConfig
from latentpath.production.run.run_folder import RunFolder, RunLog, write_durably
from latentpath.production.selection import Selection
from latentpath.production.shard import read_shard
from latentpath.production.verify_layouts import form_of, without_audit

if TYPE_CHECKING:
    from latentpath.audit import SetAudit


@dataclass(frozen=True)
class Recovered:
    """What became of the shards of earlier sessions."""

    kept: int = 0
    """Shards that the ledger and their files agree on."""
    adopted: int = 0
    """Shards on the disk that the ledger did not know of as finished."""
    lost: int = 0
    """Shards that the ledger says are finished, whose files are gone or of another size."""


def recover(plan: Plan, folder: RunFolder, ledger: Ledger, log: RunLog) -> Recovered:
    """Keep every finished shard, whatever happened between its file and its row.

    A shard whose row was not written any more is taken from its file, which describes itself. One
    whose file is gone is made anew. Contents are compared with their checksums when the set is
    written.
    """
    folder.remove_partial()
    rows = {row.number: row for row in ledger.shards() if row.state == DONE}
    kept = adopted = 0
    for number in folder.shard_numbers():
        row = rows.pop(number, None)
        if row is not None and folder.shard(number).stat().st_size == row.bytes:
            kept += 1
            continue
        if row is not None:
            rows[number] = row  # as good as gone
        if _adopt(plan, folder, ledger, number):
            rows.pop(number, None)
            adopted += 1
    for number in rows:
        ledger.forget(number)
    log(f"kept {kept} finished shards, took {adopted} more, lost {len(rows)}")
    return Recovered(kept, adopted, len(rows))


def _adopt(plan: Plan, folder: RunFolder, ledger: Ledger, number: int) -> bool:
    """Enter a finished shard into the ledger by what its file says."""
    path = folder.shard(number)
    try:
        if number >= plan.num_shards:
            raise IntegrityError(
                expected="a shard of this plan", got=str(number), fix="it is removed"
            )
        shard = read_shard(path, number, plan.hash)
    except IntegrityError:
        path.unlink()
        return False
    content = path.read_bytes()
    ledger.note_arithmetic(shard.arithmetic)
    ledger.put(
        ShardRow(
            number,
            DONE,
            attempts=1,
            finished=time.time(),
            sha256=hash_bytes(content),
            bytes=len(content),
            tested=shard.counts.tested,
            accepted=shard.counts.accepted,
            rejected=json.dumps(shard.rejected, sort_keys=True),
        )
    )
    return True


@contextlib.contextmanager
def opened_ledger(plan: Plan, folder: RunFolder, *, rebuild: bool) -> Iterator[Ledger]:
    """Open the ledger of a run, or make it.

    Args:
        plan: the run's plan.
        folder: the run.
        rebuild: put a ledger that is there aside (`.damaged`) and begin an empty one.

    Raises:
        IntegrityError: damaged, or absent although there are finished shards.
    """
    if rebuild:
        for path in folder.private.glob(f"{folder.ledger.name}*"):
            path.replace(path.with_name(f"damaged-{path.name}"))
    if folder.ledger.exists() or (folder.shard_numbers() and not rebuild):
        ledger = Ledger.open(folder.ledger, plan.hash)
    else:
        ledger = Ledger.create(folder.ledger, plan.hash)
    try:
        yield ledger
    finally:
        ledger.close()


STAGE = "check set"


def check_place(folder: RunFolder) -> None:
    """Refuse a run whose set could not be put in place at its end.

    Raises:
        IntegrityError: something else is there, or a set without a sound manifest.
    """
    place = folder.set
    if manifest_file.is_written_set(place) or not place.exists():
        return
    if not place.is_dir() or any(place.iterdir()):
        raise IntegrityError(
            expected="a set, or nothing, in the run's folder 'set'",
            got="something without the manifest of a set",
            fix=f"move the folder 'set' away and {option(RESUME)}, which writes it again",
        )


def existing_set(
    plan: Plan,
    folder: RunFolder,
    chosen: Selection,
    output: OutputConfig,
    *,
    progress: Progress = silent,
) -> dict[str, Any] | None:
    """Return the manifest of the set that is there, if it is whole and what the run would write.

    Figures of an audit on its card may be added or not.

    Args:
        plan: the run's plan.
        folder: the run.
        chosen: what the set is to be made of.
        output: what it is to look like.
        progress: told after every file, stage "check set".
    """
    private = folder.private_file
    if not manifest_file.is_written_set(folder.set) or not private.is_file():
        return None
    if committed_hash(folder.set) != hash_file(private):
        return None
    try:
        manifest = manifest_file.read_manifest(folder.set)
        same = (
            manifest_file.seal(manifest) == manifest.get("seal")
            and _is_of(plan, chosen, private)
            and manifest["images"]["count"] == chosen.count
            and _is_as_asked(folder.set, manifest, output)
            and _is_undamaged(folder.set, manifest["files"], progress)
        )
    except DataError:  # damaged: it is written again
        return None
    return manifest if same else None


def _is_of(plan: Plan, chosen: Selection, private: Path) -> bool:
    """Whether a private file was written for these walks of this plan."""
    record, arrays = read_record(private), plan.arrays
    pairs = np.concatenate([plan.task(row.number).pairs for row in chosen.shards])
    return (
        record.salt == arrays["salt"].tobytes()
        and np.array_equal(record.centroids, arrays["centroids"])
        and np.array_equal(record.pairs, pairs)
    )


def _is_as_asked(place: Path, manifest: dict[str, Any], output: OutputConfig) -> bool:
    """Whether a set has these layouts, numbers of files and card."""
    if manifest.get("layouts") != [name for name in WRITERS if name in output.chosen]:
        return False
    parts = -(-manifest["images"]["count"] // output.images_per_file)
    sharded = [name for name in output.chosen if WRITERS[name].sharded]
    if any(len(files_of_layout(name, manifest)) != parts for name in sharded):
        return False
    card = DatasetCard(output.title, output.license).text(form_of(manifest), manifest)
    # A damaged card may hold anything.
    stored = (place / CARD_NAME).read_bytes() if (place / CARD_NAME).is_file() else b""
    return without_audit(stored.decode("utf-8", "replace")) == card


def _is_undamaged(place: Path, files: dict[str, dict[str, Any]], progress: Progress) -> bool:
    for done, (name, entry) in enumerate(sorted(files.items()), start=1):
        path = place / name
        if path.is_symlink() or not path.is_file() or path.stat().st_size != entry["bytes"]:
            return False
        if hash_file(path) != entry["sha256"]:
            return False
        progress(STAGE, done, len(files), {})
    return True


def card_figures(audit: SetAudit) -> dict[str, float]:
    """What an audit says of the whole set, by what it is; nothing about single images."""
    figures: dict[str, float] = {}
    if (nearest := audit.nearest) is not None:
        figures["mean LPIPS to the nearest real image"] = nearest.mean
        figures["5th percentile of that distance"] = nearest.quantile(0.05)
    if (named := audit.reidentification) is not None:
        figures[f"share named as one person above {named.threshold:.0%}"] = named.rate
        figures["share that two witnesses link to one person"] = named.linkage
        figures["the same by chance"] = named.linkage_chance
    if (utility := audit.utility) is not None:
        figures["accuracy on real test images of classifiers trained on the set"] = utility.accuracy
        figures["balanced accuracy"] = utility.balanced_accuracy
        figures["real test images"] = utility.test_images
    return figures


def add_audit(folder: RunFolder, output: OutputConfig, audit: SetAudit) -> dict[str, Any]:
    """Write the card of a run's set again, with the audit's figures, and seal the set anew.

    The same figures give the same bytes. If it is interrupted between the two files, `verify` says
    so, and doing it again mends it.

    Returns:
        The manifest with the new seal.

    Raises:
        DataError: there is no sound set.
        RunError: the disk is full or cannot be written to.
    """
    manifest = manifest_file.read_manifest(folder.set)
    card = DatasetCard(output.title, output.license, card_figures(audit))
    _replace(folder.set / CARD_NAME, card.text(form_of(manifest), manifest).encode())
    files = {**manifest["files"], CARD_NAME: describe_file(folder.set / CARD_NAME)}
    given = {name: manifest[name] for name in manifest.keys() - manifest_file.RESERVED}
    written = {name: manifest[name] for name in ("layouts", "images", "classes")}
    encoded = manifest_file.encode_manifest(given, {**written, "files": files})
    _replace(folder.set / manifest_file.FILE_NAME, encoded)
    return manifest_file.read_manifest(folder.set)


def _replace(path: Path, content: bytes) -> None:
    mode = path.stat().st_mode  # of a file to share
    write_durably(path, content)
    path.chmod(mode)
