"""From a report's numbers to the words, table cells and pictures of its page.

The templates in `latentpath/audit/report/page` only lay out what is here; they compute and format
nothing. Text that comes from the user (class names, titles, settings) stays plain here and is
escaped by the templates.
"""

from __future__ import annotations

from typing import Any

from latentpath._version import __version__
from latentpath.audit.audit_config import MEASURES
from latentpath.audit.report import run_figures as figures
from latentpath.audit.report import run_tables as tables
from latentpath.audit.report import table_columns as columns
from latentpath.audit.report.cell_formats import data_uri, flat, marked
from latentpath.audit.report.measure_sections import sections
from latentpath.audit.report.report_model import Report
from latentpath.audit.report.report_summary import caution, summary
from latentpath.audit.report.sample_galleries import galleries
from latentpath.audit.report.traffic_lights import lights, whole


def context(report: Report, include_real: bool) -> dict[str, Any]:
    """Return everything that `report.html` shows."""
    rows, profile = report.sets, report.profile
    return {
        "title": report.title,
        "created": report.created,
        "version": __version__,
        "include_real": include_real,
        "whole": whole(report),
        "lights": lights(report),
        "summary": summary(report),
        "caution": caution(report),
        "overview": columns.table(report, columns.OVERVIEW),
        "sections": sections(report),
        "threshold": tables.threshold(report),
        "profile": profile and data_uri(figures.profile_figure(profile), "svg+xml"),
        "profile_paths": 0 if profile is None else len(profile.line),
        "energies": tables.energies(report),
        "galleries": galleries(report, include_real),
        "gate_columns": tables.GATE_COLUMNS,
        "gates": [marked(report, row, tables.gate(row.gate)) for row in rows if row.gate],
        "certificate": tables.certificate(report.certificate),
        "settings": flat(report.settings),
        "made_here": report.certificate is not None or profile is not None,
        "shown": {name for name in MEASURES for row in rows if getattr(row.audit, name)},
        "extractor": _extractor(report),
    }


def _extractor(report: Report) -> str:
    found = [row.audit.fidelity.extractor for row in report.sets if row.audit.fidelity]
    return found[0] if found else ""
