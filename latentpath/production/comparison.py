"""The synthetic set beside its baselines: the same endpoints without walks, and no walks at all.

A run keeps such sets, too. They promise nothing, and lie with what is for the data holder alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from latentpath.audit import (
    BRIEF,
    AuditConfig,
    AuditSetup,
    EnergyComparison,
    GateSummary,
    Report,
    ReportSet,
    WalkProfile,
    check_report,
    measure_real,
    measure_set,
    other_people,
)
from latentpath.core import (
    DataError,
    InputError,
    Progress,
    flat_values,
    silent,
)
from latentpath.data import ImageSet, write_image_set
from latentpath.energy import EnergyTerms
from latentpath.production.bundle import Bundle
from latentpath.production.run.run_config import OutputConfig
from latentpath.production.run.run_folder import RunFolder
from latentpath.production.synthetic import SyntheticSet
from latentpath.production.walking import render
from latentpath.similarity import RealReference, nearest_along_paths
from latentpath.walks import straight_line

# Walks whose distance to the nearest real image is drawn.
_PROFILES = 40


@dataclass(frozen=True)
class Baselines:
    """What the walks are compared with. None of these went through the gate."""

    centroids: ImageSet
    """One image per centroid: k-same alone."""
    line: ImageSet
    """Points on straight lines between the walks' endpoints, as many as the set has images."""
    ungated: ImageSet
    """Points on the walks, likewise, before the gate."""
    places: np.ndarray
    """[n, 2] walk and point of each image of `line` and of `ungated`."""
    averages: ImageSet | None = None
    """One image per centroid before it was moved, where that was asked for."""


def make_baselines(result: SyntheticSet, bundle: Bundle) -> Baselines:
    """Generate the sets that `result` is compared with, from the same endpoints."""
    endpoints, walks = result.endpoints, result.walks
    names = endpoints.real.class_names
    rng = np.random.default_rng(result.config.seed)
    chosen = rng.choice(
        result.tested, min(result.tested, len(result.samples)), replace=False, shuffle=False
    )
    places = result.places[np.sort(chosen)]
    labels = walks.labels[places[:, 0]]

    def points(latents: Tensor) -> ImageSet:
        images = render(bundle, latents[places[:, 0], places[:, 1]])
        return ImageSet(images, labels, np.arange(len(images)), names)

    def ends(latents: Tensor) -> ImageSet:
        number = np.arange(len(endpoints.labels))
        return ImageSet(render(bundle, latents), endpoints.labels, number, names)

    return Baselines(
        ends(endpoints.centroids),
        points(_lines(walks.latents)),
        points(walks.latents),
        places,
        None if endpoints.averages is None else ends(endpoints.averages),
    )


def compare(
    result: SyntheticSet,
    bundle: Bundle,
    *,
    test: ImageSet | None,
    holdout: ImageSet | None = None,
    title: str,
    created: str = "",
    baselines: Baselines | None = None,
    config: AuditConfig | None = None,
    progress: Progress = silent,
) -> Report:
    """Audit the set, its baselines and the real set, and put all of it into a report.

    Args:
        result: the synthetic set.
        bundle: the networks that made it.
        test: real images of other people at the generator's resolution; None leaves utility out.
            People who are also in the private set are left out, with a warning, as `audit_set`
            does.
        holdout: real images of people who took no part, at the same resolution: what a set that
            knows nothing of the private people looks like to each measure.
        title: headline of the report.
        created: date to show.
        baselines: from `make_baselines`, if they are at hand.
        config: what the audit measures with.
        progress: told about every stage.
    """
    baselines = baselines or make_baselines(result, bundle)
    test = other_people(result.reference.images, test, "test")
    setup = AuditSetup(
        real=result.reference.images,
        prepared=result.reference,
        test=test,
        identity=bundle.identity,
        config=replace(config or AuditConfig(), use_witness=False),
        measures=BRIEF,
        progress=progress,
    )
    rows = [ReportSet("real", "Real images", measure_real(setup))]
    if holdout is not None:
        beside = measure_set(holdout, setup, only=("nearest", "reidentification"))
        rows.append(ReportSet("holdout", "Real images of other people", beside))
    for key, name, samples in [
        ("averages", "Centroids before they were moved", baselines.averages),
        ("centroids", "Centroids alone (k-same)", baselines.centroids),
        ("line", "Straight lines", baselines.line),
        ("ungated", "Walks, before the gate", baselines.ungated),
    ]:
        if samples is not None:
            rows.append(ReportSet(key, name, measure_set(samples, setup), images=samples))
    gate = GateSummary(result.tested, result.rejected)
    own = measure_set(result.samples, setup)
    rows.append(ReportSet("walk", "Walks: the set", own, images=result.samples, gate=gate))
    walks = result.walks
    return Report(
        title=title,
        sets=tuple(rows),
        real=result.endpoints.real,
        profile=walk_profile(result, bundle, progress),
        energies=EnergyComparison(_by_name(walks.before), _by_name(walks.after)),
        certificate=result.endpoints.certificate.as_dict(),
        networks=bundle.network_notes(result.endpoints.real),
        settings=flat_values(result.config.as_dict()),
        created=created,
    )


def check_comparison(
    report: str | Path,
    data: ImageSet,
    test: ImageSet | None,
    out: str | Path,
    overwrite: bool = False,
) -> ImageSet | None:
    """Find out before any work whether `compare` and its report will be possible.

    Args:
        report: the HTML file to be; `audit.json` goes beside it.
        data: the private set.
        test: real images of other people, or None.
        out: folder of the synthetic set, which may not hold the report: it shows real images.
        overwrite: whether an earlier report may be replaced.

    Returns:
        The test images of people of whom the private set has none; with a warning, if those are
        fewer.

    Raises:
        MissingExtraError: a package that the report needs is not installed.
        InputError: the report cannot be written there, or would be shared with the set; or all
            test images are of private people.
        OutputExistsError: the report, or `audit.json` beside it, exists.
        DataError: the test images have other classes or channels than the private set.
    """
    check_report(report, overwrite=overwrite)
    folder = Path(out).resolve()
    place = Path(report).resolve()
    if place in folder.parents:
        raise InputError(
            expected="a report file", got=f"{report}, the folder of the run", fix="name a file"
        )
    if folder in place.parents:
        raise InputError(
            expected="a report outside the synthetic set: it shows real images",
            got=f"{report}, inside {out}",
            fix="write it to a private folder",
        )
    if test is None:
        return None
    for what, wanted, given in [
        ("classes", list(data.class_names), list(test.class_names)),
        ("channels per image", data.channels, test.channels),
    ]:
        if wanted != given:
            raise DataError(
                expected=f"test images with the private set's {what}, {wanted}",
                got=f"{given}",
                fix="give test images of the same kind, or leave --test out",
            )
    return other_people(data, test, "test")


def walk_profile(result: SyntheticSet, bundle: Bundle, progress: Progress = silent) -> WalkProfile:
    """LPIPS to the nearest real image along up to 40 of the walks and their straight lines."""
    latents = result.walks.latents
    rows = np.linspace(0, len(latents) - 1, min(_PROFILES, len(latents))).astype(int)
    return profile_along(latents[rows], result.reference, bundle, progress)


def profile_along(
    walked: Tensor,  # [B, T, D]
    reference: RealReference,
    bundle: Bundle,
    progress: Progress = silent,
) -> WalkProfile:
    """LPIPS to the nearest real image along walks and the straight lines between their ends."""
    b, t, d = walked.shape
    profiles = []
    for paths in (_lines(walked), walked):
        images = render(bundle, paths.reshape(b * t, d))
        shaped = images.reshape(b, t, *images.shape[1:])
        profiles.append(nearest_along_paths(shaped, reference, progress=progress))
    line, walk = profiles
    # The example is a typical walk, not the best one: the one of median gain.
    gain = (walk - line).mean(axis=1)
    return WalkProfile(line, walk, example=int(np.argsort(gain)[len(gain) // 2]))


def _lines(latents: Tensor) -> Tensor:  # [P, T, D] -> [P, T, D]
    return straight_line(latents[:, 0], latents[:, -1], latents.shape[1])


def _by_name(terms: EnergyTerms) -> dict[str, np.ndarray]:
    shown = {
        "smoothness": terms.smoothness,
        "identity": terms.identity,
        "class": terms.classification,
        "total": terms.total,
    }
    return {name: values.cpu().numpy() for name, values in shown.items()}


def write_baselines(
    baselines: Baselines,
    folder: RunFolder,
    output: OutputConfig,
    *,
    progress: Progress = silent,
) -> dict[str, Path]:
    """Write the baselines that `output` names, in its layouts; earlier ones are replaced.

    Args:
        baselines: what the set is compared with.
        folder: the set's run.
        output: which of them, and what they look like.
        progress: told as images are written.

    Returns:
        Where each of them is.
    """
    path, step = baselines.places.T
    on_walks = {"path": path, "step": step}
    sets: dict[str, tuple[ImageSet, Mapping[str, np.ndarray]]] = {
        "lines": (baselines.line, on_walks),
        "centroids": (baselines.centroids, {}),
        "ungated": (baselines.ungated, on_walks),
    }
    written = {}
    for name in output.baseline_names:
        samples, columns = sets[name]
        written[name] = folder.baseline(name)
        write_baseline(
            written[name],
            name,
            samples,
            layouts=output.chosen,
            columns=columns,
            shard_images=output.images_per_file,
            overwrite=True,
            progress=progress,
        )
    return written


def write_baseline(
    place: Path,
    name: str,
    samples: ImageSet,
    *,
    layouts: Sequence[str],
    columns: Mapping[str, np.ndarray],
    shard_images: int,
    overwrite: bool,
    progress: Progress,
) -> None:
    """Write one of them, with a manifest that says what it is."""
    place.parent.mkdir(parents=True, exist_ok=True)
    write_image_set(
        place,
        samples.images,
        samples.labels,
        samples.class_names,
        manifest={"software": "latentpath", "baseline": name, "gate": None},
        layouts=layouts,
        overwrite=overwrite,
        extra_columns=columns,
        shard_images=shard_images,
        progress=progress,
    )
