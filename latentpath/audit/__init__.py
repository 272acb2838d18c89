"""Would you share this set? Privacy and utility of a synthetic set, and the report on it."""

from latentpath.audit.audit import AuditConfig, SetAudit, audit_real, audit_set
from latentpath.audit.figures import (
    EnergyComparison,
    WalkProfile,
    contact_sheet,
    overview_figure,
)
from latentpath.audit.nearest import (
    NearestReal,
    RealReference,
    nearest_along_paths,
    nearest_other_person,
    nearest_real,
    prepare_real,
)
from latentpath.audit.reidentification import Reidentification, reidentify
from latentpath.audit.report import GateSummary, Report, ReportSet, write_report
from latentpath.audit.utility import Utility, measure_utility

__all__ = [
    "AuditConfig",
    "EnergyComparison",
    "GateSummary",
    "NearestReal",
    "RealReference",
    "Reidentification",
    "Report",
    "ReportSet",
    "SetAudit",
    "Utility",
    "WalkProfile",
    "audit_real",
    "audit_set",
    "contact_sheet",
    "measure_utility",
    "nearest_along_paths",
    "nearest_other_person",
    "nearest_real",
    "overview_figure",
    "prepare_real",
    "reidentify",
    "write_report",
]
