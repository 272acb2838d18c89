"""The report's sections, one or more of every wing, and what they are made with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from latentpath.audit.registry import wings
from latentpath.audit.report.measure_figures import Named
from latentpath.audit.report.report_model import Report, ReportSet
from latentpath.audit.report.report_tables import data_uri
from latentpath.audit.set_audit import SetAudit

if TYPE_CHECKING:
    from latentpath.audit.audit_config import AuditLimits

# Curves of more sets than this in one figure cannot be told apart.
_MOST_CURVES = 7


@dataclass(frozen=True)
class Section:
    """A part of the report; see `Section.of`."""

    title: str
    figures: list[dict[str, str]]
    tables: list[dict[str, Any]]
    notes: list[str]

    @classmethod
    def of(
        cls,
        title: str,
        figures: Sequence[dict[str, str]] = (),
        tables: Sequence[dict[str, Any] | None] = (),
        notes: Sequence[str] = (),
    ) -> Section:
        """A section of what there is.

        Args:
            title: headline.
            figures: from `figure`.
            tables: from `report_tables.table`, or with a "title" of their own; None is left out.
            notes: sentences below.
        """
        return cls(title, list(figures), [one for one in tables if one], list(notes))


def sections(report: Report) -> Iterator[Section]:
    """Every section that has something to show."""
    for wing in wings():
        for section in wing.sections(report):
            if section.figures or section.tables:
                yield section


def figure(svg: bytes, alt: str, caption: str) -> dict[str, str]:
    """A figure of a section."""
    return {"uri": data_uri(svg, "svg+xml"), "alt": alt, "caption": caption}


def named(report: Report, pick: Callable[[SetAudit], Any], *, but: str = "") -> list[Named]:
    """What `pick` gives for the sets where it is not None, but for the set of this key."""
    return [
        Named(row.title, value, row.key == report.subject)
        for row in report.sets
        if row.key != but and (value := pick(row.audit)) is not None
    ]


def few(curves: list[Named]) -> list[Named]:
    """No more curves than can be told apart, the set in question among them."""
    kept = [curve for curve in curves if not curve.subject][: _MOST_CURVES - 1]
    return [curve for curve in curves if curve.subject or curve in kept]


def subject_of(report: Report) -> ReportSet:
    """The set that the report is about."""
    subject = report.find(report.subject)
    assert subject is not None, "Report makes sure that there is one"
    return subject


def limits_of(report: Report) -> AuditLimits:
    """The limits that the subject was held against."""
    return subject_of(report).audit.config.limits
