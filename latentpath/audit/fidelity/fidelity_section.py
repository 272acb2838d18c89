"""What the report shows of realism and variety."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from latentpath.audit.report import measure_figures as draw
from latentpath.audit.report.measure_figures import Named
from latentpath.audit.report.report_model import Report
from latentpath.audit.report.report_sections import Section, figure, subject_of
from latentpath.audit.report.report_tables import DOWN, UP, Cell, Column, cell_of, table
from latentpath.audit.statistics.intervals import Interval, wilson

if TYPE_CHECKING:
    from latentpath.audit.fidelity.set_fidelity import Fidelity

_SHARES = ("precision", "recall", "density", "coverage")


def _manifold(name: str) -> Cell:
    return cell_of("fidelity", lambda of: f"{getattr(of.distances.manifold, name):.3f}")


OVERVIEW = (
    Column("FID" + DOWN, cell_of("fidelity", lambda of: f"{of.distances.fid:.3g}")),
    Column("Coverage" + UP, _manifold("coverage")),
)

_COLUMNS = (
    Column("FID" + DOWN, cell_of("fidelity", lambda of: f"{of.distances.fid:.3g}")),
    Column(
        "KID × 1000" + DOWN,
        cell_of(
            "fidelity",
            lambda of: f"{1000 * of.distances.kid:.2f} ± {1000 * of.distances.kid_sd:.2f}",
        ),
    ),
    *(Column(name.capitalize() + UP, _manifold(name)) for name in _SHARES),
    Column(
        "Variety against real" + UP,
        cell_of("fidelity", lambda of: f"{of.diversity_ratio:.3f}" if of.diversity_ratio else None),
    ),
)


def fidelity_sections(report: Report) -> Iterator[Section]:
    """Precision, recall, density and coverage of every set."""
    sets = [row for row in report.sets if row.audit.fidelity is not None]
    if not sets:
        return
    people = report.real.images.shape[0]
    panels = []
    for name in _SHARES:
        values = []
        for row in sets:
            measured: Fidelity = row.audit.fidelity
            size = people if name in ("recall", "coverage") else measured.distances.images
            value = getattr(measured.distances.manifold, name)
            values.append(Named(row.title, _share_of(value, size), row.key == report.subject))
        panels.append((name.capitalize(), values))
    own: Fidelity | None = subject_of(report).audit.fidelity
    fresh = own.yardstick if own else None
    dashed = "The dashed line is what fresh real images of other people reach. "
    yield Section.of(
        "Whether it looks like the real data, and covers it",
        [
            figure(
                draw.panels_figure(
                    panels, marks=[getattr(fresh.manifold, n) if fresh else None for n in _SHARES]
                ),
                "Precision, recall, density and coverage of each set",
                "Precision and density: do the images look real? Recall and coverage: is the "
                f"variety of the real images there? {dashed if fresh else ''}Bars are 95% "
                "intervals of the shares; density has none.",
            )
        ],
        [table(report, _COLUMNS)],
        list(own.cautions) if own else [],
    )


def _share_of(value: float, size: int) -> Interval:
    """A share with its interval; density may be above 1 and gets none."""
    if not 0 <= value <= 1:
        return Interval(value, value, value)
    return wilson(value * size, size)


def fidelity_methods(report: Report) -> Iterator[tuple[str, str]]:
    """The distances between sets and their sources."""
    extractors = [row.audit.fidelity.extractor for row in report.sets if row.audit.fidelity]
    if extractors:
        yield (
            "Fidelity",
            f"Sets are compared as clouds of points in the features of {extractors[0]}. FID: M. "
            "Heusel, H. Ramsauer, T. Unterthiner, B. Nessler, S. Hochreiter, NeurIPS 2017. KID: M. "
            "Bińkowski, D. J. Sutherland, M. Arbel, A. Gretton, ICLR 2018. Precision and recall: "
            "T. Kynkäänniemi, T. Karras, S. Laine, J. Lehtinen, T. Aila, NeurIPS 2019. Density and "
            "coverage: M. F. Naeem, S. J. Oh, Y. Uh, Y. Choi, J. Yoo, ICML 2020. None has an "
            "absolute scale: they compare with each other and with fresh real images only, and not "
            "with published figures, which come from other features.",
        )
