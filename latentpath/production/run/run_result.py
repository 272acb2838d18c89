"""A finished run: what it says at its end, and its set read back for the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from latentpath.core import Progress, StageTimes, silent
from latentpath.data import ImageSet, loading_lines, missing_classes
from latentpath.ksame import Certificate, DpCertificate, Grouping
from latentpath.production.bundle import Bundle
from latentpath.production.plan import Plan, Planned, centroids_of
from latentpath.production.prepared_endpoints import Endpoints, at_resolution
from latentpath.production.run.ledger import ShardRow, stage_rates
from latentpath.production.run.run_folder import RunFolder
from latentpath.production.selection import Selection, total_rejected
from latentpath.production.shard import read_shard
from latentpath.production.synthetic import SyntheticSet, gather
from latentpath.similarity import prepare_real

if TYPE_CHECKING:
    from latentpath.production.comparison import Baselines


@dataclass(frozen=True, eq=False)
class RunResult:
    """A finished run."""

    folder: RunFolder
    """Where its parts lie."""
    plan: Plan
    """What was planned."""
    rows: tuple[ShardRow, ...]
    """The shards that make the set, in the order of the plan, as the ledger has them."""
    chosen: Selection
    """What the set is made of."""
    manifest: dict[str, Any]
    """The set's manifest."""
    times: StageTimes
    """Where the time of this session went."""
    planned: Planned | None = None
    """What the plan was made of, if this session made it."""
    baselines: Mapping[str, Path] = field(default_factory=dict)
    """Sets to compare with, by name, where they were asked for."""
    compared: tuple[SyntheticSet, Baselines] | None = None
    """What `compared_sets` gives, where it was made already."""


def summary_lines(result: RunResult) -> list[str]:
    """Lines to print: what was made, at which rates, where it lies, and what loads it."""
    chosen, folder = result.chosen, result.folder
    walks = sum(len(result.plan.task(row.number).pairs) for row in result.rows)
    gated = not result.plan.config.gate.tests_nothing
    lines = [f"set: {folder.set}, {samples_line(chosen, walks, gated=gated)}"]
    rates = ", ".join(f"{name} {rate:.4g}" for name, rate in stage_rates(result.rows).items())
    if rates:
        lines.append(f"samples/s of each stage on one worker: {rates}")
    lines.append(
        f"private file: {folder.private_file} (who is behind which endpoint: never hand it on, nor "
        f"anything else in {folder.private})"
    )
    if result.baselines:
        named = " ".join(f"--baseline {name}={place}" for name, place in result.baselines.items())
        lines.append(f"baselines, which promise nothing, as `latentpath audit` takes them: {named}")
    manifest = result.manifest
    used = loading_lines(manifest["layouts"], manifest["images"]["channels"], folder.set.as_posix())
    return lines + [f"use it with {library}: {line}" for library, line in used.items()]


def samples_line(chosen: Selection, walks: int, *, gated: bool) -> str:
    """How many samples of so many walks became images of the set, and what became of the others.

    Args:
        chosen: what the set is made of.
        walks: behind it.
        gated: whether a gate tested the samples.
    """
    rejected = sum(chosen.rejected.values())
    spare = chosen.tested - rejected - chosen.count
    of = f"{chosen.count} images; of {chosen.tested} samples on {walks} walks"
    if not gated:
        left = f", {spare} more than were wanted of their class" if spare else ""
        return f"{of}{left}; no gate tested them"
    text = f"{of} the gate turned away {rejected}"
    return f"{text}, and {spare} more passed than were wanted of their class" if spare else text


def seal_line(manifest: Mapping[str, Any]) -> str:
    """The seal of a set, to print when nothing about the set changes any more."""
    return f"seal: {manifest['seal']} (note it down for `latentpath verify --seal`)"


def shortage_lines(result: RunResult) -> list[str]:
    """A warning for each class of which there are fewer images than wanted, or none."""
    plan, chosen, missing = result.plan, result.chosen, missing_classes(result.manifest)
    lines = []
    for label, name in enumerate(plan.class_names):
        short = chosen.shortage.get(name, 0)
        if name in missing:
            line = f"class {name!r} is missing from the set: {missing[name]}"
        elif short:
            line = f"class {name!r} is {short} images short: too few samples passed the gate"
        else:
            continue
        if short:
            shards = [s for s in chosen.shards if plan.arrays["shard_label"][s.number] == label]
            reasons = ", ".join(f"{n} {why}" for why, n in total_rejected(shards).items() if n)
            tested = sum(shard.tested for shard in shards)
            line += (
                f" (of {tested} it turned away {reasons}); take longer walks (--steps) or loosen "
                "the gate"
            )
        lines.append(line)
    return lines


def synthetic_set(
    result: RunResult, data: ImageSet, bundle: Bundle, progress: Progress = silent
) -> SyntheticSet:
    """Read a finished run's walks and samples back, as `produce_set` would have returned them.

    Args:
        result: from `produce`.
        data: the private set.
        bundle: its networks.
        progress: told while the real images are embedded, if they have to be again.

    Raises:
        IntegrityError: a shard is damaged.
    """
    plan, chosen = result.plan, result.chosen
    shards = [
        read_shard(result.folder.shard(row.number), row.number, plan.hash, row.sha256)
        for row in result.rows
    ]
    images = [
        np.stack([shard.image(row) for row in rows.tolist()])
        for shard, rows in zip(shards, chosen.keep, strict=True)
        if len(rows)
    ]
    if result.planned is not None:
        endpoints, reference = result.planned.endpoints, result.planned.reference
    else:
        endpoints = stored_endpoints(plan, data, bundle)
        reference = prepare_real(endpoints.real, bundle.lpips, progress=progress)
    return gather(plan, chosen, shards, images, endpoints, reference)


def compared_sets(
    result: RunResult, data: ImageSet, bundle: Bundle, progress: Progress = silent
) -> tuple[SyntheticSet, Baselines]:
    """A finished run's set and what it is compared with; all else is as of `synthetic_set`."""
    from latentpath.production.comparison import make_baselines

    if result.compared is not None:
        return result.compared
    made = synthetic_set(result, data, bundle, progress)
    return made, make_baselines(made, bundle)


def stored_endpoints(plan: Plan, data: ImageSet, bundle: Bundle) -> Endpoints:
    """The endpoints of a plan as `prepare_endpoints` gave them."""
    arrays, device = plan.arrays, bundle.encoder.centre.device
    stated = plan.settings["certificate"]
    kinds = {kind.kind: kind for kind in (Certificate, DpCertificate)}
    grouping = None
    if "assignment" in arrays:
        grouping = Grouping(
            assignment=arrays["assignment"],
            group_labels=arrays["labels"],
            identity_counts=arrays["identity_counts"],
            k=stated["k"],
            method=stated["method"],
            dropped_classes=tuple(arrays["dropped_classes"].tolist()),
        )

    def stored(name: str) -> torch.Tensor | None:
        return torch.tensor(arrays[name], device=device) if name in arrays else None

    latents = stored("latents")
    return Endpoints(
        real=at_resolution(data, bundle.generator.img_resolution),
        centroids=centroids_of(plan, device),
        labels=arrays["labels"],
        certificate=kinds[stated["kind"]].from_dict(stated),
        latents=torch.empty(0) if latents is None else latents,
        grouping=grouping,
        averages=stored("averages"),
        relaxed=plan.settings["relaxed_endpoints"],
    )
