"""Small runs, for the tests of production runs."""

from __future__ import annotations

from pathlib import Path

from latentpath.production.run import Options, RunConfig, RunFolder
from support import tiny_models


def options(**given) -> Options:
    """Options with small shards; `run` takes what is of `RunConfig`."""
    run = RunConfig(**{"shard_walks": 2, **given.pop("run", {})})
    return Options(run=run, threads=1, **given)


def config(**given):
    return tiny_models.quick_config(**{"count": 45, **given})


def files_of(folder: Path) -> dict[str, bytes]:
    """Content of every file below a folder."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def same_set(first: RunFolder, second: RunFolder) -> bool:
    """Whether two runs made the same set and private file, byte for byte."""
    return files_of(first.set) == files_of(second.set) and (
        first.private_file.read_bytes() == second.private_file.read_bytes()
    )
