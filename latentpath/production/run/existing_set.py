"""The set that a run finds in its folder: whether it is the one that the run would write.

Every file is compared with its checksum, so that going on with a run mends its set.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from latentpath.core import DataError, IntegrityError, Progress, hash_file, silent
from latentpath.data import CARD_NAME, WRITERS, DatasetCard
from latentpath.data import manifest as manifest_file
from latentpath.production.output import OutputConfig
from latentpath.production.plan import Plan
from latentpath.production.private_file import committed_hash, read_record
from latentpath.production.run.run_folder import RunFolder
from latentpath.production.set_writer import Selection
from latentpath.production.verify_layouts import files_of, form_of, without_audit

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
            fix="move the folder 'set' away and go on with --resume, which writes it again",
        )


def standing_set(
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
    if any(len(files_of(name, manifest)) != parts for name in sharded):
        return False
    card = DatasetCard(output.title, output.license).text(form_of(manifest), manifest)
    # A damaged card may hold anything.
    found = (place / CARD_NAME).read_bytes() if (place / CARD_NAME).is_file() else b""
    return without_audit(found.decode("utf-8", "replace")) == card


def _is_undamaged(place: Path, files: dict[str, dict[str, Any]], progress: Progress) -> bool:
    for done, (name, entry) in enumerate(sorted(files.items()), start=1):
        path = place / name
        if path.is_symlink() or not path.is_file() or path.stat().st_size != entry["bytes"]:
            return False
        if hash_file(path) != entry["sha256"]:
            return False
        progress(STAGE, done, len(files), {})
    return True
