"""What the report shows of distances to real people."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from latentpath.audit.report import measure_figures as draw
from latentpath.audit.report.cell_formats import share
from latentpath.audit.report.report_model import Report
from latentpath.audit.report.report_sections import Section, figure, limits_of, named, subject_of
from latentpath.audit.report.report_tables import DOWN, UP, Column, cell_of, percent_interval, table
from latentpath.audit.statistics.intervals import Interval

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


def _ratio(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "∞"


_RATIOS = (
    Column(
        f"{_NEARER}, by LPIPS" + DOWN,
        cell_of("record_ratio", lambda ratio: percent_interval(ratio.share)),
    ),
    Column(
        "Ratio of medians" + UP, cell_of("record_ratio", lambda ratio: _ratio(ratio.median_ratio))
    ),
    Column(
        "Ratio of 5th percentiles" + UP,
        cell_of("record_ratio", lambda ratio: _ratio(ratio.low_ratio)),
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
