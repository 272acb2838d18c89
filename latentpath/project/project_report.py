"""The report on a project's set: its audit against the people who were held out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from latentpath.audit import (
    Audit,
    WholeProgress,
    audit_cost,
    audit_set,
    check_report,
    measure_names,
    report_on,
    write_report,
)
from latentpath.core import Progress
from latentpath.data import PeopleSplit
from latentpath.production import Bundle, RunResult, at_resolution, compared_sets, walk_people
from latentpath.project.project_config import ProjectConfig
from latentpath.project.project_status import has_report


def ready_report(
    folder: Path,
    run: RunResult,
    people: PeopleSplit,
    bundle: Bundle,
    config: ProjectConfig,
    created: str,
    progress: Progress,
) -> tuple[Path, Audit | None]:
    """Audit the set beside lines and centroids, unless the report of this very set is there.

    Args:
        folder: of the project, or of its trial.
        run: that made the set.
        people: those behind the set and those held out.
        bundle: the networks.
        config: of the project.
        created: date that the report shows.
        progress: told about the audit.

    Returns:
        The report, and what the audit says if it was made now.
    """
    place, seal = folder / "report" / "report.html", str(run.manifest["seal"])
    if has_report(folder, seal):
        return place, None
    check_report(place, overwrite=True)
    side = bundle.generator.img_resolution
    real = at_resolution(people.private, side)
    made, baselines = compared_sets(run, people.private, bundle, progress)
    # To every interval the images of one walk are one person's.
    samples = replace(made.samples, identities=np.unique(made.path, return_inverse=True)[1])
    costs = audit_cost(
        real,
        {
            "straight lines": len(baselines.line),
            "centroids": len(baselines.centroids),
            "": len(samples),
        },
        config.audit,
        measure_names(),
        holdout=len(people.others),
        device=bundle.encoder.centre.device,
    )
    whole = WholeProgress(progress, costs)
    audit = audit_set(
        samples,
        real=real,
        holdout=at_resolution(people.others, side),
        baselines={"straight lines": baselines.line, "centroids": baselines.centroids},
        sources=walk_people(made, made.path),
        identity=bundle.identity,
        lpips=bundle.lpips,
        config=config.audit,
        device=bundle.encoder.centre.device,
        progress=whole,
    )
    whole.end()
    title = f"A synthetic set of {len(samples):,} images"
    if config.trial:
        title = f"A trial, not to be shared: {len(samples):,} images"
    place.parent.mkdir(parents=True, exist_ok=True)
    report = report_on(
        audit,
        title=title,
        created=created,
        certificate=run.manifest["certificate"],
        seal=seal,
        networks=run.manifest.get("networks"),
    )
    written = write_report(place, report)
    return written, audit
