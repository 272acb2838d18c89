"""Would you share this set? Privacy and utility of a synthetic set, and the report on it."""

from latentpath.audit.audit import Audit, audit_real, audit_set
from latentpath.audit.audit_report import report_on
from latentpath.audit.config import BRIEF, MEASURES, QUICK, AuditConfig
from latentpath.audit.figures import (
    EnergyComparison,
    WalkProfile,
    contact_sheet,
    overview_figure,
)
from latentpath.audit.limits import Limits
from latentpath.audit.measures import SetAudit, measure_real, measure_set
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
from latentpath.audit.setting import Setting
from latentpath.audit.utility import Utility, measure_utility
from latentpath.audit.verdict import Verdict

__all__ = [
    "BRIEF",
    "MEASURES",
    "QUICK",
    "Audit",
    "AuditConfig",
    "EnergyComparison",
    "GateSummary",
    "Limits",
    "NearestReal",
    "RealReference",
    "Reidentification",
    "Report",
    "ReportSet",
    "SetAudit",
    "Setting",
    "Utility",
    "Verdict",
    "WalkProfile",
    "audit_real",
    "audit_set",
    "contact_sheet",
    "measure_real",
    "measure_set",
    "measure_utility",
    "nearest_along_paths",
    "nearest_other_person",
    "nearest_real",
    "overview_figure",
    "prepare_real",
    "reidentify",
    "report_on",
    "write_report",
]
