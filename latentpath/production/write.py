"""Writing a synthetic set, and apart from it the private file that proves its promise."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

from latentpath.core import Progress, check_output_is_free, hash_bytes, silent
from latentpath.data import ImageSet, is_written_set, number_people, write_image_set
from latentpath.production.bundle import Bundle
from latentpath.production.private_file import (
    People,
    PrivateRecord,
    check_private_file,
    data_salt,
    default_private_file,
    private_file,
    samples_hash,
    settle,
)
from latentpath.production.produce_config import ProduceConfig
from latentpath.production.synthetic import SyntheticSet, produce_set


def check_output(
    out: str | Path, private: str | Path | None = None, overwrite: bool = False
) -> None:
    """Refuse places for a set and its private file that must not be written to.

    Args:
        out: the set's folder to be.
        private: where its private file is to go; beside the set if None.
        overwrite: allow both to be there already.

    Raises:
        OutputExistsError, InputError: see `check_output_is_free` and `check_private_file`.
    """
    private = private or default_private_file(out)
    settle(private, out)
    check_output_is_free(out, overwrite, is_ours=is_written_set)
    check_private_file(private, out, overwrite)


def write_set(
    out: str | Path,
    result: SyntheticSet,
    *,
    private: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Write the set atomically, and its private file apart from it, for the owner alone.

    Args:
        out: the set's folder to be.
        result: from `produce_set`.
        private: where the private file is to go; `<out>.private.npz` if None.
        overwrite: replace an earlier set and its private file.
        progress: told after every image.

    Returns:
        The manifest as written.

    Raises:
        OutputExistsError, InputError: see `check_output`.
    """
    check_output(out, private, overwrite)
    content = private_record(result).encode()
    manifest = {**result.manifest(), **listing(result)}
    manifest["private_file"] = {"sha256": hash_bytes(content)}
    if result.config.uses_dp:
        manifest["gate"] = None  # exact counts and a distance between two real people
    with private_file(private or default_private_file(out), out, content):
        return write_image_set(
            out,
            result.samples.images,
            result.samples.labels,
            result.samples.class_names,
            manifest=manifest,
            overwrite=overwrite,
            extra_columns={"path": result.path, "step": result.step},
            progress=progress,
        )


def produce(
    data: ImageSet,
    bundle: Bundle,
    out: str | Path,
    config: ProduceConfig | None = None,
    *,
    private: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> SyntheticSet:
    """Run the pipeline and write the set to `out`, which is checked before any work.

    `private` is where its private file goes; see `write_set`.
    """
    check_output(out, private, overwrite)
    result = produce_set(data, bundle, config, progress)
    write_set(out, result, private=private, overwrite=overwrite, progress=progress)
    return result


def listing(result: SyntheticSet) -> dict[str, Any]:
    """What the samples were made from, by number: endpoints, and the walks between them."""
    endpoints = {"class": result.endpoints.labels.tolist()}
    if result.endpoints.grouping is not None:
        endpoints["people"] = result.endpoints.grouping.sizes().tolist()
    walks = {"points": result.config.steps, "pairs": result.walks.pairs.tolist()}
    return {"endpoints": endpoints, "walks": walks}


def private_record(result: SyntheticSet) -> PrivateRecord:
    """What only the data holder may see: who is behind which endpoint."""
    endpoints, samples = result.endpoints, result.samples
    people, salt = None, secrets.token_bytes(32)
    if endpoints.grouping is not None:
        real = endpoints.real
        numbers = number_people(real.identities)
        salt = data_salt(result.config.seed, real.images, real.labels, numbers)
        people = People(
            latents=endpoints.latents.cpu().numpy(),
            identities=numbers,
            classes=real.labels,
            assignment=endpoints.grouping.assignment,
        )
    return PrivateRecord(
        kind=endpoints.certificate.kind,
        samples=samples_hash(samples.images, samples.labels, result.path, result.step),
        salt=salt,
        centroids=endpoints.centroids.cpu().numpy(),
        labels=endpoints.labels,
        pairs=result.walks.pairs,
        people=people,
    )
