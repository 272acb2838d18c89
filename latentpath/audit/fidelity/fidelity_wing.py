"""Does it look like the real data, and cover it?

The measures of the question, and what the report shows of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from latentpath.audit.audit_setup import AuditSetup, Subject
from latentpath.audit.fidelity.fidelity_findings import fidelity_findings
from latentpath.audit.registry import Figure, Measure, Wing
from latentpath.audit.report import measure_figures as draw
from latentpath.audit.report.measure_figures import Named
from latentpath.audit.report.report_model import Report
from latentpath.audit.report.report_sections import Section, figure, subject_of
from latentpath.audit.report.report_tables import DOWN, UP, Cell, Column, cell_of, share, table
from latentpath.audit.statistics.intervals import Interval, wilson

if TYPE_CHECKING:
    from latentpath.audit.fidelity.set_fidelity import Fidelity, FidelityReference, SetDistances
    from latentpath.audit.set_audit import SetAudit

_SHARES = ("precision", "recall", "density", "coverage")


_EQUAL, _ALL = "equal sizes", "all images"


def _manifold(name: str) -> Cell:
    """A share of all images of the set."""
    return cell_of("fidelity", lambda of: _written(of.distances, name))


def _matched(name: str) -> Cell:
    """A share of as many images as there are of other people: what is held against limits."""
    return cell_of(
        "fidelity",
        lambda of: _written(of.matched, name) if of.matched else None,
    )


def _written(distances: SetDistances, name: str) -> str:
    value: float = getattr(distances.manifold, name)
    return f"{value:.3f}" if name == "density" else share(value)  # density may be above 1


def _unmatched(name: str) -> Cell:
    """A share of all images where there are no other people."""
    whole = _manifold(name)

    def cell(audit: SetAudit) -> str | None:
        fidelity: Fidelity | None = audit.fidelity
        return None if fidelity is None or fidelity.matched else whole(audit)

    return cell


OVERVIEW = (
    Column("FID" + DOWN, cell_of("fidelity", lambda of: f"{of.distances.fid:.3g}")),
    Column(
        f"Coverage, {_EQUAL}" + UP,
        _matched("coverage"),
        "Equal sizes: as many images of each set as there are of other people, for coverage and "
        "precision grow or shrink with the number of images.",
    ),
    Column(f"Coverage, {_ALL}" + UP, _unmatched("coverage")),
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
    *(Column(f"{name.capitalize()}, {_EQUAL}" + UP, _matched(name)) for name in _SHARES),
    Column(
        "Variety against real" + UP,
        cell_of("fidelity", lambda of: f"{of.diversity_ratio:.3f}" if of.diversity_ratio else None),
    ),
)

_WHOLE = tuple(Column(f"{name.capitalize()}, {_ALL}" + UP, _manifold(name)) for name in _SHARES)


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
            used = measured.matched or measured.distances
            size = people if name in ("recall", "coverage") else used.images
            value = getattr(used.manifold, name)
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
                f"variety of the real images there? {dashed if fresh else ''}"
                f"{'Of as many images as these. ' if fresh else ''}Bars are 95% intervals of the "
                "shares; density has none.",
            )
        ],
        [table(report, _COLUMNS), table(report, _WHOLE)],
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


def _fidelity(subject: Subject) -> Fidelity:
    from latentpath.audit.fidelity.set_fidelity import measure_fidelity

    return measure_fidelity(
        subject.images, _real_features(subject.setup), progress=subject.progress
    )


def _real_features(setup: AuditSetup) -> FidelityReference:
    """Features of the real set and of the holdout."""
    from latentpath.audit.fidelity.set_fidelity import prepare_fidelity

    return setup.once(
        "fidelity",
        lambda: prepare_fidelity(
            setup.reference,
            setup.holdout,
            lpips=setup.distance,
            config=setup.config.fidelity,
            progress=setup.progress,
        ),
    )


def _too_few(subject: Subject) -> str:
    if min(len(subject.images), len(subject.setup.real)) < 2:
        return "It needs at least two images in either set."
    return ""


def _figures() -> tuple[Figure, ...]:
    plain = {"fid": "FID", "kid": "KID", "density": "Density"}
    shares = {"precision": "Precision", "recall": "Recall", "coverage": "Coverage"}
    return tuple(
        Figure(name, title, ("fidelity", name), percent=name in shares)
        for name, title in (plain | shares).items()
    )


WING = Wing(
    name="fidelity",
    question="Does it look like the real data, and cover it?",
    measures=(Measure("fidelity", _fidelity, _too_few, figures=_figures()),),
    findings=fidelity_findings,
    answered_by=("fidelity",),
    others=("holdout",),
    about="use",
    overview=OVERVIEW,
    sections=fidelity_sections,
    methods=fidelity_methods,
    schema=Path(__file__).with_name("fidelity.schema.json"),
)
