from latentpath.audit.attacks.membership import (
    MembershipConfig as MembershipConfig,
)
from latentpath.audit.attacks.membership import (
    MembershipReference as MembershipReference,
)
from latentpath.audit.attacks.membership import (
    measure_membership as measure_membership,
)
from latentpath.audit.attacks.membership import (
    prepare_membership as prepare_membership,
)
from latentpath.audit.attacks.source_attack import attack_sources as attack_sources
from latentpath.audit.audit_config import (
    BRIEF as BRIEF,
)
from latentpath.audit.audit_config import (
    MEASURES as MEASURES,
)
from latentpath.audit.audit_config import (
    QUICK as QUICK,
)
from latentpath.audit.audit_config import (
    AuditConfig as AuditConfig,
)
from latentpath.audit.audit_config import (
    chosen_measures as chosen_measures,
)
from latentpath.audit.audit_setup import Setting as Setting
from latentpath.audit.closeness.closest_record import record_ratio as record_ratio
from latentpath.audit.image_forms import (
    Form as Form,
)
from latentpath.audit.image_forms import (
    in_form as in_form,
)
from latentpath.audit.image_forms import (
    with_classes as with_classes,
)
from latentpath.audit.limits import Limits as Limits
from latentpath.audit.recognition.reidentification import (
    Reidentification as Reidentification,
)
from latentpath.audit.recognition.reidentification import (
    reidentify as reidentify,
)
from latentpath.audit.report.audit_report import report_on as report_on
from latentpath.audit.report.drawing import (
    INK as INK,
)
from latentpath.audit.report.drawing import (
    LINE_COLOUR as LINE_COLOUR,
)
from latentpath.audit.report.drawing import (
    PALETTE as PALETTE,
)
from latentpath.audit.report.drawing import (
    QUIET_COLOUR as QUIET_COLOUR,
)
from latentpath.audit.report.drawing import (
    WALK_COLOUR as WALK_COLOUR,
)
from latentpath.audit.report.drawing import (
    house_style as house_style,
)
from latentpath.audit.report.drawing import (
    new_figure as new_figure,
)
from latentpath.audit.report.report_model import (
    GateSummary as GateSummary,
)
from latentpath.audit.report.report_model import (
    Report as Report,
)
from latentpath.audit.report.report_model import (
    ReportSet as ReportSet,
)
from latentpath.audit.report.report_model import (
    write_report as write_report,
)
from latentpath.audit.report.run_figures import (
    EnergyComparison as EnergyComparison,
)
from latentpath.audit.report.run_figures import (
    WalkProfile as WalkProfile,
)
from latentpath.audit.report.run_figures import (
    contact_sheet as contact_sheet,
)
from latentpath.audit.report.run_figures import (
    encode_png as encode_png,
)
from latentpath.audit.report.run_figures import (
    overview_figure as overview_figure,
)
from latentpath.audit.run_audit import (
    Audit as Audit,
)
from latentpath.audit.run_audit import (
    audit_real as audit_real,
)
from latentpath.audit.run_audit import (
    audit_set as audit_set,
)
from latentpath.audit.set_audit import (
    SetAudit as SetAudit,
)
from latentpath.audit.set_audit import (
    measure_real as measure_real,
)
from latentpath.audit.set_audit import (
    measure_set as measure_set,
)
from latentpath.audit.statistics.intervals import LEVEL as LEVEL
from latentpath.audit.statistics.sampling_error import t_quantile as t_quantile
from latentpath.audit.utility.classifier_utility import (
    Utility as Utility,
)
from latentpath.audit.utility.classifier_utility import (
    measure_utility as measure_utility,
)
from latentpath.audit.verdict import (
    SEVERITY as SEVERITY,
)
from latentpath.audit.verdict import (
    Verdict as Verdict,
)
