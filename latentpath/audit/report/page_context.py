"""From a report's numbers to the words, table cells and pictures of its page.

The templates in `page` only lay out what is here; they compute and format nothing. Text that comes
from the user (class names, titles, settings) stays plain here and is escaped by the templates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from latentpath._version import __version__
from latentpath.audit.audit_config import AuditConfig
from latentpath.audit.registry import wings
from latentpath.audit.report import report_tables
from latentpath.audit.report.report_model import Report
from latentpath.audit.report.report_sections import sections, subject_of
from latentpath.audit.report.report_tables import (
    Column,
    data_uri,
    flat,
    marked,
    table,
)
from latentpath.audit.report.run_figures import profile_figure
from latentpath.audit.report.sample_galleries import galleries
from latentpath.audit.report.traffic_lights import lights, verdict_lights
from latentpath.data import network_notes

_OPTIONS = {"measures", *(field.name for field in fields(AuditConfig))}
_IMAGES = Column("Images", lambda audit: f"{audit.images:,}")


def page_context(report: Report, include_real: bool) -> dict[str, Any]:
    """Return everything that `report.html` shows."""
    rows, profile = report.sets, report.profile
    overview = (_IMAGES, *(column for wing in wings() for column in wing.overview))
    return {
        "title": report.title,
        "created": report.created,
        "version": __version__,
        "include_real": include_real,
        "networks": network_notes(report.networks),
        "verdicts": verdict_lights(report),
        "lights": lights(report),
        "summary": list(_summary(report)),
        "cautions": [text for wing in wings() for text in wing.cautions(report)],
        "overview": table(report, overview),
        "sections": list(sections(report)),
        "profile": profile and data_uri(profile_figure(profile), "svg+xml"),
        "profile_paths": 0 if profile is None else len(profile.line),
        "energies": report_tables.energies(report),
        "galleries": galleries(report, include_real),
        "gate_columns": report_tables.GATE_COLUMNS,
        "gates": [marked(report, row, report_tables.gate(row.gate)) for row in rows if row.gate],
        "certificate": report_tables.certificate(report.certificate),
        "seal": report.seal,
        "settings": _settings(report.settings),
        "made_here": report.made_here,
        "methods": list(_methods(report)),
    }


def _settings(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Name and value of every setting: the audit's options as the command line calls them."""
    rows = []
    for section, value in settings.items():
        for name, text in flat({section: value}):
            if section in _OPTIONS:
                shown = f"--{name.replace('.', '-').replace('_', '-')}"
            elif section in ("sets", "image"):
                shown = name.replace(".", ", ").replace("_", " ")
            else:
                shown = name
            rows.append((shown, text))
    return rows


def _summary(report: Report) -> Iterator[str]:
    """What was measured of the subject, in plain sentences."""
    subject = subject_of(report)
    count = subject.audit.images
    yield f"The set “{subject.title}” holds {count:,} image{'' if count == 1 else 's'}."
    for wing in wings():
        yield from wing.summary(report)


def _methods(report: Report) -> Iterator[tuple[str, str]]:
    """How everything in the report works and where it comes from: a term and a text each."""
    if report.verdicts:
        yield (
            "Answers",
            "Each figure has a 95% interval and two limits. Green: the whole interval is on the "
            "good side of the first. Red: the whole interval is beyond the second. Otherwise "
            "amber. Limits are conventions; they are in the settings below and can be changed. "
            "Shares get Wilson's interval (E. B. Wilson, JASA 22, 1927), at the effective number "
            "of people or walks where images belong together (E. L. Korn, B. I. Graubard, Survey "
            "Methodology 24, 1998); differences of shares Newcombe's (Statistics in Medicine 17, "
            "1998); everything else the bootstrap over people (B. Efron, Annals of Statistics 7, "
            "1979).",
        )
    for wing in wings():
        yield from wing.methods(report)
    if report.made_here:
        yield (
            "Endpoints",
            "Averages over groups of at least k people of one class. k-same: E. M. Newton, L. "
            "Sweeney, B. Malin: Preserving Privacy by De-Identifying Face Images, IEEE "
            "Transactions on Knowledge and Data Engineering 17(2), 2005. Grouping of retinal "
            "images in latent space, k-SALSA: M. Jeon, H. Park, H. J. Kim, M. Morley, H. Cho, ECCV "
            "2022.",
        )
