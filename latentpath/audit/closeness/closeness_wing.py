"""Does the set come closer to the people behind it than to others?

The measures of the question, and what the report shows of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from latentpath.audit.audit_setup import AuditSetup, Subject
from latentpath.audit.closeness.closeness_findings import closeness_findings
from latentpath.audit.instrument_check import FEWEST_PEOPLE
from latentpath.audit.registry import Figure, Measure, Wing
from latentpath.audit.report import measure_figures as draw
from latentpath.audit.report.report_model import Report
from latentpath.audit.report.report_sections import Section, figure, limits_of, named, subject_of
from latentpath.audit.report.report_tables import (
    DOWN,
    UP,
    Column,
    cell_of,
    percent_interval,
    share,
    table,
)
from latentpath.audit.statistics.intervals import Interval
from latentpath.audit.verdict import NEEDS_HOLDOUT
from latentpath.data import ImageSet
from latentpath.similarity import (
    NearestReal,
    RealReference,
    nearest_other_person,
    nearest_real,
    prepare_gradients,
)

if TYPE_CHECKING:
    from latentpath.audit.closeness.closest_record import RecordRatio
    from latentpath.audit.set_audit import SetAudit

_NEARER = "Nearer to its own people"

OVERVIEW = (
    Column(
        "mmL" + UP,
        cell_of("nearest", lambda nearest: f"{nearest.mean:.3f}"),
        "mmL: mean LPIPS distance to the nearest real image; the 5th percentile shows the closest "
        "samples, which a mean hides. For the real set, both are distances to the nearest image of "
        "another person.",
    ),
    Column("5th percentile" + UP, cell_of("nearest", lambda of: f"{of.quantile(0.05):.3f}")),
    Column(
        f"{_NEARER}, by LPIPS" + DOWN,
        cell_of("record_ratio", lambda ratio: share(ratio.share.value)),
        f"{_NEARER}: share of the images that are nearer to a person behind the set "
        "than to one of as many other people; half is what no leak looks like. Gradients are a "
        "measure without learnt weights.",
    ),
    Column(
        f"{_NEARER}, by gradients" + DOWN,
        cell_of("gradients_ratio", lambda ratio: share(ratio.share.value)),
    ),
)

_DISTANCES = (
    Column("Smallest distance" + UP, cell_of("nearest", lambda of: f"{of.quantile(0):.4f}")),
    Column("1st percentile" + UP, cell_of("nearest", lambda of: f"{of.quantile(0.01):.4f}")),
    Column("Median distance" + UP, cell_of("nearest", lambda of: f"{of.quantile(0.5):.3f}")),
    Column("By gradients, mean" + UP, cell_of("gradients", lambda of: f"{of.mean:.3f}")),
    Column("Its 5th percentile" + UP, cell_of("gradients", lambda of: f"{of.quantile(0.05):.3f}")),
)


def _ratio_text(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "∞"


_RATIOS = (
    Column(
        f"{_NEARER}, by LPIPS" + DOWN,
        cell_of("record_ratio", lambda ratio: percent_interval(ratio.share)),
    ),
    Column(
        "Ratio of medians" + UP,
        cell_of("record_ratio", lambda ratio: _ratio_text(ratio.median_ratio)),
    ),
    Column(
        "Ratio of 5th percentiles" + UP,
        cell_of("record_ratio", lambda ratio: _ratio_text(ratio.low_ratio)),
    ),
    Column(
        f"{_NEARER}, by gradients" + DOWN,
        cell_of("gradients_ratio", lambda ratio: percent_interval(ratio.share)),
    ),
)


def closeness_sections(report: Report) -> Iterator[Section]:
    """Distances to the nearest real image, and whether own people are nearer than others."""
    figures = []
    distances = named(report, lambda audit: audit.nearest and audit.nearest.distance)
    if distances:
        figures.append(
            figure(
                draw.distances_figure(distances, "LPIPS to the nearest real image (no unit)"),
                "Distribution of distances to the nearest real image, a row per set",
                "How far the images are from the nearest real one: further right is further from "
                "real people. The tick is the median, the triangle the 5th percentile: the closest "
                "ones count, not the average. For the real set it is the distance to the nearest "
                "other person.",
            )
        )
    for name, how in (("record_ratio", "LPIPS"), ("gradients_ratio", "gradients")):
        ratios = named(report, _share_of(name))
        if not ratios:
            continue
        limits = limits_of(report).closeness
        figures.append(
            figure(
                draw.intervals_figure(
                    ratios,
                    f"{_NEARER} than to others, by {how}",
                    marks=[
                        (0.5, "no leak"),
                        (limits.green, "green up to here"),
                        (limits.red, "red from here"),
                    ],
                ),
                f"Share of each set's images that are nearer to people behind it, by {how}",
                f"By {how}: share of the images that are nearer to a person behind the set than "
                "to one of as many other people, with its 95% interval. Half is what no leak "
                "looks like.",
            )
        )
    yield Section.of(
        "How close it comes to real people",
        figures,
        [table(report, _DISTANCES), table(report, _RATIOS)],
    )


def _share_of(name: str) -> Callable[[SetAudit], Interval | None]:
    def share_of(audit: SetAudit) -> Interval | None:
        ratio: RecordRatio | None = getattr(audit, name)
        return ratio.share if ratio else None

    return share_of


def closeness_summary(report: Report) -> Iterator[str]:
    """The mean distance of the subject, beside the baseline's and the holdout's."""
    own, baseline = subject_of(report).audit.nearest, report.find(report.baseline)
    if own is not None:
        sentence = f"The mean LPIPS distance to the nearest real image (mmL) is {own.mean:.3f}"
        if baseline is not None and baseline.audit.nearest is not None:
            other = baseline.audit.nearest.mean
            sentence += f"; for “{baseline.title}” it is {other:.3f}"
            if other > 0:
                percent = round(100 * (own.mean / other - 1))
                words = f"{abs(percent)}% {'further away' if percent > 0 else 'closer'}"
                sentence += f" ({words if percent else 'the same within 1%'})"
        yield sentence + "."
    holdout = report.find(report.holdout)
    if holdout is not None and holdout.audit.nearest is not None:
        yield (
            "Real images of people who took no part, from whom nothing can have leaked, have an "
            f"mmL of {holdout.audit.nearest.mean:.3f}."
        )


def closeness_methods(report: Report) -> Iterator[tuple[str, str]]:
    """The distances and where they come from."""
    yield (
        "LPIPS",
        "Perceptual distance of two images: AlexNet features, normalised per pixel, weighted and "
        "averaged (version 0.1). Images below 64 pixels are enlarged to 64 first. R. Zhang, P. "
        "Isola, A. A. Efros, E. Shechtman, O. Wang: The Unreasonable Effectiveness of Deep "
        "Features as a Perceptual Metric, CVPR 2018.",
    )
    walk = (
        "The walk bends the line between two endpoints away from real people while it keeps the "
        "class. "
    )
    yield (
        "mmL and the latent walk" if report.made_here else "mmL",
        "mmL is the mean, over the synthetic images, of the LPIPS distance to the nearest image of "
        f"the real set; all pairs are compared. {walk if report.made_here else ''}M. Pennisi, F. "
        "Proietto Salanitri, G. Bellitto, S. Palazzo, U. Bagci, C. Spampinato: A "
        "Privacy-Preserving Walk in the Latent Space of Generative Models for Medical "
        "Applications, MICCAI 2023.",
    )
    if report.has("gradients") or report.has("gradients_ratio"):
        yield (
            "Gradients",
            "Distances once more in an embedding without learnt weights: directions of edges at "
            "three scales, and the lowest frequencies. N. Dalal, B. Triggs: Histograms of Oriented "
            "Gradients for Human Detection, CVPR 2005.",
        )
    if report.has("record_ratio"):
        yield (
            "Nearer to its own people",
            "Share of the synthetic images whose nearest real person is one behind the set and not "
            "one of as many others, ties half. Intervals count people and walks, not images. M. "
            "Platzer, T. Reutterer: Holdout-Based Empirical Assessment of Mixed-Type Synthetic "
            "Data, Frontiers in Big Data 4, 2021.",
        )


def nearest_of(subject: Subject) -> NearestReal:
    """LPIPS to the nearest real image; of the real set, to the nearest other person."""
    return subject.once("nearest", lambda: _nearest(subject, subject.setup.reference))


def _gradients(subject: Subject) -> NearestReal:
    return _nearest(subject, _by_gradients(subject.setup, subject.setup.real))


def _nearest(subject: Subject, reference: RealReference) -> NearestReal:
    most, progress = subject.setup.config.max_bytes, subject.progress
    if not subject.is_real:
        images = subject.images.images
        return nearest_real(images, reference, max_bytes=most, progress=progress)
    nearest = nearest_other_person(reference, max_bytes=most, progress=progress)
    assert nearest is not None, "checked by _no_other_person"
    return nearest


def _record_ratio(subject: Subject) -> RecordRatio:
    setup = subject.setup
    return _ratio(subject, setup.reference, setup.holdout_reference)


def _gradients_ratio(subject: Subject) -> RecordRatio:
    setup = subject.setup
    assert setup.holdout is not None, "checked by _not_comparable"
    real, holdout = (_by_gradients(setup, images) for images in (setup.real, setup.holdout))
    return _ratio(subject, real, holdout)


def _ratio(subject: Subject, real: RealReference, holdout: RealReference | None) -> RecordRatio:
    from latentpath.audit.closeness.closest_record import record_ratio

    assert holdout is not None, "checked by _not_comparable"
    return record_ratio(
        subject.images,
        real,
        holdout,
        # Points of one walk are read as images of one person.
        groups=subject.images.identities,
        progress=subject.progress,
    )


def _by_gradients(setup: AuditSetup, images: ImageSet) -> RealReference:
    """The real set or the holdout in an embedding that shares nothing with LPIPS."""
    which = "real" if images is setup.real else "holdout"
    return setup.once(
        f"gradients of the {which} set",
        lambda: prepare_gradients(
            images, max_bytes=setup.config.max_bytes, progress=setup.progress
        ),
    )


def _no_other_person(subject: Subject) -> str:
    if subject.is_real and subject.setup.real.num_identities < 2:
        return "There is no other person."
    return ""


def _not_comparable(subject: Subject) -> str:
    real, holdout = subject.setup.real, subject.setup.holdout
    if holdout is None:
        return NEEDS_HOLDOUT
    if not np.intersect1d(real.labels, holdout.labels).size:
        return "The real set and the holdout have no class in common."
    return ""


def _distances(name: str, measure: str, title: str, mean: str) -> tuple[Figure, ...]:
    rows = (
        ("mean", "mean", (mean,)),
        ("p5", "5th percentile", ("quantiles", "0.05")),
        ("min", "smallest", ("quantiles", "0")),
    )
    return tuple(
        Figure(f"{name}_{short}", f"{title} to the nearest real,\n{words}", (measure, *path))
        for short, words, path in rows
    )


def _closer(name: str, title: str) -> tuple[Figure, ...]:
    return (Figure(name, title, (name, "share_closer_to_training", "value"), True),)


WING = Wing(
    name="closeness",
    question="Does the set come closer to the people behind it than to others?",
    measures=(
        Measure(
            "nearest",
            nearest_of,
            _no_other_person,
            of_real=True,
            of_holdout=True,
            figures=_distances("lpips", "nearest", "LPIPS", "mean_lpips_to_nearest_real"),
        ),
        Measure(
            "record_ratio",
            _record_ratio,
            _not_comparable,
            figures=_closer("record_ratio", "Nearer to training than\nto held-out people"),
        ),
        Measure(
            "gradients",
            _gradients,
            _no_other_person,
            of_real=True,
            of_holdout=True,
            figures=_distances(
                "gradients", "gradients", "Gradients", "mean_gradients_to_nearest_real"
            ),
        ),
        Measure(
            "gradients_ratio",
            _gradients_ratio,
            _not_comparable,
            figures=_closer("gradients_ratio", "Nearer to training than\nto held-out, gradients"),
        ),
    ),
    findings=closeness_findings,
    answered_by=("record_ratio", "gradients_ratio"),
    others=("holdout",),
    people_behind=FEWEST_PEOPLE,
    people_held_out=FEWEST_PEOPLE,
    overview=OVERVIEW,
    sections=closeness_sections,
    summary=closeness_summary,
    methods=closeness_methods,
    schema=Path(__file__).with_name("closeness.schema.json"),
)
