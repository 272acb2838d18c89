"""Small runs, for the tests of production runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from latentpath.core import hash_bytes
from latentpath.data import DatasetCard, ImageSet, read_manifest, write_image_set
from latentpath.data.manifest import RESERVED
from latentpath.production import RunConfig, RunFolder, RunOptions
from latentpath.production.private_file import read_record, samples_hash
from support import tiny_models


def options(**given) -> RunOptions:
    """Options; `run` takes what is of `RunConfig`."""
    return RunOptions(run=RunConfig(**given.pop("run", {})), **{"threads": 1, **given})


def config(**given):
    """Small shards."""
    return tiny_models.quick_config(**{"count": 45, **given})


def private_of(folder: Path) -> Path:
    """The private file of the set that lies in a run's folder."""
    return RunFolder(folder.parent).private_file


def forge(folder: Path, samples: ImageSet, path, step, **record) -> None:
    """Write a run's set anew with other samples and another private record, all hashes right."""
    manifest = read_manifest(folder)
    given = {name: manifest[name] for name in manifest.keys() - RESERVED}
    honest = read_record(private_of(folder))
    hashed = samples_hash(samples.images, samples.labels, path, step)
    content = replace(honest, **{"samples": hashed, **record}).encode()
    private_of(folder).write_bytes(content)
    write_image_set(
        folder,
        samples.images,
        samples.labels,
        samples.class_names,
        manifest={**given, "private_file": {"sha256": hash_bytes(content)}},
        overwrite=True,
        extra_columns={"path": path, "step": step},
        card=DatasetCard(),
    )


def files_of(folder: Path) -> dict[str, bytes]:
    """Content of every file below a folder."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def same_set(first: RunFolder, second: RunFolder) -> bool:
    """Whether two runs made the same set and private file, byte for byte."""
    return files_of(first.set) == files_of(second.set) and (
        first.private_file.read_bytes() == second.private_file.read_bytes()
    )
